//! A backfill, batch by batch.
//!
//! Triggers are held off within each batch's transaction: no other session ever sees them off,
//! and a run that is killed leaves nothing behind.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::error::MigrateError;
use super::lag;
use super::run::{Event, Runner, Watcher};
use super::script::Script;
use super::state::{self, Record};

/// How often the table is gone through again for rows that came in behind.
const SWEEPS: u32 = 5;

/// Rests before a sweep: transactions that were open may end.
const SWEEP_REST: Duration = Duration::from_millis(300);

/// A step's batches.
pub(super) struct Batches<'a> {
    table: &'a str,
    rows: usize,
    hold: &'a [String],
}

/// What one batch did.
struct Batch {
    rows: i64,
    last: Option<Vec<String>>,
}

impl<'a> Batches<'a> {
    pub(super) fn new(table: &'a str, rows: usize, hold: &'a [String]) -> Self {
        Self { table, rows, hold }
    }

    pub(super) async fn run(
        &self,
        runner: Runner<'_>,
        script: &Script,
        record: Option<&Record>,
        watcher: Watcher<'_>,
    ) -> Result<(), MigrateError> {
        if record.is_none() {
            state::record(runner.client, script, false).await?;
        }
        let mut after = record.and_then(|it| it.after.clone());
        let before = record.map_or(0, |it| it.rows);
        let estimate = self.estimate(runner).await?;
        let (started, mut done) = (Instant::now(), 0_i64);
        for _ in 0..SWEEPS {
            loop {
                let batch = runner
                    .again(&script.name, watcher, async || {
                        runner
                            .within(async || self.batch(runner, script, after.as_deref()).await)
                            .await
                    })
                    .await?;
                if batch.rows == 0 {
                    break;
                }
                done += batch.rows;
                after = batch.last;
                let milliseconds = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
                watcher(Event::Rows {
                    done: before + done,
                    estimate,
                    rate: done.saturating_mul(1000) / milliseconds.max(1),
                });
                lag::wait(runner, watcher).await?;
                tokio::time::sleep(runner.options.pause).await;
            }
            let mut left = 0;
            for query in &script.verify {
                left += runner.count(query).await?;
            }
            if left == 0 {
                return state::record(runner.client, script, true).await;
            }
            after = None;
            state::advance(runner.client, script, None, 0).await?;
            tokio::time::sleep(SWEEP_REST).await;
        }
        runner.verify(script).await?;
        state::record(runner.client, script, true).await
    }

    /// One batch and how far it came, in the caller's transaction.
    async fn batch(
        &self,
        runner: Runner<'_>,
        script: &Script,
        after: Option<&[String]>,
    ) -> Result<Batch, MigrateError> {
        let client = runner.client;
        self.switch(runner, "DISABLE").await?;
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        let row = client.query_one(script.up.trim(), &[&after, &rows]).await?;
        let (rows, differing): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if differing > 0 {
            return Err(MigrateError::Differs {
                name: script.name.clone(),
                rows: differing,
            });
        }
        self.switch(runner, "ENABLE").await?;
        let last: Option<Vec<String>> = row.try_get(2)?;
        if rows > 0 {
            state::advance(client, script, last.as_deref(), rows).await?;
        }
        Ok(Batch { rows, last })
    }

    async fn switch(&self, runner: Runner<'_>, how: &str) -> Result<(), MigrateError> {
        if self.hold.is_empty() {
            return Ok(());
        }
        // What is deferred must have fired before the table can be altered.
        let mut sql = "SET CONSTRAINTS ALL IMMEDIATE".to_owned();
        for trigger in self.hold {
            // Writing to a String can't fail.
            let _ = write!(sql, "; ALTER TABLE {} {how} TRIGGER {trigger}", self.table);
        }
        Ok(runner.client.batch_execute(&sql).await?)
    }

    async fn estimate(&self, runner: Runner<'_>) -> Result<i64, MigrateError> {
        let text = "SELECT greatest(reltuples, 0)::pg_catalog.int8 FROM pg_catalog.pg_class
                    WHERE oid = pg_catalog.to_regclass($1)::pg_catalog.oid";
        let row = runner.client.query_opt(text, &[&self.table]).await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(0))
    }
}
