//! Denials: why a statement was refused, and what the developer should write instead.

use std::borrow::Cow;

/// The closed list of reasons. The code is a contract (`reason=<code>` in DETAIL, a metric label).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DenyReason {
    /// PostgreSQL's own grammar refuses the text (42601).
    SyntaxError,
    /// Text, nesting or list too large to judge (54000, 54001).
    TooComplex,
    /// A statement kind that is not supported (0A000).
    UnsupportedStatement,
    /// A construct inside a supported statement that is not supported (0A000).
    UnsupportedConstruct,
    /// A relation that the snapshot does not hold.
    UnknownRelation,
    /// A relation that the policy neither scopes nor lists.
    UnlistedRelation,
    /// A view, materialised view or foreign table that the policy does not list.
    OpaqueRelation,
    /// A system relation that shows other tenants' data (statistics, activity, passwords).
    SystemRelation,
    /// A write to a relation that may only be read.
    ReadOnlyRelation,
    /// A function that is denied.
    FunctionDenied,
    /// A function that nobody knows.
    UnknownFunction,
    /// An operator that nobody knows.
    UnknownOperator,
    /// A type whose use runs code that the policy does not allow, or that nobody knows.
    UnknownType,
    /// A setting that clients may not change.
    SettingDenied,
    /// An attempt on the claims, the role or the session's identity.
    IdentityGuard,
    /// The tenant column set to a value that is not the session's.
    ForeignTenantValue,
    /// The tenant column set to a value that can't be shown to be the session's.
    UnprovenTenantValue,
    /// A scoped table without its own filter while the policy demands one.
    MissingFilter,
    /// An INSERT without the tenant column while the policy demands it.
    MissingValue,
    /// The token lacks the claim that scopes the table.
    MissingClaim,
    /// A column that can't be resolved to one relation.
    AmbiguousColumn,
    /// A Bind whose parameters don't fit the statement.
    ParameterMismatch,
    /// The rewritten text could not be shown to be guarded.
    ProofFailed,
    /// The second reader saw a relation that the first did not account for.
    ReaderDisagreement,
    /// The second reader can't read the statement and the policy requires it.
    SecondReaderUnreadable,
}

impl DenyReason {
    /// Every reason, for metrics and documentation.
    pub const ALL: &'static [Self] = &[
        Self::SyntaxError,
        Self::TooComplex,
        Self::UnsupportedStatement,
        Self::UnsupportedConstruct,
        Self::UnknownRelation,
        Self::UnlistedRelation,
        Self::OpaqueRelation,
        Self::SystemRelation,
        Self::ReadOnlyRelation,
        Self::FunctionDenied,
        Self::UnknownFunction,
        Self::UnknownOperator,
        Self::UnknownType,
        Self::SettingDenied,
        Self::IdentityGuard,
        Self::ForeignTenantValue,
        Self::UnprovenTenantValue,
        Self::MissingFilter,
        Self::MissingValue,
        Self::MissingClaim,
        Self::AmbiguousColumn,
        Self::ParameterMismatch,
        Self::ProofFailed,
        Self::ReaderDisagreement,
        Self::SecondReaderUnreadable,
    ];

    /// The code in DETAIL, metrics and audit.
    pub fn code(self) -> &'static str {
        match self {
            Self::SyntaxError => "syntax_error",
            Self::TooComplex => "too_complex",
            Self::UnsupportedStatement => "unsupported_statement",
            Self::UnsupportedConstruct => "unsupported_construct",
            Self::UnknownRelation => "unknown_relation",
            Self::UnlistedRelation => "unlisted_relation",
            Self::OpaqueRelation => "opaque_relation",
            Self::SystemRelation => "system_relation",
            Self::ReadOnlyRelation => "read_only_relation",
            Self::FunctionDenied => "function_denied",
            Self::UnknownFunction => "unknown_function",
            Self::UnknownOperator => "unknown_operator",
            Self::UnknownType => "unknown_type",
            Self::SettingDenied => "setting_denied",
            Self::IdentityGuard => "identity_guard",
            Self::ForeignTenantValue => "foreign_tenant_value",
            Self::UnprovenTenantValue => "unproven_tenant_value",
            Self::MissingFilter => "missing_filter",
            Self::MissingValue => "missing_value",
            Self::MissingClaim => "missing_claim",
            Self::AmbiguousColumn => "ambiguous_column",
            Self::ParameterMismatch => "parameter_mismatch",
            Self::ProofFailed => "proof_failed",
            Self::ReaderDisagreement => "reader_disagreement",
            Self::SecondReaderUnreadable => "second_reader_unreadable",
        }
    }

    /// The SQLSTATE that goes with the reason unless the denial names another.
    pub fn sqlstate(self) -> &'static str {
        match self {
            Self::SyntaxError => "42601",
            Self::TooComplex => "54001",
            Self::UnsupportedStatement | Self::UnsupportedConstruct => "0A000",
            Self::ParameterMismatch => "08P01",
            Self::UnknownRelation
            | Self::UnlistedRelation
            | Self::OpaqueRelation
            | Self::SystemRelation
            | Self::ReadOnlyRelation
            | Self::FunctionDenied
            | Self::UnknownFunction
            | Self::UnknownOperator
            | Self::UnknownType
            | Self::SettingDenied
            | Self::IdentityGuard
            | Self::ForeignTenantValue
            | Self::UnprovenTenantValue
            | Self::MissingFilter
            | Self::MissingValue
            | Self::MissingClaim
            | Self::AmbiguousColumn
            | Self::ProofFailed
            | Self::ReaderDisagreement
            | Self::SecondReaderUnreadable => "42501",
        }
    }
}

/// A refused statement. Nothing in it holds a literal of the statement.
#[derive(Debug, Clone)]
pub struct Denial {
    /// Why.
    pub reason: DenyReason,
    /// Five characters.
    pub sqlstate: &'static str,
    /// The primary message. It starts with `pgwarden: `, but for syntax errors, which have the
    /// server's own wording.
    pub message: String,
    /// The relation that the denial is about, as `schema.table`.
    pub table: Option<String>,
    /// What to write instead, as a sentence.
    pub hint: Option<Cow<'static, str>>,
    /// Position in the client's text in characters, from 1, as in ErrorResponse's field `P`.
    pub position: Option<u32>,
}

impl Denial {
    /// A denial with the reason's own SQLSTATE; `message` comes without the `pgwarden: ` prefix.
    pub fn new(reason: DenyReason, message: impl AsRef<str>) -> Self {
        Self {
            reason,
            sqlstate: reason.sqlstate(),
            message: format!("pgwarden: {}", message.as_ref()),
            table: None,
            hint: None,
            position: None,
        }
    }

    /// Names the relation.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = Some(table.into());
        self
    }

    /// Says what to write instead.
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The DETAIL field: `reason=<code> table=<schema.table>`.
    pub fn detail(&self) -> String {
        match &self.table {
            Some(table) => format!("reason={} table={table}", self.reason.code()),
            None => format!("reason={}", self.reason.code()),
        }
    }
}
