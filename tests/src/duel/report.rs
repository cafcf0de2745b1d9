//! What came of many statements, in numbers.

use std::collections::BTreeMap;
use std::fmt;

use crate::generator::{Statement, class_of, features_of};
use crate::oracle::Outcome;

/// What came of the statements of a class.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    statements: usize,
    same: usize,
    same_errors: usize,
    denied: usize,
}

impl Count {
    fn note(&mut self, outcome: &Outcome) {
        self.statements += 1;
        self.same += usize::from(*outcome == Outcome::Same);
        self.same_errors += usize::from(matches!(outcome, Outcome::SameError(_)));
        self.denied += usize::from(matches!(outcome, Outcome::Denied(_)));
    }

    fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.same += other.same;
        self.same_errors += other.same_errors;
        self.denied += other.denied;
    }
}

/// What came of many statements.
#[derive(Debug, Default)]
pub struct Report {
    /// Statements that were run.
    pub statements: usize,
    /// Those among them that write.
    pub writes: usize,
    /// Equal answers.
    pub same: usize,
    /// Rows in equal answers: nothing is shown by a suite of empty results.
    pub rows: usize,
    /// Equal errors.
    pub same_errors: usize,
    /// Statements that ran out of time.
    pub timed_out: usize,
    /// Refusals of statements that only read, by reason.
    pub denied_reads: BTreeMap<String, (usize, String)>,
    /// Refusals of statements that write, by reason.
    pub denied_writes: BTreeMap<String, (usize, String)>,
    /// Refusals of statements that deserve it.
    pub denied_hostile: usize,
    /// Bugs.
    pub different: Vec<String>,
    /// By the class of the statement.
    classes: BTreeMap<&'static str, Count>,
    /// By what is special about its relations; a statement may count for several.
    features: BTreeMap<&'static str, Count>,
}

impl Report {
    /// Refusals among statements that only read, in percent.
    pub fn denied_reads_percent(&self) -> f64 {
        percent(total(&self.denied_reads), self.statements - self.writes)
    }

    /// Refusals among honest statements that write, in percent.
    pub fn denied_writes_percent(&self) -> f64 {
        percent(
            total(&self.denied_writes),
            self.writes - self.denied_hostile,
        )
    }

    pub(super) fn note(
        &mut self,
        statement: &Statement,
        place: &str,
        outcome: Outcome,
        rows: usize,
    ) {
        self.statements += 1;
        let class = class_of(&statement.sql);
        self.classes.entry(class).or_default().note(&outcome);
        for feature in features_of(&statement.sql) {
            self.features.entry(feature).or_default().note(&outcome);
        }
        self.writes += usize::from(statement.writes);
        match outcome {
            Outcome::Same => {
                self.same += 1;
                self.rows += rows;
            }
            Outcome::SameError(_) => self.same_errors += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Denied(_) if statement.hostile => self.denied_hostile += 1,
            Outcome::Denied(reason) => {
                let list = if statement.writes {
                    &mut self.denied_writes
                } else {
                    &mut self.denied_reads
                };
                let entry = list.entry(reason).or_default();
                entry.0 += 1;
                if entry.1.is_empty() || entry.1.len() > statement.sql.len() {
                    entry.1.clone_from(&statement.sql);
                }
            }
            Outcome::Different(text) => {
                self.different
                    .push(format!("{place}\n  {}\n  {text}", statement.sql));
            }
        }
    }

    /// Adds another thread's numbers.
    pub fn add(&mut self, other: Self) {
        self.statements += other.statements;
        self.writes += other.writes;
        self.same += other.same;
        self.rows += other.rows;
        self.same_errors += other.same_errors;
        self.timed_out += other.timed_out;
        self.denied_hostile += other.denied_hostile;
        self.different.extend(other.different);
        for (mine, theirs) in [
            (&mut self.classes, other.classes),
            (&mut self.features, other.features),
        ] {
            for (name, count) in theirs {
                mine.entry(name).or_default().add(count);
            }
        }
        for (mine, theirs) in [
            (&mut self.denied_reads, other.denied_reads),
            (&mut self.denied_writes, other.denied_writes),
        ] {
            for (reason, (times, sql)) in theirs {
                let entry = mine.entry(reason).or_insert((0, sql));
                entry.0 += times;
            }
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} statements ({} write): {} equal with {} rows, {} equal errors, {} timed out, {:.2} % of reads and {:.2} % of writes denied, {} hostile ones denied, {} different",
            self.statements,
            self.writes,
            self.same,
            self.rows,
            self.same_errors,
            self.timed_out,
            self.denied_reads_percent(),
            self.denied_writes_percent(),
            self.denied_hostile,
            self.different.len()
        )?;
        for (title, list) in [
            ("reads", &self.denied_reads),
            ("writes", &self.denied_writes),
        ] {
            for (reason, (times, sql)) in list {
                writeln!(f, "denied {title}: {times} × {reason}, such as {sql}")?;
            }
        }
        for (name, count) in self.classes.iter().chain(&self.features) {
            writeln!(
                f,
                "| {name} | {} | {} | {} | {} |",
                count.statements, count.same, count.same_errors, count.denied
            )?;
        }
        for text in self.different.iter().take(30) {
            writeln!(f, "DIFFERENT {text}")?;
        }
        Ok(())
    }
}

fn total(list: &BTreeMap<String, (usize, String)>) -> usize {
    list.values().map(|(times, _)| times).sum()
}

#[expect(clippy::cast_precision_loss, reason = "percentages of some thousands")]
fn percent(part: usize, whole: usize) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}
