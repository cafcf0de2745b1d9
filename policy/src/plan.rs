//! A plan: what is known of a statement once it was judged, shared by all statements of its shape.

use crate::copy::Rows;
use crate::deny::{Denial, DenyReason};
use crate::tenant::{ScopeValue, ScopeValues, ValueType};

mod text;

pub use text::{Sequences, TextCheck, TextPart};
pub(crate) use text::{relation_parts, unlisted_channel};

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
    /// Whether it only reads or changes rows.
    pub fn is_of_rows(self) -> bool {
        self == Self::Select || self.writes()
    }

    fn writes(self) -> bool {
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
    /// The setting may have another value afterwards. Its name is in lower case.
    Setting(String),
    /// RESET ALL, DISCARD ALL: the claims on the server count as unknown and are set again before
    /// the next statement.
    ClaimsLost,
    /// DISCARD ALL, DEALLOCATE ALL: no prepared statement is left.
    DeallocateAll,
    /// DEALLOCATE of one name.
    Deallocate(String),
    /// PREPARE: from now on the name stands for this text.
    Prepare(String),
    /// EXECUTE: what the name stands for is run.
    Execute(String),
    /// DECLARE: from now on the name stands for a cursor. Of the relation `schema.table`, if one is
    /// told, its rows are the session's own, and locked until the transaction ends.
    Declare {
        /// The cursor's name.
        cursor: String,
        /// The relation.
        locks: Option<String>,
    },
    /// UPDATE or DELETE of the row that a cursor stands at, which nothing else guards.
    CurrentOf {
        /// The cursor's name.
        cursor: String,
        /// The relation, as `schema.table`.
        relation: String,
    },
    /// DECLARE … WITH HOLD: the cursor outlives its transaction.
    Hold(String),
    /// FETCH or MOVE: what the name stands for goes on.
    Fetch(String),
    /// CLOSE of one name.
    Close(String),
    /// CLOSE ALL, DISCARD ALL: no portal is left.
    CloseAll,
    /// LISTEN.
    Listen,
    /// UNLISTEN.
    Unlisten,
    /// An advisory lock may be held that outlives its transaction.
    Lock,
    /// Fewer such locks may be held.
    Unlock,
    /// Temporary relations may be others afterwards: ask the server before the next verdict.
    Temporaries,
    /// ROLLBACK TO SAVEPOINT: the transaction goes on.
    RollbackTo,
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
    /// The types that the client declared for its parameters; 0, or nothing, is unspecified.
    pub types: Vec<u32>,
    /// The slots whose values follow the client's own parameters, in order. Extended protocol only.
    pub hidden: Vec<usize>,
    /// Checks at Bind.
    pub checks: Vec<BindCheck>,
    /// Parameters whose text decides, checked at Bind, too.
    pub texts: Vec<TextCheck>,
    /// Effects on the session.
    pub effects: Vec<Effect>,
    /// The relations, each once.
    pub relations: Vec<RelationUse>,
    /// Whether code that nobody has read may run: a function that is not PostgreSQL's own, or a
    /// trigger.
    pub calls_users: bool,
    /// Whether it takes a number from a sequence by name.
    pub draws: bool,
    /// Whether it uses or sets the random numbers of the server connection.
    pub random: bool,
    /// Whether it asks for what the server connection took from a sequence last.
    pub last_value: bool,
    /// Whether something that it names (`DROP TABLE IF EXISTS`) is not known, and is taken not to be there.
    pub absent: bool,
    /// Whether it is one query that a standby answers as the primary does: it writes and locks
    /// nothing, changes nothing of the session, and calls nothing volatile.
    pub reads_only: bool,
    /// What the rows of a COPY FROM into a scoped table must hold.
    pub rows: Option<Rows>,
    /// A stable number of the shape, for the audit.
    pub fingerprint: u64,
    /// What would have become of it, if it went on as it came only because that is observed.
    pub observed: Option<Observed>,
}

/// What observe mode let through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Why it would have been denied; `None` when it would have been rewritten.
    pub reason: Option<DenyReason>,
    /// The relation that the denial is about, as `schema.table`.
    pub table: Option<String>,
}

impl Observed {
    /// A statement that would have been rewritten.
    pub(crate) fn rewrite() -> Self {
        Self {
            reason: None,
            table: None,
        }
    }

    /// `would_deny` or `would_rewrite`.
    pub fn verdict(&self) -> &'static str {
        match self.reason {
            Some(_) => "would_deny",
            None => "would_rewrite",
        }
    }
}

