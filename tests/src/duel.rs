//! Random statements on both sides at once: the subject and the oracle, statement after statement,
//! and what came of it in numbers (`report`). `scripts` plays those that are more than one statement.

mod report;
mod scripts;

pub use report::Report;
pub use scripts::scripts;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::engine::engine_with;
use crate::fixture::{Arena, Tenant};
use crate::generator::{Generator, Statement};
use crate::oracle::{Direct, Outcome, Subject as _, compare};
use crate::pair::{Pair, rows};
use crate::proxy::{policy_with, session};
use crate::shrink;
use crate::wire::Reply;

/// How many differences of a run are made smaller; each takes some seconds.
const SHRUNK_MAX: usize = 5;

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
    let open = |tenant| Pair::new(&arena, tenant);
    over(seed, indexes, tenant_of, Generator::statement, open)
}

/// The same over the second world, whose third tenant has rows that look foreign.
pub fn through_the_engine_of_the_second(seed: u64, indexes: impl Iterator<Item = u64>) -> Report {
    let arena = Arena::take_second();
    let who = |index| match tenant_of(index) {
        Tenant::C => Tenant::B,
        tenant => tenant,
    };
    let open = |tenant| Pair::new(&arena, tenant);
    over(seed, indexes, who, Generator::second, open)
}

/// Runs messages of several statements through an engine whose policy lets tables be made.
pub fn messages(seed: u64, indexes: impl Iterator<Item = u64>) -> Report {
    let arena = Arena::take();
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let engine = engine_with(policy_with(&lines));
    let open = |tenant| Pair::new(&arena, tenant).under(Arc::clone(&engine));
    over(seed, indexes, tenant_of, Generator::message, open)
}

fn over(
    seed: u64,
    indexes: impl Iterator<Item = u64>,
    who: impl Fn(u64) -> Tenant,
    write: impl Fn(u64, u64, Tenant) -> Statement,
    open: impl Fn(Tenant) -> Pair,
) -> Report {
    let mut pairs: Vec<(Tenant, Pair)> = Vec::new();
    let mut report = Report::default();
    let mut shrunk = 0;
    for index in indexes {
        let tenant = who(index);
        let statement = write(seed, index, tenant);
        let at = match pairs.iter().position(|(known, _)| *known == tenant) {
            Some(at) => at,
            None => {
                pairs.push((tenant, open(tenant)));
                pairs.len() - 1
            }
        };
        let (mut outcome, rows, alive) = try_pair(&mut pairs[at].1, &statement);
        if !alive {
            pairs.remove(at);
        }
        if let Outcome::Different(why) = &mut outcome
            && shrunk < SHRUNK_MAX
        {
            shrunk += 1;
            let smallest = smallest(|| open(tenant), &statement);
            *why = format!("{why}\n  shrunk to {smallest}");
        }
        report.note(&statement, &place(seed, index), outcome, rows);
    }
    report
}

/// Runs a statement; false at last if the connections are of no use any more.
fn try_pair(pair: &mut Pair, statement: &Statement) -> (Outcome, usize, bool) {
    match catch_unwind(AssertUnwindSafe(|| pair.run(statement))) {
        Ok((outcome, rows)) => (outcome, rows, true),
        Err(panic) => (Outcome::Different(panic_text(panic.as_ref())), 0, false),
    }
}

/// A smaller statement that differs, too.
fn smallest(open: impl Fn() -> Pair, statement: &Statement) -> String {
    let mut pair = open();
    shrink::statement(&statement.sql, |sql| {
        let smaller = Statement {
            sql: sql.to_owned(),
            ..statement.clone()
        };
        let (outcome, _, alive) = try_pair(&mut pair, &smaller);
        if !alive {
            pair = open();
        }
        matches!(outcome, Outcome::Different(_))
    })
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
