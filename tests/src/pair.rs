//! One text without row level security, one with it: what both give, and what both leave behind.

use std::sync::Arc;

use pgwarden_policy::{DenyReason, Engine};

use crate::engine::{Judged, engine, refused};
use crate::fixture::{Arena, ROLE, Tenant, contents_of, script, server, set_claims, superuser};
use crate::generator::Statement;
use crate::oracle::{Outcome, compare};
use crate::wire::{Client, Reply};

/// A tenant's two connections. Their session user is a superuser, so that a transaction can look
/// at all tables before it is rolled back; statements run under the proxy's role.
#[derive(Debug)]
pub struct Pair {
    subject: Judged,
    oracle: Client,
    tenant: Tenant,
}

const PROLOGUE: &str =
    "BEGIN; SET LOCAL ROLE postgres; SELECT suite.restore_sequences(); SET LOCAL ROLE pgwarden_app";
const EPILOGUE: &str = "SET LOCAL ROLE postgres; SELECT name, sum FROM suite.contents()";

/// Settings that make the server plan otherwise.
const PLANS: &[&str] = &[
    "",
    "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off",
    "SET LOCAL enable_nestloop = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_material = off",
    "SET LOCAL enable_seqscan = off; SET LOCAL enable_hashagg = off; SET LOCAL enable_nestloop = off",
    "SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off",
    "SET LOCAL join_collapse_limit = 1; SET LOCAL from_collapse_limit = 1; SET LOCAL enable_memoize = off",
];

impl Pair {
    /// A tenant's connections to an arena.
    pub fn new(arena: &Arena, tenant: Tenant) -> Self {
        let open = |database: &str| {
            let mut client = superuser(server().address(), database);
            set_claims(&mut client, &tenant.claims());
            script(&mut client, "SET statement_timeout = 2000");
            script(&mut client, &format!("SET ROLE {ROLE}"));
            client.forbid(tenant.markers());
            client
        };
        Self {
            subject: Judged::over(open(&arena.plain()), engine(arena.is_second()), tenant),
            oracle: open(&arena.oracle()),
            tenant,
        }
    }

    /// The same under another policy.
    pub fn under(self, engine: Arc<Engine>) -> Self {
        Self {
            subject: self.subject.under(engine),
            ..self
        }
    }

    /// Judges a statement, runs what came of it, and compares.
    pub fn run(&mut self, statement: &Statement) -> (Outcome, usize) {
        let judged = self.subject.judge(&statement.sql);
        let text = match judged {
            Ok(text) => text,
            Err(denial) => return (self.without_us(&refused(&denial), &statement.sql), 0),
        };
        let (outcome, rows) = self.compare(&text, &statement.sql, statement.writes);
        match outcome {
            Outcome::Different(why) => (Outcome::Different(format!("{why}\n  as {text}")), rows),
            outcome => (outcome, rows),
        }
    }

    /// The same for a statement of somebody else's: a refusal comes with its words.
    pub fn run_stranger(&mut self, statement: &Statement) -> (Outcome, usize) {
        let judged = self.subject.judge(&statement.sql);
        match judged {
            Err(denial) => match self.without_us(&refused(&denial), &statement.sql) {
                Outcome::Denied(reason) => {
                    let words = format!("{reason}: {}", denial.message);
                    (Outcome::Denied(words), 0)
                }
                outcome => (outcome, 0),
            },
            Ok(_) => self.run(statement),
        }
    }

    /// Whether the proof of a rewritten statement fails.
    pub fn unproven(&mut self, sql: &str) -> bool {
        let denial = self.subject.judge(sql).err();
        denial.is_some_and(|it| it.reason == DenyReason::ProofFailed)
    }

    /// Whether the oracle gives an answer to a statement that was refused.
    pub fn oracle_answers(&mut self, statement: &Statement) -> bool {
        // It may be refused just because it would show what the oracle's policies leave open.
        self.oracle.forbid(&[]);
        self.oracle.query("BEGIN");
        let reply = self.oracle.query(&statement.sql);
        self.oracle.query("ROLLBACK");
        self.oracle.forbid(self.tenant.markers());
        reply.error.is_none()
    }

    /// Whether the oracle itself gives another answer under another plan.
    pub fn unsteady(&mut self, statement: &Statement) -> bool {
        let mut under = |settings: &str| {
            self.oracle.query(&format!("BEGIN; {settings}"));
            let reply = self.oracle.query(&statement.sql);
            self.oracle.query("ROLLBACK");
            reply
        };
        let first = under("");
        PLANS.iter().any(|plan| {
            let outcome = compare(&under(plan), &first, false);
            !matches!(outcome, Outcome::Same | Outcome::SameError(_))
        })
    }

    /// A refusal in PostgreSQL's own words (an unknown column's, say) must be PostgreSQL's.
    fn without_us(&mut self, refused: &Reply, original: &str) -> Outcome {
        let outcome = compare(refused, &Reply::default(), false);
        if matches!(outcome, Outcome::Denied(_)) {
            return outcome;
        }
        self.oracle.query("BEGIN");
        let mut theirs = self.oracle.query(original);
        self.oracle.query("ROLLBACK");
        theirs.status = refused.status;
        compare(refused, &theirs, false)
    }

    /// Runs a text without row level security and another with it. Gives the oracle's rows, too.
    pub fn compare(&mut self, text: &str, original: &str, writes: bool) -> (Outcome, usize) {
        if writes {
            self.write(text, original)
        } else {
            self.read(text, original)
        }
    }

    fn read(&mut self, text: &str, original: &str) -> (Outcome, usize) {
        self.subject.client().send_query(text);
        self.oracle.send_query(original);
        let ours = self.subject.client().reply();
        let theirs = self.oracle.reply();
        (compare(&ours, &theirs, false), rows(&theirs))
    }

    fn write(&mut self, text: &str, original: &str) -> (Outcome, usize) {
        for (client, sql) in [(self.subject.client(), text), (&mut self.oracle, original)] {
            client.send_query(PROLOGUE);
            client.send_query(sql);
            client.send_query(EPILOGUE);
            client.send_query("ROLLBACK");
        }
        let mut ours = transaction(self.subject.client());
        let mut theirs = transaction(&mut self.oracle);
        let (our_tables, their_tables) = (contents_of(&ours.1), contents_of(&theirs.1));
        ours.0.status = b'T';
        theirs.0.status = b'T';
        let outcome = compare(&ours.0, &theirs.0, false);
        if outcome == Outcome::Same && our_tables != their_tables {
            let names: Vec<_> = our_tables
                .iter()
                .zip(&their_tables)
                .filter(|(a, b)| a != b)
                .map(|(a, _)| a.clone())
                .collect();
            return (
                Outcome::Different(format!("tables differ afterwards: {names:?}")),
                0,
            );
        }
        (outcome, rows(&theirs.0))
    }
}

/// The replies to the statement itself and to the look at the tables.
fn transaction(client: &mut Client) -> (Reply, Reply) {
    client.reply().ok();
    let statement = client.reply();
    let contents = client.reply();
    client.reply();
    (statement, contents)
}

/// How many rows there are in a reply.
pub fn rows(reply: &Reply) -> usize {
    reply.results.iter().map(|result| result.rows.len()).sum()
}