impl From<Denial> for Observed {
    fn from(denial: Denial) -> Self {
        Self {
            reason: Some(denial.reason),
            table: denial.table,
        }
    }
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
    /// Whether it may write rows, whatever statement they are written by.
    pub fn writes(&self) -> bool {
        let written = |relation: &RelationUse| relation.write;
        self.kind.writes()
            || self.kind == StatementKind::Several
            || self.relations.iter().any(written)
    }

    /// Whether it may change what others see, in any way.
    pub fn may_write(&self) -> bool {
        let harmless = matches!(
            self.kind,
            StatementKind::Empty | StatementKind::Transaction | StatementKind::Setting
        );
        !harmless && !self.reads_only
    }

    /// Whether it may leave something on the server connection that outlives it and that no effect
    /// tells of: a sequence's last value, the seed of random numbers, what a trigger or somebody's function does.
    pub fn leaves_traces(&self) -> bool {
        let reads = matches!(
            self.kind,
            StatementKind::Select
                | StatementKind::Empty
                | StatementKind::Transaction
                | StatementKind::Setting
        );
        !reads || self.calls_users || self.draws || self.random
    }

    /// Whether it may take numbers from sequences: by name, by a column's default, or out of sight.
    pub fn may_draw(&self) -> bool {
        self.draws || self.writes() || self.calls_users
    }

    /// About how many bytes it takes beside itself.
    pub(crate) fn heap_bytes(&self) -> usize {
        let names = |relation: &RelationUse| relation.name.len() + relation.guard.len();
        size_of_val(&*self.types)
            + size_of_val(&*self.hidden)
            + size_of_val(&*self.checks)
            + size_of_val(&*self.texts)
            + self
                .texts
                .iter()
                .map(|it| it.says.heap_bytes())
                .sum::<usize>()
            + size_of_val(&*self.effects)
            + size_of_val(&*self.relations)
            + self.relations.iter().map(names).sum::<usize>()
    }

    /// Checks a Bind: as many values as the client's text has parameters, and the session's own
    /// value where a scoped column takes one, and no text that a literal could not have. A
    /// surplus value would otherwise take the place of the hidden ones.
    ///
    /// # Errors
    /// 08P01 for another number of values, 42501 for a value that is not the session's, and for
    /// a text what is said of the literal.
    pub fn check_bind(
        &self,
        parameters: &dyn BindParameters,
        values: &ScopeValues,
    ) -> Result<(), Denial> {
        if parameters.len() != usize::from(self.parameters) {
            return Err(Denial::new(
                DenyReason::ParameterMismatch,
                format!(
                    "bind message supplies {} parameters, but the prepared statement requires {}",
                    parameters.len(),
                    self.parameters
                ),
            ));
        }
        let mine = |check: &BindCheck| self.binds_own_value(*check, parameters, values);
        if let Some(check) = self.checks.iter().find(|check| !mine(check)) {
            return Err(foreign_value(check.parameter));
        }
        for check in &self.texts {
            let index = usize::from(check.parameter).saturating_sub(1);
            let (value, binary) = parameters.get(index).unwrap_or_default();
            check.judge(value, binary)?;
        }
        Ok(())
    }

    fn binds_own_value(
        &self,
        check: BindCheck,
        parameters: &dyn BindParameters,
        values: &ScopeValues,
    ) -> bool {
        let Some(index) = usize::from(check.parameter).checked_sub(1) else {
            return false;
        };
        let declared = self.types.get(index).copied().unwrap_or(0);
        match (parameters.get(index), values.get(check.slot)) {
            (Some((Some(bytes), binary)), Some(own)) => same_value(own, declared, bytes, binary),
            _ => false,
        }
    }
}

fn foreign_value(parameter: u16) -> Denial {
    Denial::new(
        DenyReason::ForeignTenantValue,
        format!("parameter ${parameter} must be the session's own value"),
    )
    .hint("Bind the value of the token's claim, or leave the column out.")
}

/// Oids of the types that a client may declare for a scoped parameter (`pg_type.dat`).
mod oid {
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const UNKNOWN: u32 = 705;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const UUID: u32 = 2950;
}

