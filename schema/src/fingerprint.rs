//! A cheap answer to the question whether the catalogue is still the one that was read.
//!
//! Every row version of a catalogue table has its place (`ctid`) and the transaction that wrote it
//! (`xmin`), and DDL is nothing but writing such rows. So a sum of hashes over both differs whenever
//! anything was created, altered or dropped, whoever did it and by whatever means; no trigger and no
//! right to create one is needed. Statistics that VACUUM and ANALYZE keep are written in place and
//! don't show. What belongs to temporary tables of other sessions is left out: it can't be used.
//!
//! That the fingerprint differs does not mean that anything of interest has: that is for a new
//! reading to say.

use std::fmt;

use tokio_postgres::Client;

use crate::error::Error;

/// What the rows of all catalogue tables amounted to in one snapshot.
#[derive(Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(…)")
    }
}

/// The tables that a reading depends on, each with the rows that count. Memberships of roles and
/// rights on schemas are among them because the schemas of a `search_path` depend on them.
const TABLES: &[(&str, &str)] = &[
    ("pg_namespace", "NOT t.nspname ~ '^pg_(toast_)?temp_'"),
    ("pg_class", "t.relpersistence <> 't'"),
    (
        "pg_attribute",
        "t.attrelid NOT IN (SELECT oid FROM temporary)",
    ),
    ("pg_attrdef", "t.adrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_index", "t.indrelid NOT IN (SELECT oid FROM temporary)"),
    (
        "pg_inherits",
        "t.inhrelid NOT IN (SELECT oid FROM temporary)",
    ),
    (
        "pg_rewrite",
        "t.ev_class NOT IN (SELECT oid FROM temporary)",
    ),
    ("pg_trigger", "t.tgrelid NOT IN (SELECT oid FROM temporary)"),
    ("pg_policy", "true"),
    (
        "pg_constraint",
        "t.conrelid NOT IN (SELECT oid FROM temporary)",
    ),
    ("pg_type", "t.typnamespace NOT IN (SELECT oid FROM passing)"),
    ("pg_proc", "true"),
    ("pg_language", "true"),
    ("pg_operator", "true"),
    ("pg_cast", "true"),
    ("pg_extension", "true"),
    ("pg_depend", "t.deptype = 'e'"),
    ("pg_auth_members", "true"),
];

/// The fingerprint in the snapshot of the open transaction.
pub(crate) async fn read(client: &Client) -> Result<Fingerprint, Error> {
    let row = client.query_one(&question(), &[]).await?;
    Ok(Fingerprint(row.try_get(0)?))
}

fn question() -> String {
    let sums: Vec<String> = TABLES
        .iter()
        .map(|(table, counts)| {
            format!(
                "(SELECT pg_catalog.concat(pg_catalog.count(*), ':', pg_catalog.sum(\
                 pg_catalog.hashtextextended(t.ctid::pg_catalog.text || t.xmin::pg_catalog.text, 0)))
                 FROM pg_catalog.{table} AS t WHERE {counts})"
            )
        })
        .collect();
    format!(
        "WITH temporary AS (SELECT oid FROM pg_catalog.pg_class WHERE relpersistence = 't'),
         passing AS (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname ~ '^pg_(toast_)?temp_')
         SELECT pg_catalog.concat_ws(' ', pg_catalog.current_setting('server_version_num'), {})",
        sums.join(", ")
    )
}
