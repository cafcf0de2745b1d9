//! What the numbers are told apart by: closed sets, each with its label.

use pgwarden_policy::StatementKind;

/// What became of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It went on as it came.
    Pass,
    /// It was rewritten.
    Rewrite,
    /// It was refused.
    Deny,
    /// It went on as it came, and would be rewritten if that were not only observed.
    WouldRewrite,
    /// It went on as it came, and would be refused if that were not only observed.
    WouldDeny,
}

impl Outcome {
    pub(super) const ALL: [Self; 5] = [
        Self::Pass,
        Self::Rewrite,
        Self::Deny,
        Self::WouldRewrite,
        Self::WouldDeny,
    ];

    /// The label, in metrics and in the audit.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Rewrite => "rewrite",
            Self::Deny => "deny",
            Self::WouldRewrite => "would_rewrite",
            Self::WouldDeny => "would_deny",
        }
    }

    pub(super) fn index(self) -> usize {
        match self {
            Self::Pass => 0,
            Self::Rewrite => 1,
            Self::Deny => 2,
            Self::WouldRewrite => 3,
            Self::WouldDeny => 4,
        }
    }
}

/// The kinds that statements are counted by.
pub(super) const KINDS: [StatementKind; 11] = [
    StatementKind::Empty,
    StatementKind::Select,
    StatementKind::Insert,
    StatementKind::Update,
    StatementKind::Delete,
    StatementKind::Merge,
    StatementKind::Copy,
    StatementKind::Transaction,
    StatementKind::Setting,
    StatementKind::Utility,
    StatementKind::Several,
];

/// Where a kind stands in [`KINDS`].
pub(super) fn kind_index(kind: StatementKind) -> usize {
    match kind {
        StatementKind::Empty => 0,
        StatementKind::Select => 1,
        StatementKind::Insert => 2,
        StatementKind::Update => 3,
        StatementKind::Delete => 4,
        StatementKind::Merge => 5,
        StatementKind::Copy => 6,
        StatementKind::Transaction => 7,
        StatementKind::Setting => 8,
        StatementKind::Utility => 9,
        StatementKind::Several => 10,
    }
}

/// How a login ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthOutcome {
    /// Let in.
    Ok,
    /// The token was missing or not valid (28P01).
    BadToken,
    /// The token was valid but gives no tenant or role here (28000).
    NoTenant,
    /// Nobody was asked for a token: there are too many clients, or too many of the address (53300).
    TooMany,
}

/// Why a session in transaction mode keeps its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// Nobody judges what it leaves there.
    BreakGlass,
    /// A statement was let through that only an observed policy lets through.
    Observed,
    /// A cursor WITH HOLD.
    Cursor,
    /// LISTEN.
    Listen,
    /// An advisory lock of the session.
    Lock,
    /// A temporary table.
    Temporary,
    /// A statement of SQL's PREPARE.
    Prepare,
}

impl Pin {
    pub(super) const ALL: [Self; 7] = [
        Self::BreakGlass,
        Self::Observed,
        Self::Cursor,
        Self::Listen,
        Self::Lock,
        Self::Temporary,
        Self::Prepare,
    ];

    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BreakGlass => "break_glass",
            Self::Observed => "observed",
            Self::Cursor => "cursor",
            Self::Listen => "listen",
            Self::Lock => "lock",
            Self::Temporary => "temporary",
            Self::Prepare => "prepare",
        }
    }
}

/// What came of asking a database for its catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogCheck {
    /// It is the one in use.
    Unchanged,
    /// It was another, which is in force now.
    Changed,
    /// It could not be read: the old one stays.
    Failed,
}

impl CatalogCheck {
    pub(super) const NAMES: [&'static str; 3] = ["unchanged", "changed", "failed"];
}
