//! Comparing an answer with the oracle's.

use pgwarden_policy::catalog::RelationKind;

use crate::engine::engine;
use crate::wire::{Client, Column, Reply, ResultSet, ServerError};

/// Something that answers statements: the proxy, or the engine with PostgreSQL behind it.
pub trait Subject {
    /// Runs one text with parameter values in text format.
    fn run(&mut self, sql: &str, values: &[Option<&str>]) -> Reply;
}

/// A client of the proxy (or of PostgreSQL itself), in one protocol.
#[derive(Debug)]
pub struct Direct {
    /// The connection.
    pub client: Client,
    /// Whether it speaks the extended protocol.
    pub extended: bool,
}

impl Subject for Direct {
    fn run(&mut self, sql: &str, values: &[Option<&str>]) -> Reply {
        if self.extended {
            self.client.extended(sql, values)
        } else {
            self.client.query(sql)
        }
    }
}

/// How two answers compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Equal rows, columns, types and tags.
    Same,
    /// Both failed, with this SQLSTATE.
    SameError(String),
    /// The proxy refused, for this reason.
    Denied(String),
    /// Anything else: a bug.
    Different(String),
    /// One side ran out of time, which says nothing.
    TimedOut,
}

/// Compares an answer with the oracle's. `ordered` demands the same order of rows, too.
pub fn compare(subject: &Reply, oracle: &Reply, ordered: bool) -> Outcome {
    if let Some(reason) = denial(subject) {
        return Outcome::Denied(reason);
    }
    if subject.code() == "57014" || oracle.code() == "57014" {
        return Outcome::TimedOut;
    }
    match (&subject.error, &oracle.error) {
        (Some(ours), Some(theirs)) if sqlstate(subject) == theirs.code() => {
            if subject.status != oracle.status {
                return Outcome::Different(format!(
                    "transaction status {:?}, oracle {:?}",
                    subject.status as char, oracle.status as char
                ));
            }
            Outcome::SameError(ours.code().to_owned())
        }
        // Of two faults of a row, ours is told first.
        (Some(ours), Some(_)) if is_foreign_row(ours) => Outcome::Denied("foreign row".to_owned()),
        (Some(ours), Some(theirs)) => Outcome::Different(format!("{ours:?}, oracle: {theirs:?}")),
        (Some(ours), None) => Outcome::Different(format!("{ours:?}, oracle: fine")),
        (None, Some(theirs)) => Outcome::Different(format!("fine, oracle: {theirs:?}")),
        (None, None) => compare_results(subject, oracle, ordered),
    }
}

/// The reason of a refusal. Refusals that carry no reason (a syntax error's) are the server's own
/// wording and compare like any error.
fn denial(reply: &Reply) -> Option<String> {
    let error = reply.error.as_ref()?;
    if !error.message().starts_with("pgwarden: ")
        || error.message().contains("conflict")
        || error.message().contains("the row to insert")
    {
        return None;
    }
    let reason = error.reason().unwrap_or("none given");
    // Proofs fail for many reasons, each a bug of its own.
    Some(match reason {
        "proof_failed" => format!("{reason}: {}", error.message()),
        _ => reason.to_owned(),
    })
}

/// A foreign row under ON CONFLICT DO UPDATE, or one that an INSERT computes, raises 22P02 in the rewritten statement; the session
/// turns that into the 42501 of row level security, the engine alone can't.
fn sqlstate(reply: &Reply) -> &str {
    if reply.error.as_ref().is_some_and(is_foreign_row) {
        return "42501";
    }
    reply.code()
}

fn is_foreign_row(error: &ServerError) -> bool {
    [
        "belongs to another tenant",
        "pgwarden: reference to a row of another tenant",
    ]
    .iter()
    .any(|what| error.message().contains(what))
}

