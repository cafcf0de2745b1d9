//! Statements that somebody else wrote, beside row level security: those of Debian's `sqlsmith`, which
//! reads the catalogue and combines any relation, function and operator that it finds (`make sqlsmith`), and those of a
//! file (`PGWARDEN_STATEMENTS_FROM`).
//!
//! They are wilder than the generator's own and have no single right answer more often. So what differs
//! counts only where the oracle gives the same answer under other plans, too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use pgwarden_policy::script::{PartKind, split};
use pgwarden_tests::fixture::{Arena, Tenant, script, server, superuser};
use pgwarden_tests::generator::Statement;
use pgwarden_tests::oracle::Outcome;
use pgwarden_tests::pair::Pair;
use pgwarden_tests::shrink;

/// How many differences are made smaller; each takes some seconds.
const SHRUNK_MAX: usize = 5;

/// How many of the reasons for denials are shown.
const SHOWN: usize = 60;

#[test]
#[ignore = "needs sqlsmith: make sqlsmith"]
fn what_sqlsmith_writes_gives_what_row_security_gives() {
    let count = setting("PGWARDEN_STATEMENTS").unwrap_or_else(|| "2000".to_owned());
    let seed = setting("PGWARDEN_SEED").unwrap_or_else(|| "1".to_owned());
    let arena = Arena::take();
    let target = format!(
        "--target=host=127.0.0.1 port={} user=postgres dbname={COPY}",
        server().address().port(),
    );
    copy(setting("PGWARDEN_ALL_FUNCTIONS").is_some());
    let written = Command::new("sqlsmith")
        .args([&target, "--dry-run", "--exclude-catalog"])
        .args([format!("--seed={seed}"), format!("--max-queries={count}")])
        .output()
        .expect("sqlsmith runs");
    let complaint = String::from_utf8_lossy(&written.stderr).into_owned();
    let text = String::from_utf8(written.stdout).expect("it writes UTF-8");
    assert!(text.contains("select"), "sqlsmith: {complaint}");
    check(&arena, &statements(&text));
}

#[test]
#[ignore = "needs a file of statements"]
fn what_a_file_says_gives_what_row_security_gives() {
    let place = setting("PGWARDEN_STATEMENTS_FROM").expect("PGWARDEN_STATEMENTS_FROM names a file");
    let text = std::fs::read_to_string(place).expect("the file can be read");
    check(&Arena::take(), &statements(&text));
}

/// The database that sqlsmith reads.
const COPY: &str = "strangers";

/// What would only be refused, or that sqlsmith can't write the name of.
const LEFT_OUT: &str = "DROP SCHEMA app, hidden, suite CASCADE; DROP FOREIGN TABLE public.far_leads; \
    DROP TABLE public.internal_secrets, public.ruled, public.\"Order Items\" CASCADE; \
    DROP VIEW public.unlisted_total, public.leaking_leads, public.credit_orgs, public.redirected CASCADE";

/// Makes a database for sqlsmith to read. Unless it is to see all functions it finds none there that nobody may call,
/// that answer otherwise each time, or that it can't call: what gives `internal` it leaves alone.
fn copy(all_functions: bool) {
    let admin = &mut superuser(server().address(), "postgres");
    script(admin, &format!("CREATE DATABASE {COPY} TEMPLATE base"));
    let admin = &mut superuser(server().address(), COPY);
    script(admin, LEFT_OUT);
    if all_functions {
        return;
    }
    let denied = include_str!("../../policy/src/builtin/functions.txt").lines();
    let denied = denied.filter_map(|line| line.strip_prefix("d "));
    let names: Vec<_> = denied.map(|name| format!("'{name}'")).collect();
    let types = "'{anymultirange,anyrange,anyenum,aclitem,anycompatible,anycompatiblearray,anyarray,anynonarray}'::regtype[]::oid[]";
    script(
        admin,
        &format!(
            "UPDATE pg_catalog.pg_proc SET prorettype = 'internal'::regtype \
             WHERE proname <> 'unnest' AND (provolatile = 'v' OR pronamespace <> 'pg_catalog'::regnamespace OR proname IN ({}) \
             OR proname ~ '^(txid_|pg_current|inet_|current_(database|catalog)|now$|.*_(timestamp|time)$)' \
             OR proargtypes::oid[] && {types}); \
             UPDATE pg_catalog.pg_operator SET oprresult = 0 WHERE oprname <> '||' AND (ARRAY[oprleft, oprright] && {types} OR oprname = '===')",
            names.join(", ")
        ),
    );
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// The statements of a text, each without what leaves the server a choice of rows; those that bring a marker of
/// foreign rows along are left out.
fn statements(text: &str) -> Vec<Statement> {
    let parts = split(text).into_iter();
    let parts = parts.filter(|part| part.kind == PartKind::Statement);
    parts
        .map(|part| {
            let sql = settled(&text[part.range]);
            Statement {
                writes: writes(&sql),
                hostile: false,
                sql,
            }
        })
        .filter(|statement| {
            let brings = |marker: &&str| statement.sql.contains(*marker);
            !Tenant::A.markers().iter().any(brings)
        })
        .collect()
}

/// A statement without sqlsmith's `limit 7` (but that of a query for one value) and `tablesample system (3.2)`.
fn settled(sql: &str) -> String {
    let mut words = sql.split_ascii_whitespace().peekable();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "limit" if words.peek().is_some_and(|it| is_number(it) && *it != "1") => {
                words.next();
            }
            "tablesample" => {
                words.next();
                words.next();
            }
            _ => kept.push(word),
        }
    }
    kept.join(" ")
}

