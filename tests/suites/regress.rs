//! PostgreSQL's own regression suite, statement by statement: `make regress`.
//!
//! Each file runs in a database of its own, as a superuser, and before each statement several
//! engines judge it, each with another column as the tenant's. None may panic or fail a proof;
//! what touches nothing scoped goes on byte for byte; and where the server understands a statement
//! it understands what came of it. The files are the parser's (`scripts/regress.sh` fetches them);
//! `PGWARDEN_ONLY=join,merge` runs some of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pgwarden_policy::engine::{Limits, Request, Scratch};
use pgwarden_policy::script::{PartKind, split};
use pgwarden_policy::{
    Catalog, DenyReason, Engine, Protocol, ScopeValue, ScopeValues, SessionFacts, Verdict,
};
use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::proxy::{policy_of, runtime};
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;

/// The columns that stand for the tenant's, one engine each: many tables of the suite have them.
const COLUMNS: &[&str] = &["a", "f1", "id", "unique1", "q1"];

/// Statements that a superuser should not run here, whatever the suite means by them.
const LEFT_OUT: &[&str] = &[
    "alter system",
    "tablespace",
    "create database",
    "drop database",
    "alter database",
    "pg_sleep",
    "stdin",
    "stdout",
    "pg_terminate",
    "subscription",
    "\\",
    "pg_reload",
];

/// Faults that are known: the server refuses what came of a statement that it would take, with these
/// words. A tenant column that is GENERATED ALWAYS AS IDENTITY can't be filled; a computed tenant column
/// may be a function that gives several rows; an aggregate of a query around may stand in a condition.
const KNOWN: &[&str] = &[
    "cannot insert a non-DEFAULT value",
    "argument of CASE/WHEN must not return a set",
    "subquery uses ungrouped column",
];

/// What came of all statements.
#[derive(Default)]
struct Figures {
    statements: usize,
    judged: usize,
    passed: usize,
    rewritten: usize,
    understood: usize,
    denied: BTreeMap<String, usize>,
    known: BTreeMap<String, usize>,
    problems: Vec<String>,
}

#[test]
#[ignore = "needs PostgreSQL's regression files: make regress"]
fn the_regression_suite_is_judged_without_a_fault() {
    let place = std::env::var("PGWARDEN_REGRESS").expect("PGWARDEN_REGRESS names the files");
    let only = std::env::var("PGWARDEN_ONLY").ok();
    let mut files: Vec<PathBuf> = std::fs::read_dir(&place)
        .expect("the files are there")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .collect();
    files.sort();
    let server = Server::start();
    let mut figures = Figures::default();
    let mut admin = superuser(server.address(), "postgres");
    script(&mut admin, "CREATE DATABASE regress_base");
    prepare(&server, Path::new(&place));
    for file in files {
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        if name == "test_setup"
            || only
                .as_ref()
                .is_some_and(|only| !only.split(',').any(|it| it == name))
        {
            continue;
        }
        // Some are in other encodings.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        script(&mut admin, "CREATE DATABASE regress TEMPLATE regress_base");
        let before = figures.problems.len();
        Run::new(&server, &name).file(&text, &mut figures);
        println!("{name}: {} problems", figures.problems.len() - before);
        script(&mut admin, "DROP DATABASE regress WITH (FORCE)");
    }
    println!(
        "{} statements, {} verdicts: {} pass, {} rewritten, {} of these understood by the server",
        figures.statements, figures.judged, figures.passed, figures.rewritten, figures.understood
    );
    for (reason, times) in &figures.denied {
        println!("denied: {times} × {reason}");
    }
    for (error, times) in &figures.known {
        println!("known: {times} × {error}");
    }
    assert!(
        figures.problems.is_empty(),
        "{}",
        figures.problems.join("\n")
    );
}

/// The tables that most files use; what fails (it wants data files) fails.
fn prepare(server: &Server, place: &Path) {
    let text = std::fs::read_to_string(place.join("test_setup.sql")).expect("test_setup.sql");
    let mut client = superuser(server.address(), "regress_base");
    for part in split(&text) {
        let sql = &text[part.range];
        if part.kind == PartKind::Statement && !left_out(sql) {
            client.query(sql);
        }
    }
}

fn left_out(sql: &str) -> bool {
    let text = sql.to_lowercase();
    LEFT_OUT.iter().any(|word| text.contains(word))
}

/// A file's session.
struct Run<'s> {
    server: &'s Server,
    name: &'s str,
    client: Client,
    engines: Vec<Engine>,
    facts: SessionFacts,
    /// Whether something may have changed the catalogue or the search path.
    stale: bool,
    status: u8,
}

impl<'s> Run<'s> {
    fn new(server: &'s Server, name: &'s str) -> Self {
        let mut client = superuser(server.address(), "regress");
        script(&mut client, "SET statement_timeout = 2000");
        let mut run = Self {
            server,
            name,
            client,
            engines: Vec::new(),
            facts: SessionFacts::default(),
            stale: true,
            status: b'I',
        };
        let catalog = run.catalog();
        run.engines = COLUMNS.iter().map(|it| engine(it, &catalog)).collect();
        run
    }

    fn catalog(&self) -> Arc<Catalog> {
        let port = self.server.address().port();
        let read = async move {
            let url = format!("host=127.0.0.1 port={port} user=postgres dbname=regress");
            let connected = tokio_postgres::connect(&url, tokio_postgres::NoTls).await;
            let (client, connection) = connected.expect("the server answers");
            let driver = tokio::spawn(connection);
            let catalog = pgwarden_schema::read_catalog(&client).await;
            drop(client);
            let _ = driver.await;
            catalog.expect("the catalogue can be read")
        };
        Arc::new(runtime().block_on(read))
    }