fn compare_results(subject: &Reply, oracle: &Reply, ordered: bool) -> Outcome {
    if subject.status != oracle.status {
        return Outcome::Different(format!(
            "transaction status {:?}, oracle {:?}",
            subject.status as char, oracle.status as char
        ));
    }
    if subject.results.len() != oracle.results.len() {
        return Outcome::Different(format!(
            "{} results, oracle {}",
            subject.results.len(),
            oracle.results.len()
        ));
    }
    if sorted(&subject.copied) != sorted(&oracle.copied) {
        let shown = |rows: &[Vec<u8>]| -> Vec<String> {
            let rows = sorted(rows).into_iter();
            rows.map(|row| row.escape_ascii().to_string()).collect()
        };
        return Outcome::Different(difference(&shown(&subject.copied), &shown(&oracle.copied)));
    }
    for (ours, theirs) in subject.results.iter().zip(&oracle.results) {
        if !same_columns(ours.columns.as_deref(), theirs.columns.as_deref()) {
            return Outcome::Different(format!(
                "columns {:?}, oracle {:?}",
                ours.columns, theirs.columns
            ));
        }
        let (our_rows, their_rows) = (rows(ours, ordered), rows(theirs, ordered));
        if our_rows != their_rows {
            return Outcome::Different(difference(&our_rows, &their_rows));
        }
        if ours.tag != theirs.tag {
            return Outcome::Different(format!("tag {:?}, oracle {:?}", ours.tag, theirs.tag));
        }
    }
    Outcome::Same
}

/// What COPY in binary sends before the first row, in one message with it.
const BINARY_HEAD: &[u8] = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";

fn sorted(rows: &[Vec<u8>]) -> Vec<&[u8]> {
    let row = |row| <[u8]>::strip_prefix(row, BINARY_HEAD).unwrap_or(row);
    let mut rows: Vec<_> = rows.iter().map(|it| row(it.as_slice())).collect();
    rows.sort_unstable();
    rows
}

/// The rows as text, sorted unless their order counts.
pub fn rows(result: &ResultSet, ordered: bool) -> Vec<String> {
    let mut rows: Vec<String> = result
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<_> = row
                .iter()
                .map(|cell| match cell {
                    None => "NULL".to_owned(),
                    Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                })
                .collect();
            cells.join(" | ")
        })
        .collect();
    if !ordered {
        rows.sort_unstable();
    }
    rows
}

fn difference(ours: &[String], theirs: &[String]) -> String {
    let extra: Vec<_> = ours
        .iter()
        .filter(|row| !theirs.contains(row))
        .take(3)
        .collect();
    let missing: Vec<_> = theirs
        .iter()
        .filter(|row| !ours.contains(row))
        .take(3)
        .collect();
    format!(
        "{} rows, oracle {}; only here: {extra:?}; only there: {missing:?}",
        ours.len(),
        theirs.len()
    )
}

/// Tables that a session has made have another oid in each database; and a plan that lost a branch of
/// UNION tells the other's type modifier, where one that kept it tells none.
fn same_columns(ours: Option<&[Column]>, theirs: Option<&[Column]>) -> bool {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        return ours == theirs;
    };
    let made = |oid: u32| {
        let known = |second| engine(second).catalog().relation_by_oid(oid).is_some();
        oid != 0 && !known(false) && !known(true)
    };
    // So has a type that a message makes.
    let same_type = |ours: u32, theirs: u32| {
        let made = |oid: u32| {
            let known = |second| engine(second).catalog().type_by_oid(oid).is_some();
            !known(false) && !known(true)
        };
        ours == theirs || made(ours) && made(theirs)
    };
    // A row of a table that the session has made is of a type that it has made.
    let made_row = |ours: &Column, theirs: &Column| {
        ours.name == theirs.name
            && (ours.origin.1, theirs.origin.1) == (0, 0)
            && made(ours.origin.0)
            && made(theirs.origin.0)
    };
    // A view is read as its query, whose columns come from the tables themselves.
    let viewed = |oid: u32| {
        [false, true].into_iter().any(|second| {
            let engine = engine(second);
            let relation = engine.catalog().relation_by_oid(oid);
            relation.is_some_and(|it| it.kind == RelationKind::View)
        })
    };
    let same = |(ours, theirs): (&Column, &Column)| {
        let alike = ours.name == theirs.name && ours.kind == theirs.kind;
        ours == theirs
            || alike && viewed(theirs.origin.0)
            || made_row(ours, theirs)
            || ours.name == theirs.name
                && same_type(ours.kind.0, theirs.kind.0)
                && ours.kind.1 == theirs.kind.1
                && (ours.kind.2 == theirs.kind.2 || ours.kind.2 == -1 || theirs.kind.2 == -1)
                && (ours.origin == theirs.origin
                    || ours.origin.1 == theirs.origin.1
                        && made(ours.origin.0)
                        && made(theirs.origin.0))
    };
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(same)
}
