//! Random statements, compared with the oracle.
//!
//! `PGWARDEN_SEED` and `PGWARDEN_STATEMENTS` change what runs; a failure names its seed and number,
//! and `PGWARDEN_ONLY=<number>` runs that statement alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use pgwarden_tests::duel::{
    Report, messages, scripts, through_the_engine, through_the_engine_of_the_second,
    through_the_proxy,
};
use pgwarden_tests::engine::Judged;
use pgwarden_tests::fixture::{Arena, Tenant, server_major};
use pgwarden_tests::generator::Generator;
use pgwarden_tests::mutation::{MUTANTS, broken, filled};
use pgwarden_tests::oracle::Outcome;
use pgwarden_tests::pair::Pair;
use pgwarden_tests::shrink;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is a number")),
    )
}

fn seed() -> u64 {
    number("PGWARDEN_SEED").unwrap_or(20_261_121)
}

fn indexes(default: u64) -> std::ops::Range<u64> {
    match number("PGWARDEN_ONLY") {
        Some(only) => only..only + 1,
        None => 0..number("PGWARDEN_STATEMENTS").map_or(default, |given| given.min(default)),
    }
}

fn check(report: &Report, denied_reads: f64, denied_writes: f64) {
    println!("seed {}: {report}", seed());
    assert!(
        report.different.is_empty(),
        "{} statements differ from the oracle",
        report.different.len()
    );
    if report.statements < 100 {
        return;
    }
    assert!(
        report.denied_reads_percent() < denied_reads,
        "too many reads are refused"
    );
    assert!(
        report.denied_writes_percent() < denied_writes,
        "too many writes are refused"
    );
    // An older server lacks some functions.
    let errors = if server_major() < 15 { 10 } else { 5 };
    assert!(
        report.same_errors * 100 < report.statements * errors,
        "too many statements fail on both sides"
    );
    assert!(
        report.timed_out * 100 < report.statements * 2,
        "too many statements run out of time"
    );
    assert!(report.rows > report.same, "most answers are empty");
}

#[test]
fn what_the_engine_lets_through_is_what_row_security_gives() {
    let range = indexes(number("PGWARDEN_STATEMENTS").unwrap_or(20_000));
    let halves: Vec<_> = (0..2)
        .map(|half| {
            let range = range.clone();
            std::thread::spawn(move || {
                through_the_engine(seed(), range.filter(|index| index % 2 == half))
            })
        })
        .collect();
    let mut report = Report::default();
    for half in halves {
        report.add(half.join().expect("no panic but those of statements"));
    }
    check(&report, 5.0, 5.0);
}

#[test]
fn of_the_second_world_goes_through_what_row_security_gives() {
    let count = number("PGWARDEN_STATEMENTS").unwrap_or(1500);
    let report = through_the_engine_of_the_second(seed() + 4, indexes(count));
    // Somebody's functions, operators and casts could be meant in many of them, also by what is computed of
    // a domain, whose type is not known.
    check(&report, 18.0, 10.0);
}

#[test]
fn of_messages_that_make_tables_goes_through_what_row_security_gives() {
    let count = number("PGWARDEN_STATEMENTS").unwrap_or(1500);
    let report = messages(seed() + 5, indexes(count));
    println!("seed {}: {report}", seed() + 5);
    assert!(
        report.different.is_empty(),
        "{} messages differ from the oracle",
        report.different.len()
    );
    assert!(report.statements < 100 || report.rows > report.same);
    assert!(
        report.denied_writes_percent() < 40.0,
        "too many messages are refused"
    );
}

#[test]
fn what_the_proxy_lets_through_is_what_row_security_gives() {
    let mut report = through_the_proxy(seed() + 1, indexes(200), false);
    report.add(through_the_proxy(seed() + 2, indexes(200), true));
    check(&report, 5.0, 5.0);
}

#[test]
fn scripts_through_the_proxy_give_what_row_security_gives() {
    let report = scripts(
        seed() + 3,
        match number("PGWARDEN_ONLY") {
            Some(only) => only..only + 1,
            None => 0..number("PGWARDEN_SCRIPTS").unwrap_or(150),
        },
    );
    println!("seed {}: {report}", seed() + 3);
    assert!(
        report.different.is_empty(),
        "{} statements differ from the oracle",
        report.different.len()
    );
}

#[test]
fn the_generator_writes_what_postgresql_understands() {
    let arena = Arena::take();
    let mut errors: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let count = 1500;
    let mut session = arena.oracle_session(Tenant::A);
    session.query("SET statement_timeout = 1000").ok();
    for index in 0..count {
        let statement = Generator::statement(seed(), index, Tenant::A);
        if statement.hostile {
            continue;
        }
        session.query("BEGIN").ok();
        let reply = session.query(&statement.sql);
        if let Some(error) = &reply.error {
            let entry = errors
                .entry(format!("{} {}", error.code(), error.message()))
                .or_default();
            entry.0 += 1;
            entry.1 = statement.sql;
        }
        session.query("ROLLBACK").ok();
    }
    let failed: usize = errors.values().map(|(times, _)| times).sum();
    for (error, (times, sql)) in &errors {
        println!("{times} × {error}\n      {sql}");
    }
    println!("{failed} of {count} fail on the oracle itself");
    assert!(
        failed * 100 < usize::try_from(count).unwrap() * 3,
        "{failed} of {count}"
    );
}

/// How long a statement must be for the test below, and how long what is left of it may be, in bytes.
const LONG_MIN: usize = 400;
const SHRUNK_MAX: usize = 120;

/// The rewriter is broken as the mutation suite breaks it; the statements that show it are made smaller.
#[test]
fn a_statement_that_shows_a_fault_is_made_smaller() {
    let arena = Arena::take();
    let mut broken = Broken {
        session: Judged::new(&arena, Tenant::A),
        pair: Pair::new(&arena, Tenant::A),
        arena,
    };
    let statements = (0..400).map(|index| Generator::statement(9, index, Tenant::A));
    let long = statements.filter(|it| !it.writes && it.sql.len() > LONG_MIN);
    let differing: Vec<_> = long.filter(|it| broken.differs(&it.sql)).take(3).collect();
    assert_eq!(differing.len(), 3, "too few statements show the fault");
    for statement in differing {
        let smallest = shrink::statement(&statement.sql, |sql| broken.differs(sql));
        println!("{smallest}");
        assert!(broken.differs(&smallest), "{smallest}");
        assert!(smallest.len() < SHRUNK_MAX, "{smallest}");
    }
}

/// An engine whose first predicate is always true.
struct Broken {
    session: Judged,
    pair: Pair,
    arena: Arena,
}

impl Broken {
    fn differs(&mut self, sql: &str) -> bool {
        let Some(text) = self.rewritten(sql) else {
            return false;
        };
        let run = || self.pair.compare(&text, sql, false).0;
        match catch_unwind(AssertUnwindSafe(run)) {
            // A statement that is wrong by itself shows no fault.
            Ok(Outcome::Different(why)) => why.contains(" rows, oracle "),
            Ok(_) => false,
            Err(_) => {
                self.pair = Pair::new(&self.arena, Tenant::A);
                true
            }
        }
    }

    fn rewritten(&mut self, sql: &str) -> Option<String> {
        let fault = MUTANTS.iter().find(|it| it.name == "predicate OR true");
        let fault = fault.expect("it is in the list");
        let rewriting = self.session.rewriting(sql).ok()??;
        let texts = broken(fault, &rewriting.text, rewriting.own + 1);
        Some(filled(texts.first()?, rewriting.hidden(), Tenant::A))
    }
}