/// Whether the bytes, read as a value of the declared type, are the session's value. An undeclared
/// parameter has the type of the column that it is compared with. Any other type is refused: the
/// server would read the same bytes as something else.
fn same_value(own: &ScopeValue, declared: u32, bytes: &[u8], binary: bool) -> bool {
    match declared {
        oid::TEXT | oid::VARCHAR | oid::UNKNOWN => own.matches_text(bytes),
        0 => {
            if binary {
                own.matches_binary(bytes)
            } else {
                own.matches_text(bytes)
            }
        }
        oid::UUID | oid::INT8 | oid::INT4 | oid::INT2 => {
            let (value_type, width) = match declared {
                oid::UUID => (ValueType::Uuid, 16),
                oid::INT8 => (ValueType::Bigint, 8),
                oid::INT4 => (ValueType::Bigint, 4),
                _ => (ValueType::Bigint, 2),
            };
            if own.value_type() != value_type {
                return false;
            }
            if binary {
                bytes.len() == width && own.matches_binary(bytes)
            } else {
                own.matches_text(bytes)
            }
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Values(Vec<(Option<Vec<u8>>, bool)>);

    impl BindParameters for Values {
        fn len(&self) -> usize {
            self.0.len()
        }
        fn get(&self, index: usize) -> Option<(Option<&[u8]>, bool)> {
            let (value, binary) = self.0.get(index)?;
            Some((value.as_deref(), *binary))
        }
    }

    fn plan(types: Vec<u32>) -> Plan {
        Plan {
            verdict: Verdict::Rewrite,
            kind: StatementKind::Insert,
            statements: 1,
            parameters: 1,
            types,
            hidden: vec![0],
            checks: vec![BindCheck {
                parameter: 1,
                slot: 0,
            }],
            texts: Vec::new(),
            draws: false,
            random: false,
            last_value: false,
            absent: false,
            effects: Vec::new(),
            relations: Vec::new(),
            calls_users: false,
            reads_only: false,
            rows: None,
            fingerprint: 0,
            observed: None,
        }
    }

    fn outcome(types: Vec<u32>, own: ScopeValue, given: &[(&[u8], bool)]) -> Option<DenyReason> {
        let given = given
            .iter()
            .map(|(value, binary)| (Some(value.to_vec()), *binary));
        let values = ScopeValues::new(vec![Some(own)]);
        plan(types)
            .check_bind(&Values(given.collect()), &values)
            .err()
            .map(|denial| denial.reason)
    }

    #[test]
    fn a_surplus_or_missing_value_is_refused() {
        let own = || ScopeValue::Bigint(7);
        let mismatch = Some(DenyReason::ParameterMismatch);
        assert_eq!(outcome(vec![], own(), &[]), mismatch);
        assert_eq!(
            outcome(vec![], own(), &[(b"7", false), (b"7", false)]),
            mismatch
        );
        assert_eq!(outcome(vec![], own(), &[(b"7", false)]), None);
    }

    #[test]
    fn null_and_foreign_values_are_refused() {
        let foreign = Some(DenyReason::ForeignTenantValue);
        assert_eq!(
            outcome(vec![], ScopeValue::Bigint(7), &[(b"8", false)]),
            foreign
        );
        let null = plan(vec![]).check_bind(
            &Values(vec![(None, false)]),
            &ScopeValues::new(vec![Some(ScopeValue::Bigint(7))]),
        );
        assert_eq!(null.err().map(|denial| denial.reason), foreign);
        let missing = plan(vec![]).check_bind(
            &Values(vec![(Some(b"7".to_vec()), false)]),
            &ScopeValues::new(vec![None]),
        );
        assert_eq!(missing.err().map(|denial| denial.reason), foreign);
    }

    #[test]
    fn the_declared_type_says_how_bytes_are_read() {
        let foreign = Some(DenyReason::ForeignTenantValue);
        // The eight bytes are this number as int8, and 12345678 as text.
        let confusing = i64::from_be_bytes(*b"12345678");
        let bytes: &[(&[u8], bool)] = &[(b"12345678", true)];
        assert_eq!(
            outcome(vec![20], ScopeValue::Bigint(confusing), bytes),
            None
        );
        assert_eq!(
            outcome(vec![25], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(vec![25], ScopeValue::Bigint(12_345_678), bytes),
            None
        );
        assert_eq!(
            outcome(vec![23], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(vec![26], ScopeValue::Bigint(confusing), bytes),
            foreign
        );
        assert_eq!(
            outcome(
                vec![2950],
                ScopeValue::Uuid(uuid::Uuid::from_bytes([9; 16])),
                &[(&[9; 16], true)]
            ),
            None
        );
    }
}
