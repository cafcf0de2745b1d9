//! Random statements on both sides at once: the subject and the oracle, statement after statement,
//! and what came of it in numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::fixture::{Arena, Tenant};
use crate::generator::{Generator, Statement};
use crate::oracle::{Direct, Outcome, Subject as _, compare};
use crate::pair::{Pair, rows};
use crate::proxy::session;
use crate::wire::Reply;

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

    fn note(&mut self, statement: &Statement, place: &str, outcome: Outcome, rows: usize) {
        self.statements += 1;
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

/// Who writes the statement of an index.
pub fn tenant_of(index: u64) -> Tenant {
    match index % 10 {
        0..=6 => Tenant::A,
        7 | 8 => Tenant::B,
        _ => Tenant::C,
    }
}

fn place(seed: u64, index: u64) -> String {
    format!("seed {seed} statement {index} as {:?}", tenant_of(index))
}

/// Runs statements through the engine, `indexes` of a seed.
pub fn through_the_engine(seed: u64, indexes: impl Iterator<Item = u64>) -> Report {
    let arena = Arena::take();
    let mut pairs: Vec<(Tenant, Pair)> = Vec::new();
    let mut report = Report::default();
    for index in indexes {
        let tenant = tenant_of(index);
        let statement = Generator::statement(seed, index, tenant);
        let at = match pairs.iter().position(|(known, _)| *known == tenant) {
            Some(at) => at,
            None => {
                pairs.push((tenant, Pair::new(&arena, tenant)));
                pairs.len() - 1
            }
        };
        let pair = &mut pairs[at].1;
        let result = catch_unwind(AssertUnwindSafe(|| pair.run(&statement)));
        match result {
            Ok((outcome, rows)) => report.note(&statement, &place(seed, index), outcome, rows),
            Err(panic) => {
                pairs.remove(at);
                report.note(
                    &statement,
                    &place(seed, index),
                    Outcome::Different(panic_text(panic.as_ref())),
                    0,
                );
            }
        }
    }
    report
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_default()
}

/// A statement as it is, prepared by SQL, or (if it reads) through a cursor. The last step gives what
/// it gives.
fn in_one_of_its_forms(statement: &Statement, index: u64) -> Vec<String> {
    let sql = &statement.sql;
    match index % 3 {
        1 => vec![format!("PREPARE duel AS {sql}"), "EXECUTE duel".to_owned()],
        2 if !statement.writes => vec![
            "BEGIN".to_owned(),
            format!("DECLARE duel CURSOR FOR {sql}"),
            "FETCH ALL FROM duel".to_owned(),
        ],
        _ => vec![sql.clone()],
    }
}

fn compare_step(sql: &str, subject: &mut Direct, oracle: &mut Direct) -> (Outcome, usize) {
    let ours = subject.run(sql, &[]);
    let refused = compare(&ours, &Reply::default(), false);
    if matches!(refused, Outcome::Denied(_)) {
        return (refused, 0);
    }
    let theirs = oracle.run(sql, &[]);
    (compare(&ours, &theirs, false), rows(&theirs))
}

/// Runs statements through the whole proxy, in one protocol.
pub fn through_the_proxy(seed: u64, indexes: impl Iterator<Item = u64>, extended: bool) -> Report {
    let arena = Arena::take();
    let mut report = Report::default();
    for index in indexes {
        let tenant = tenant_of(index);
        let statement = Generator::statement(seed, index, tenant);
        let mut oracle = Direct {
            client: arena.oracle_session(tenant),
            extended,
        };
        let mut subject = Direct {
            client: session(&arena.plain(), tenant),
            extended,
        };
        let result = catch_unwind(AssertUnwindSafe(|| {
            let mut last = (Outcome::Same, 0);
            for step in in_one_of_its_forms(&statement, index) {
                last = compare_step(&step, &mut subject, &mut oracle);
                if last.0 != Outcome::Same {
                    break;
                }
            }
            last
        }));
        let (mut outcome, rows) =
            result.unwrap_or_else(|panic| (Outcome::Different(panic_text(panic.as_ref())), 0));
        if statement.writes {
            if outcome == Outcome::Same
                && Arena::contents(&arena.plain()) != Arena::contents(&arena.oracle())
            {
                outcome = Outcome::Different("tables differ afterwards".to_owned());
            }
            arena.restore();
        }
        report.note(&statement, &place(seed, index), outcome, rows);
    }
    report
}
