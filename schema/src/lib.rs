//! What the database holds: reads the catalogue snapshot of `pgwarden-policy` from a live
//! PostgreSQL (13 or later), and audits what the database itself does to keep tenants apart
//! ([`audit`]).
//!
//! One transaction, one snapshot: what is read belongs together, however much DDL runs beside it.
//! Only `pg_catalog` is read, by qualified names and with an empty `search_path`, so nothing that
//! tenants or applications created can run or stand in for a system relation. What can't be
//! understood (a new kind of type, say) is left out, and what is left out is denied.

// A position in a text may lie within a character; tests know their texts.
#![cfg_attr(not(test), warn(clippy::string_slice))]

pub mod audit;
pub mod migrate;
pub mod organisations;

mod error;
mod fingerprint;
mod functions;
mod gathering;
mod ident;
mod relations;
mod snapshot;
pub mod temporary;
mod types;
pub mod uncommitted;

use pgwarden_policy::Catalog;
use tokio_postgres::Client;

pub use error::Error;
pub use fingerprint::Fingerprint;
use gathering::Gathering;
pub use snapshot::{SnapshotError, read_snapshot, write_snapshot};

/// One snapshot for all queries, in which nothing but pg_catalog is found by name. To compile them would take
/// longer than to run them.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; \
    SET LOCAL search_path = ''; SET LOCAL jit = off";

/// So often a reading is begun again that has met DDL of others.
const READINGS_MAX: u8 = 30;

/// Reads the catalogue of the database that the client is connected to. The client must not be in
/// a transaction, and should not be used for anything else after an error.
///
/// # Errors
/// When the connection breaks, the server refuses a query, or is older than PostgreSQL 13.
pub async fn read_catalog(client: &Client) -> Result<Catalog, Error> {
    let mut readings = 0..READINGS_MAX;
    loop {
        client.batch_execute(BEGIN).await?;
        let catalog = read_objects(client).await;
        client.batch_execute("ROLLBACK").await?;
        let again = catalog.as_ref().is_err_and(Error::is_of_ddl);
        if !again || readings.next().is_none() {
            return catalog;
        }
    }
}

/// A catalogue, and what was read in the same snapshot.
#[derive(Debug)]
pub struct Reading {
    /// The catalogue.
    pub catalog: Catalog,
    /// By which a change is noticed.
    pub fingerprint: Fingerprint,
    /// What the database itself does to keep tenants apart. Read last, so that an error of it is no
    /// error of the catalogue.
    pub guarantees: Result<audit::Guarantees, Error>,
}

/// Reads the catalogue if it is not the one with this fingerprint any more. The client as for
/// [`read_catalog`].
///
/// # Errors
/// As [`read_catalog`].
pub async fn read_changed(
    client: &Client,
    known: Option<&Fingerprint>,
) -> Result<Option<Reading>, Error> {
    let mut readings = 0..READINGS_MAX;
    loop {
        client.batch_execute(BEGIN).await?;
        let read = read_unless(client, known).await;
        client.batch_execute("ROLLBACK").await?;
        let error = match &read {
            Ok(reading) => reading.as_ref().and_then(|it| it.guarantees.as_ref().err()),
            Err(error) => Some(error),
        };
        if !error.is_some_and(Error::is_of_ddl) || readings.next().is_none() {
            return read;
        }
    }
}

async fn read_unless(
    client: &Client,
    known: Option<&Fingerprint>,
) -> Result<Option<Reading>, Error> {
    let fingerprint = fingerprint::read(client).await?;
    if known == Some(&fingerprint) {
        return Ok(None);
    }
    Ok(Some(Reading {
        catalog: read_objects(client).await?,
        fingerprint,
        guarantees: audit::Guarantees::read(client).await,
    }))
}

async fn read_version(client: &Client) -> Result<u32, Error> {
    let text = "SELECT pg_catalog.current_setting('server_version_num')::pg_catalog.int8";
    let number: i64 = client.query_one(text, &[]).await?.try_get(0)?;
    Ok(u32::try_from(number).unwrap_or(0))
}

async fn read_objects(client: &Client) -> Result<Catalog, Error> {
    let mut gathering = Gathering::default();
    for row in client.query(gathering::question(), &[]).await? {
        let object: &str = row.try_get(0)?;
        gathering.add(object.as_bytes())?;
    }
    gathering.finish()
}
