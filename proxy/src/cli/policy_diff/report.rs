//! The verdicts that change, for people and as JSON.

use std::cmp::Ordering;
use std::fmt::Write;

use serde::Serialize;

use crate::cli::explain::Explanation;
use crate::cli::output::wrap;

/// Which way a verdict changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    Loosened,
    Tightened,
    Altered,
}

/// A statement whose verdict changes.
#[derive(Debug, Serialize)]
pub(super) struct Change {
    file: String,
    line: usize,
    statement: String,
    way: Way,
    old: Explanation,
    new: Explanation,
}

/// All of them, and how many statements there were.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    old_policy: String,
    new_policy: String,
    statements: usize,
    changes: Vec<Change>,
}

impl Change {
    /// What changes from one answer to the other, if anything does.
    pub(super) fn between(
        file: &str,
        line: usize,
        sql: &str,
        old: Explanation,
        new: Explanation,
    ) -> Option<Self> {
        let way = match old.freedom().cmp(&new.freedom()) {
            Ordering::Less => Way::Loosened,
            Ordering::Greater => Way::Tightened,
            Ordering::Equal if old.is_like(&new) => return None,
            Ordering::Equal => Way::Altered,
        };
        Some(Self {
            file: file.to_owned(),
            line,
            statement: sql.to_owned(),
            way,
            old,
            new,
        })
    }
}

impl Report {
    pub(super) fn new(old_policy: &str, new_policy: &str) -> Self {
        Self {
            old_policy: old_policy.to_owned(),
            new_policy: new_policy.to_owned(),
            statements: 0,
            changes: Vec::new(),
        }
    }

    /// Counts a statement, and keeps its change.
    pub(super) fn add(&mut self, change: Option<Change>) {
        self.statements += 1;
        self.changes.extend(change);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// For people: what is loosened first.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut sums = Vec::new();
        for (way, name) in [
            (Way::Loosened, "loosened"),
            (Way::Tightened, "tightened"),
            (Way::Altered, "altered"),
        ] {
            let changes = self.changes.iter().filter(|change| change.way == way);
            sums.push(format!("{} {name}", changes.clone().count()));
            for change in changes {
                describe(&mut text, change, name);
            }
        }
        let statements = match self.statements {
            1 => "1 statement".to_owned(),
            number => format!("{number} statements"),
        };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{statements}: {}", sums.join(", "));
        text
    }
}

fn describe(text: &mut String, change: &Change, way: &str) {
    let _ = writeln!(text, "{}:{}: {way}", change.file, change.line);
    wrap(text, 4, &change.statement);
    for (label, answer) in [("old", &change.old), ("new", &change.new)] {
        let _ = writeln!(text, "  {label}: {}", answer.outcome());
        for why in answer.why() {
            wrap(text, 4, &why);
        }
    }
}
