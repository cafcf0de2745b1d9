//! What `check` found: every statement with its verdict, and the sums.

use serde::Serialize;

use super::Explanation;
use crate::cli::place::Place;

/// The code of what is not SQL, beside the engine's deny reasons.
pub(super) const NOT_SQL: &str = "not_sql";

/// All that was found, in the files' order.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// The policy's revision.
    pub(super) policy: String,
    pub(super) summary: Summary,
    pub(super) statements: Vec<Entry>,
}

/// How many of what.
#[derive(Debug, Default, Serialize)]
pub(super) struct Summary {
    pub(super) files: usize,
    pub(super) pass: usize,
    pub(super) rewrite: usize,
    pub(super) deny: usize,
    pub(super) not_sql: usize,
}

/// A statement, or what stands in the place of one.
#[derive(Debug, Serialize)]
pub(super) struct Entry {
    pub(super) file: String,
    #[serde(flatten)]
    pub(super) place: Place,
    #[serde(flatten)]
    pub(super) outcome: Outcome,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Outcome {
    /// The engine's verdict.
    Judged(Box<Explanation>),
    /// There is none.
    NotSql(NotSql),
}

/// A command of psql.
#[derive(Debug, Serialize)]
pub(super) struct NotSql {
    verdict: &'static str,
    reason: &'static str,
    pub(super) message: String,
    pub(super) hint: &'static str,
}

impl NotSql {
    /// `text` begins with a backslash. Only the command's name is kept.
    pub(super) fn new(text: &str) -> Self {
        let name = text.split_whitespace().next().unwrap_or_default();
        Self {
            verdict: NOT_SQL,
            reason: NOT_SQL,
            message: format!("{name} is a command of psql, not SQL: nothing was judged"),
            hint: "Write what it sends as SQL, or keep it in a file that is not checked.",
        }
    }
}

impl Report {
    pub(super) fn new(policy: String) -> Self {
        Self {
            policy,
            summary: Summary::default(),
            statements: Vec::new(),
        }
    }

    pub(super) fn add_file(&mut self) {
        self.summary.files += 1;
    }

    pub(super) fn add(&mut self, entry: Entry) {
        let sum = match &entry.outcome {
            Outcome::NotSql(_) => &mut self.summary.not_sql,
            Outcome::Judged(answer) => match answer.as_ref() {
                Explanation::Denied(_) => &mut self.summary.deny,
                Explanation::Cleared(it) if it.is_rewritten() => &mut self.summary.rewrite,
                Explanation::Cleared(_) => &mut self.summary.pass,
            },
        };
        *sum += 1;
        self.statements.push(entry);
    }
}

impl Summary {
    /// Whether everything would be let through.
    pub(super) fn is_fine(&self) -> bool {
        self.deny + self.not_sql == 0
    }

    /// How many statements were judged.
    pub(super) fn statements(&self) -> usize {
        self.pass + self.rewrite + self.deny
    }
}
