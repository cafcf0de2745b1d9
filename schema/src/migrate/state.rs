//! What has been run: in a schema of its own in the migrated database, so that the record of a
//! step and what it did are one transaction.

use std::collections::HashMap;

use tokio_postgres::Client;

use super::error::MigrateError;
use super::script::Script;

/// Of all pgwarden migrations of a database, by pg_try_advisory_lock: "pgwarden" in ASCII.
const LOCK: i64 = 0x7067_7761_7264_656e;

const CREATE: &str = "
    CREATE SCHEMA IF NOT EXISTS pgwarden_migrate;
    CREATE TABLE IF NOT EXISTS pgwarden_migrate.steps (
      name text PRIMARY KEY,
      digest text NOT NULL,
      phase text NOT NULL,
      done boolean NOT NULL,
      after_key text[],
      rows bigint NOT NULL DEFAULT 0,
      started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
      finished_at timestamptz);
    CREATE TABLE IF NOT EXISTS pgwarden_migrate.quarantine (
      table_name text NOT NULL,
      row_key text[] NOT NULL,
      listed_at timestamptz NOT NULL DEFAULT clock_timestamp());
    ALTER TABLE pgwarden_migrate.quarantine ADD COLUMN IF NOT EXISTS was text";

/// What is recorded of a step.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) digest: String,
    pub(super) phase: String,
    pub(super) done: bool,
    /// The last key of a backfill.
    pub(super) after: Option<Vec<String>>,
    pub(super) rows: i64,
}

/// Takes the lock, if nobody has it. It goes with the connection.
pub(super) async fn lock(client: &Client) -> Result<bool, MigrateError> {
    let row = client
        .query_one("SELECT pg_catalog.pg_try_advisory_lock($1)", &[&LOCK])
        .await?;
    Ok(row.try_get(0)?)
}

/// Makes the schema where it is not there.
pub(super) async fn prepare(client: &Client) -> Result<(), MigrateError> {
    Ok(client.batch_execute(CREATE).await?)
}

/// All records, by step; none where nothing was ever run.
pub(super) async fn records(client: &Client) -> Result<HashMap<String, Record>, MigrateError> {
    let there = "SELECT pg_catalog.to_regclass('pgwarden_migrate.steps') IS NOT NULL";
    if !client.query_one(there, &[]).await?.try_get::<_, bool>(0)? {
        return Ok(HashMap::new());
    }
    let text = "SELECT name, digest, phase, done, after_key, rows FROM pgwarden_migrate.steps";
    let rows = client.query(text, &[]).await?;
    let records = rows.iter().map(|row| {
        let record = Record {
            digest: row.try_get(1)?,
            phase: row.try_get(2)?,
            done: row.try_get(3)?,
            after: row.try_get(4)?,
            rows: row.try_get(5)?,
        };
        Ok((row.try_get(0)?, record))
    });
    records.collect()
}

/// Records that a step has begun, or is done.
pub(super) async fn record(
    client: &Client,
    script: &Script,
    done: bool,
) -> Result<(), MigrateError> {
    let text = "INSERT INTO pgwarden_migrate.steps (name, digest, phase, done, finished_at)
        VALUES ($1, $2, $3, $4, CASE WHEN $4 THEN clock_timestamp() END)
        ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, done = excluded.done,
          finished_at = excluded.finished_at";
    let phase = script.phase.name();
    client
        .execute(text, &[&script.name, &script.digest, &phase, &done])
        .await?;
    Ok(())
}

/// Records how far a backfill has come; no key starts it again.
pub(super) async fn advance(
    client: &Client,
    script: &Script,
    after: Option<&[String]>,
    rows: i64,
) -> Result<(), MigrateError> {
    let text = "UPDATE pgwarden_migrate.steps SET after_key = $2, rows = rows + $3 WHERE name = $1";
    client.execute(text, &[&script.name, &after, &rows]).await?;
    Ok(())
}

/// Forgets a step that was undone.
pub(super) async fn forget(client: &Client, script: &Script) -> Result<(), MigrateError> {
    let text = "DELETE FROM pgwarden_migrate.steps WHERE name = $1";
    client.execute(text, &[&script.name]).await?;
    Ok(())
}
