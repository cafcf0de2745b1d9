//! A refusal of one statement: the fields of the ErrorResponse that tells it.

use std::borrow::Cow;

use super::DenyReason;

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