    fn file(&mut self, text: &str, figures: &mut Figures) {
        for part in split(text) {
            let sql = &text[part.range];
            if part.kind != PartKind::Statement || left_out(sql) {
                continue;
            }
            figures.statements += 1;
            self.refresh(sql);
            for at in 0..self.engines.len() {
                self.judge(at, sql, figures);
            }
            let reply = self.client.query(sql);
            self.status = reply.status;
            self.stale |= !reads(sql);
        }
    }

    /// Looks at the catalogue again if it may have changed and somebody is going to ask.
    fn refresh(&mut self, sql: &str) {
        if !self.stale || !looks_up(sql) || self.status != b'I' {
            return;
        }
        let catalog = self.catalog();
        for engine in &mut self.engines {
            *engine = engine.refitted(Arc::clone(&catalog), &HashSet::new()).0;
        }
        let path = "SELECT array_to_string(current_schemas(false), ',')";
        if let Some(path) = self.client.query(path).value() {
            let named = path.split(',').filter(|name| !name.starts_with("pg_temp"));
            self.facts.search_path = named.map(str::to_owned).collect();
        }
        self.stale = false;
    }

    fn judge(&mut self, at: usize, sql: &str, figures: &mut Figures) {
        figures.judged += 1;
        let values = ScopeValues::new(vec![Some(ScopeValue::Bigint(1))]);
        let mut scratch = Scratch::default();
        let request = Request {
            text: sql,
            protocol: Protocol::Simple,
            declared: &[],
            facts: &self.facts,
            values: &values,
        };
        let engine = &self.engines[at];
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let cleared = engine.judge(request, &mut scratch)?;
            Ok((cleared.plan().verdict, cleared.text().to_owned()))
        }));
        let place = format!("{} (tenant in {})\n  {sql}", self.name, COLUMNS[at]);
        match judged {
            Err(_) => figures.problems.push(format!("{place}\n  panics")),
            Ok(Err(denial)) => {
                let denial: pgwarden_policy::Denial = denial;
                let ours = [DenyReason::ProofFailed, DenyReason::ReaderDisagreement];
                if ours.contains(&denial.reason) {
                    figures.problems.push(format!(
                        "{place}\n  {:?}: {}",
                        denial.reason, denial.message
                    ));
                }
                *figures
                    .denied
                    .entry(format!("{:?}", denial.reason))
                    .or_default() += 1;
            }
            Ok(Ok((Verdict::Pass, text))) => {
                figures.passed += 1;
                // A name that is found in a later schema of the path may get it written before.
                if text != sql && self.facts.search_path.len() < 2 {
                    figures
                        .problems
                        .push(format!("{place}\n  is sent as {text}"));
                }
            }
            Ok(Ok((_, text))) => {
                figures.rewritten += 1;
                match self.understood(sql, &text) {
                    Some(Ok(())) => figures.understood += 1,
                    Some(Err(error)) if KNOWN.iter().any(|it| error.contains(it)) => {
                        *figures.known.entry(error).or_default() += 1;
                    }
                    Some(Err(error)) => figures
                        .problems
                        .push(format!("{place}\n  as {text}\n  fails: {error}")),
                    None => {}
                }
            }
        }
    }

    /// Whether the server understands a rewritten text; `None` where it does not understand the
    /// client's either.
    fn understood(&mut self, sql: &str, text: &str) -> Option<Result<(), String>> {
        if self.status == b'E' || self.stale {
            return None;
        }
        let inside = self.status == b'T';
        let mut prepare = |sql: &str| {
            if inside {
                self.client.query("SAVEPOINT pgwarden_regress");
            }
            let reply = self
                .client
                .query(&format!("PREPARE pgwarden_regress AS {sql}"));
            if inside {
                self.client.query("ROLLBACK TO pgwarden_regress");
            }
            if reply.error.is_none() {
                self.client.query("DEALLOCATE pgwarden_regress");
            }
            reply
                .error
                .map(|error| format!("{} {}", error.code(), error.message()))
        };
        match (prepare(sql), prepare(text)) {
            (Some(_), _) => None,
            (None, None) => Some(Ok(())),
            (None, Some(error)) => Some(Err(error)),
        }
    }
}

fn engine(column: &str, catalog: &Arc<Catalog>) -> Engine {
    let policy = policy_of(&format!(
        "version = 1\nmode = \"enforce\"\n[tenant]\nclaim = \"app_metadata.org\"\ntype = \"bigint\"\n\
         column = \"{column}\"\n[defaults]\ndiscover = [\"public\"]\nunlisted = \"write\"\n"
    ));
    let limits = Limits {
        plan_cache_bytes: 0,
        ..Limits::default()
    };
    let engine = Engine::new(policy.policy, Arc::clone(catalog), limits);
    engine.unwrap_or_else(|problems| panic!("{problems:?}"))
}

fn first_word(sql: &str) -> String {
    let word = sql
        .split(|c: char| !c.is_alphabetic())
        .find(|word| !word.is_empty());
    word.unwrap_or_default().to_lowercase()
}

/// Whether the verdict on a statement depends on the catalogue.
fn looks_up(sql: &str) -> bool {
    let words = [
        "select", "insert", "update", "delete", "merge", "with", "values", "table", "explain",
        "declare", "prepare", "copy",
    ];
    words.contains(&first_word(sql).as_str())
}

/// Whether a statement leaves the catalogue and the search path as they are.
fn reads(sql: &str) -> bool {
    let other = [
        "show",
        "execute",
        "fetch",
        "move",
        "close",
        "analyze",
        "vacuum",
        "savepoint",
    ];
    let into = sql.to_lowercase().contains("into temp") || first_word(sql) == "copy";
    (looks_up(sql) || other.contains(&first_word(sql).as_str())) && !into
}
