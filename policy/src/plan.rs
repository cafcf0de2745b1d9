//! A plan: what is known of a statement once it was judged, shared by all statements of its shape.

use crate::copy::Rows;
use crate::deny::{Denial, DenyReason};

mod bind;
mod text;

pub use bind::{BindCheck, BindParameters};
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
    /// Of which statement of the text, counted from 0, each of them is.
    pub steps: Vec<usize>,
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

impl Plan {
    /// Whether it names a prepared statement.
    pub fn names_prepared(&self) -> bool {
        self.effects.iter().any(|effect| {
            matches!(
                effect,
                Effect::Prepare(_) | Effect::Execute(_) | Effect::Deallocate(_)
            )
        })
    }

    /// Takes over what is known of a prepared statement that this one runs.
    pub fn runs(&mut self, prepared: &Self) {
        self.calls_users |= prepared.calls_users;
        self.draws |= prepared.draws;
        self.random |= prepared.random;
        self.last_value |= prepared.last_value;
        for relation in &prepared.relations {
            let known = |it: &&mut RelationUse| it.name == relation.name;
            match self.relations.iter_mut().find(known) {
                Some(known) => known.write |= relation.write,
                None => self.relations.push(relation.clone()),
            }
        }
    }

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
            + size_of_val(&*self.steps)
            + size_of_val(&*self.relations)
            + self.relations.iter().map(names).sum::<usize>()
    }
}
