//! A step as a file: a header that people read, and SQL in sections.
//!
//! What is done stands as plain SQL below `-- @up`; what is checked afterwards (`-- @verify`, each
//! query gives 0) and what undoes it (`-- @down`) stand as comments, so that a file which somebody
//! runs by hand does its step and nothing else.

use std::fmt::{self, Write};

use super::phase::Phase;

/// How a step is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Run {
    /// In one transaction, together with the record that it was done.
    Transaction,
    /// Outside of one: it makes this index concurrently.
    Concurrently {
        /// The index's name as SQL.
        index: String,
    },
    /// Batch after batch, each in a transaction of its own.
    Batches {
        /// The table as SQL.
        table: String,
        /// Rows of one batch.
        rows: usize,
        /// Triggers held off, as SQL.
        hold: Vec<String>,
    },
}

/// What a step is, before it is a file.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) phase: Phase,
    /// The file's name behind number and phase.
    pub(super) slug: String,
    /// What it does, in a line.
    pub(super) title: String,
    pub(super) run: Run,
    /// Locks, and for how long.
    pub(super) lock: String,
    /// Estimated rows that are read or written.
    pub(super) rows: i64,
    /// Estimated rows in a second; 0 where time does not depend on rows.
    pub(super) rate: i64,
    /// Whether `down` brings back what was before, and what not.
    pub(super) reversible: String,
    /// What people should look at.
    pub(super) look_at: Vec<String>,
    pub(super) up: String,
    pub(super) verify: Vec<String>,
    pub(super) down: String,
}

/// A file of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepFile {
    /// Its name: `0007_backfill_public_leads.sql`.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// Why a file of a plan can't be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableStep {
    /// The file.
    pub name: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for UnreadableStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.name, self.line, self.why)
    }
}

/// The files of these steps.
pub(super) fn numbered(steps: &[Step]) -> Vec<StepFile> {
    let files = steps.iter().enumerate().map(|(at, step)| {
        let number = at + 1;
        StepFile {
            name: format!("{number:04}_{}_{}.sql", step.phase, shortened(&step.slug)),
            text: step.render(),
        }
    });
    files.collect()
}

/// A slug that file systems take: their names have 255 bytes. What it is about stands in front,
/// what is done at the end.
fn shortened(slug: &str) -> String {
    const HEAD: usize = 160;
    const TAIL: usize = 30;
    if slug.len() <= HEAD + TAIL {
        return slug.to_owned();
    }
    let (mut head, mut tail) = (HEAD, slug.len() - TAIL);
    while !slug.is_char_boundary(head) {
        head -= 1;
    }
    while !slug.is_char_boundary(tail) {
        tail += 1;
    }
    let (head, _) = slug.split_at(head);
    let (_, tail) = slug.split_at(tail);
    format!("{head}__{tail}")
}

impl Step {
    fn render(&self) -> String {
        let mut text = String::new();
        // Writing to a String can't fail.
        let _ = writeln!(text, "-- {}\n--", self.title);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "-- {:<12}{value}", format!("{name}:"));
        };
        line("phase", self.phase.name());
        match &self.run {
            Run::Transaction => line("run", "transaction"),
            Run::Concurrently { index } => {
                line("run", "concurrently");
                line("index", index);
            }
            Run::Batches { table, rows, hold } => {
                line("run", "batches");
                line("table", table);
                line("batch", &rows.to_string());
                for trigger in hold {
                    line("hold", trigger);
                }
            }
        }
        line("lock", &self.lock);
        line("rows", &format!("about {}", self.rows));
        line("time", &self.time());
        line("reversible", &self.reversible);
        for it in &self.look_at {
            line("look at", it);
        }
        let _ = writeln!(text, "\n-- @up\n{}", self.up.trim_end());
        section(&mut text, "verify", &self.verify.join("\n"));
        section(&mut text, "down", &self.down);
        text
    }

    fn time(&self) -> String {
        let seconds = self.rows.checked_div(self.rate).unwrap_or(0);
        match seconds {
            0 => "under a second".to_owned(),
            1..120 => format!("about {seconds} s"),
            120..7200 => format!("about {} min", seconds / 60),
            _ => format!("about {} h", seconds / 3600),
        }
    }
}

fn section(text: &mut String, name: &str, sql: &str) {
    if sql.trim().is_empty() {
        return;
    }
    let _ = writeln!(text, "\n-- @{name}");
    for line in sql.trim_end().lines() {
        let _ = writeln!(text, "-- {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn names_of_files_have_an_end() {
        assert_eq!(shortened("public_leads"), "public_leads");
        let long = format!("{}_reference", "ü".repeat(189));
        let short = shortened(&long);
        assert!(
            short.len() <= 192 && short.ends_with("_reference"),
            "{short}"
        );
    }
}