fn is_number(word: &str) -> bool {
    word.bytes().all(|it| it.is_ascii_digit())
}

fn writes(sql: &str) -> bool {
    let sql = sql.to_lowercase();
    let words = [
        "insert ",
        "update ",
        "delete ",
        "merge ",
        "truncate ",
        "create ",
        "drop ",
        "alter ",
    ];
    words.iter().any(|word| sql.contains(word))
}

/// What came of the statements.
#[derive(Default)]
struct Figures {
    same: usize,
    rows: usize,
    same_errors: BTreeMap<String, usize>,
    /// Faults of two kinds in one statement, of which each side told another.
    other_errors: usize,
    timed_out: usize,
    unsteady: usize,
    /// By reason and words: how often, how often PostgreSQL would have answered, and the shortest.
    denied: BTreeMap<String, (usize, usize, String)>,
    different: usize,
}

fn check(arena: &Arena, statements: &[Statement]) {
    let mut pair = Pair::new(arena, Tenant::A);
    let mut figures = Figures::default();
    for (at, statement) in statements.iter().enumerate() {
        if at % 500 == 499 {
            figures.show(at + 1);
        }
        let run = || {
            let (outcome, rows) = pair.run_stranger(statement);
            figures.note(statement, outcome, rows, arena, &mut pair);
        };
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(()) => {}
            Err(panic) => {
                let why = panic.downcast_ref::<String>().cloned();
                let why = why.unwrap_or_default();
                figures.differs(&format!("{}\n  panics: {why}", statement.sql));
                pair = Pair::new(arena, Tenant::A);
            }
        }
    }
    figures.show(statements.len());
    assert_eq!(figures.different, 0, "some statements differ");
}

impl Figures {
    fn note(
        &mut self,
        statement: &Statement,
        outcome: Outcome,
        rows: usize,
        arena: &Arena,
        pair: &mut Pair,
    ) {
        match outcome {
            Outcome::Same => {
                self.same += 1;
                self.rows += rows;
            }
            Outcome::SameError(code) => *self.same_errors.entry(code).or_default() += 1,
            Outcome::TimedOut => self.timed_out += 1,
            Outcome::Denied(why) if why.starts_with("proof_failed") => {
                let smallest = shrink::statement(&statement.sql, |sql| pair.unproven(sql));
                self.differs(&format!(
                    "{}\n  {why}\n  shrunk to {smallest}",
                    statement.sql
                ));
            }
            Outcome::Denied(reason) => {
                let answered = pair.oracle_answers(statement);
                let entry = self.denied.entry(reason).or_default();
                entry.0 += 1;
                entry.1 += usize::from(answered);
                if entry.2.is_empty() || entry.2.len() > statement.sql.len() {
                    entry.2.clone_from(&statement.sql);
                }
            }
            Outcome::Different(why)
                if why.starts_with("ERROR") && why.contains("oracle: ERROR") =>
            {
                self.other_errors += 1;
            }
            Outcome::Different(_) if pair.unsteady(statement) => self.unsteady += 1,
            Outcome::Different(why) => {
                let smallest = if self.different < SHRUNK_MAX {
                    smallest(arena, statement, &why)
                } else {
                    "(not tried)".to_owned()
                };
                self.differs(&format!(
                    "{}\n  {why}\n  shrunk to {smallest}",
                    statement.sql
                ));
            }
        }
    }

    /// Shown at once: a run is long.
    fn differs(&mut self, text: &str) {
        println!("DIFFERENT {text}");
        self.different += 1;
    }

    fn show(&self, statements: usize) {
        let errors: usize = self.same_errors.values().sum();
        let denied: usize = self.denied.values().map(|it| it.0).sum();
        let needless: usize = self.denied.values().map(|it| it.1).sum();
        println!(
            "{statements} statements: {} equal with {} rows, {errors} equal errors, {} other errors, {} out of time, {} that hang on the plan, \
             {denied} denied ({needless} of them PostgreSQL would answer), {} different",
            self.same, self.rows, self.other_errors, self.timed_out, self.unsteady, self.different
        );
        let mut denied: Vec<_> = self.denied.iter().collect();
        denied.sort_by_key(|(_, (_, needless, _))| std::cmp::Reverse(*needless));
        for (reason, (times, needless, sql)) in denied.into_iter().take(SHOWN) {
            println!("denied: {times}, {needless} × {reason}, such as {sql}");
        }
    }
}

/// A smaller statement that differs in the same way.
fn smallest(arena: &Arena, statement: &Statement, why: &str) -> String {
    let way = |why: &str| {
        why.chars()
            .filter(|it| it.is_alphabetic())
            .take(20)
            .collect::<String>()
    };
    let mut pair = Pair::new(arena, Tenant::A);
    shrink::statement(&statement.sql, |sql| {
        let smaller = Statement {
            sql: sql.to_owned(),
            ..statement.clone()
        };
        match catch_unwind(AssertUnwindSafe(|| pair.run_stranger(&smaller).0)) {
            Ok(Outcome::Different(again)) => way(&again) == way(why),
            Ok(_) => false,
            Err(_) => {
                pair = Pair::new(arena, Tenant::A);
                true
            }
        }
    })
}
