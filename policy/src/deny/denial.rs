//! A refusal of one statement: the fields of the ErrorResponse that tells it.

use std::borrow::Cow;

use super::DenyReason;
use crate::plan::{Plan, StatementKind};

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
    /// The statement's kind; none where it can't be parsed.
    pub kind: Option<StatementKind>,
    /// The number of its shape.
    pub fingerprint: Option<u64>,
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
            kind: None,
            fingerprint: None,
        }
    }

    /// Says of what kind the statement is.
    pub(crate) fn kind(mut self, kind: StatementKind) -> Self {
        self.kind = Some(kind);
        self
    }

    /// Says of what shape the statement is.
    pub(crate) fn fingerprint(mut self, fingerprint: u64) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// Says which statement it is about, where that was judged before. The only table that it writes,
    /// or else reads, is the one that the denial is about.
    pub fn of(mut self, plan: &Plan) -> Self {
        self.kind.get_or_insert(plan.kind);
        self.fingerprint.get_or_insert(plan.fingerprint);
        if self.table.is_none() {
            self.table = only_table(plan);
        }
        self
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

    /// The HINT field: what to write instead, and the page about the reason.
    pub fn help(&self) -> String {
        let page = self.reason.page();
        match &self.hint {
            Some(hint) => format!("{hint} See {page}."),
            None => format!("See {page}."),
        }
    }

    /// The DETAIL field: `reason=<code> table=<schema.table>`.
    pub fn detail(&self) -> String {
        match &self.table {
            Some(table) => format!("reason={} table={table}", self.reason.code()),
            None => format!("reason={}", self.reason.code()),
        }
    }
}

fn only_table(plan: &Plan) -> Option<String> {
    let used = |write: bool| {
        plan.relations
            .iter()
            .filter(move |used| used.write == write)
    };
    let writes = used(true).next().is_some();
    let mut candidates = used(writes);
    let first = candidates.next()?;
    let alone = candidates.all(|other| other.name == first.name);
    alone.then(|| first.name.clone())
}
