//! The catalogue as an open transaction sees it, asked for on the connection of its own session.
//!
//! The client's settings must not falsify the answer, nor stop it: `search_path` is empty,
//! `statement_timeout` ours and `jit` off while it is read (to compile the question takes longer than to
//! answer it). [`BEFORE`] keeps theirs, as settings of the transaction, and [`AFTER`] brings them back as such:
//! whatever ends the transaction, or goes back to a savepoint, finds the values of its own levels.
//!
//! Under REPEATABLE READ and SERIALIZABLE the answer is as old as the transaction, but for what it has made itself,
//! while names are looked up as of now. So it is told only to who knows that nobody else has changed the catalogue
//! since the transaction began.

use std::sync::LazyLock;

use pgwarden_policy::Catalog;

use crate::error::Error;
use crate::gathering::{self, Gathering, question_where};

/// To be sent before [`question`]; its answer says nothing.
pub const BEFORE: &str = "SELECT pg_catalog.set_config('pgwarden.kept_path', \
    pg_catalog.current_setting('search_path'), true), \
    pg_catalog.set_config('pgwarden.kept_timeout', \
    pg_catalog.current_setting('statement_timeout'), true), \
    pg_catalog.set_config('pgwarden.kept_jit', pg_catalog.current_setting('jit'), true), \
    pg_catalog.set_config('search_path', '', true), \
    pg_catalog.set_config('jit', 'off', true), \
    pg_catalog.set_config('statement_timeout', '30s', true)";

/// To be sent behind it; its answer says nothing.
pub const AFTER: &str = "SELECT pg_catalog.set_config('statement_timeout', \
    pg_catalog.current_setting('pgwarden.kept_timeout'), true), \
    pg_catalog.set_config('jit', pg_catalog.current_setting('pgwarden.kept_jit'), true), \
    pg_catalog.set_config('search_path', pg_catalog.current_setting('pgwarden.kept_path'), true)";

/// The tables whose rows DDL writes, beside those that only it reads.
const TABLES: &[&str] = &[
    "pg_namespace",
    "pg_class",
    "pg_attribute",
    "pg_attrdef",
    "pg_inherits",
    "pg_rewrite",
    "pg_trigger",
    "pg_policy",
    "pg_constraint",
    "pg_type",
    "pg_proc",
    "pg_operator",
    "pg_amop",
    "pg_amproc",
    "pg_opclass",
    "pg_cast",
    "pg_extension",
    "pg_depend",
];

/// Whether the transaction has written to them, whoever had it do so: `t` or `f`. It may say `t` for what
/// an earlier transaction of the connection has written. Every name is qualified.
pub fn written() -> &'static str {
    static WRITTEN: LazyLock<String> = LazyLock::new(|| {
        let counts = TABLES.iter().flat_map(|table| {
            ["inserted", "updated", "deleted"].map(|how| {
                format!(
                    "pg_catalog.pg_stat_get_xact_tuples_{how}('pg_catalog.{table}'::pg_catalog.regclass)"
                )
            })
        });
        let counts: Vec<String> = counts.collect();
        format!(
            "SELECT {} OPERATOR(pg_catalog.>) 0 \
             OR NOT pg_catalog.current_setting('track_counts')::pg_catalog.bool",
            counts.join(" OPERATOR(pg_catalog.+) ")
        )
    });
    &WRITTEN
}

/// The question; each row of the answer is for [`Uncommitted::add`]. Nothing is told of an old snapshot, unless
/// the catalogue is `unchanged` since the transaction began.
pub fn question(unchanged: bool) -> &'static str {
    static QUESTION: LazyLock<String> = LazyLock::new(|| {
        question_where(
            "pg_catalog.current_setting('transaction_isolation') \
             IN ('read committed', 'read uncommitted')",
        )
    });
    if unchanged {
        gathering::question()
    } else {
        &QUESTION
    }
}

/// What was told so far.
#[derive(Debug, Default)]
pub struct Uncommitted(Gathering);

impl Uncommitted {
    /// A row of the answer.
    ///
    /// # Errors
    /// When it is not what was asked for.
    pub fn add(&mut self, row: &[u8]) -> Result<(), Error> {
        self.0.add(row)
    }

    /// The catalogue, unless nothing was told of it.
    ///
    /// # Errors
    /// When the server is older than PostgreSQL 13.
    pub fn finish(self) -> Result<Option<Catalog>, Error> {
        if !self.0.has_objects() {
            return Ok(None);
        }
        self.0.finish().map(Some)
    }
}
