//! A backfill, batch by batch.
//!
//! Triggers are held off within each batch's transaction: no other session ever sees them off,
//! and a run that is killed leaves nothing behind.

use std::fmt::Write;
use std::time::{Duration, Instant};

use super::error::MigrateError;
use super::run::{Event, Runner, Watcher};
use super::script::Script;
use super::state::{self, Record};
use super::throttle;

/// Rests before the table is gone through again: transactions that hold rows may end.
const SWEEP_REST: Duration = Duration::from_millis(300);
const SWEEP_REST_MAX: Duration = Duration::from_secs(5);

/// A step's batches.
pub(super) struct Batches<'a> {
    table: &'a str,
    rows: usize,
    hold: &'a [String],
}

/// What gives a trigger back how it was enabled.
fn enabling(enabled: &str) -> &'static str {
    match enabled {
        "A" => "ENABLE ALWAYS",
        "R" => "ENABLE REPLICA",
        _ => "ENABLE",
    }
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
        let mut rest = SWEEP_REST;
        for _ in 0..runner.options.attempts.max(1) {
            let mut given = 0;
            loop {
                let batch = runner
                    .again(&script.name, watcher, async || {
                        runner
                            .within(async || self.batch(runner, script, after.as_deref()).await)
                            .await
                    })
                    .await?;
                given += batch.rows;
                done += batch.rows;
                if batch.last.is_none() && batch.rows == 0 {
                    break;
                }
                after = batch.last;
                let milliseconds = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
                watcher(Event::Rows {
                    done: before + done,
                    estimate,
                    rate: done.saturating_mul(1000) / milliseconds.max(1),
                });
                throttle::wait(runner, watcher).await?;
                tokio::time::sleep(runner.options.pause).await;
            }
            let mut left = 0;
            for query in &script.verify {
                left += runner.count(query).await?;
            }
            if left == 0 {
                return state::record(runner.client, script, true).await;
            }
            if given == 0 && self.held_by_others(runner).await? == 0 {
                let name = script.name.clone();
                return Err(MigrateError::Nobodys { name, rows: left });
            }
            after = None;
            state::advance(runner.client, script, None, 0).await?;
            watcher(Event::Waiting("others hold rows"));
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(SWEEP_REST_MAX);
        }
        Err(MigrateError::Locked(script.name.clone()))
    }

    /// How many other sessions' transactions write to the table at the moment.
    async fn held_by_others(&self, runner: Runner<'_>) -> Result<i64, MigrateError> {
        let text = "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'relation' AND granted
                    AND pid <> pg_catalog.pg_backend_pid() AND mode IN ('RowShareLock', 'RowExclusiveLock')
                    AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())
                    AND relation IN (SELECT relid FROM pg_catalog.pg_partition_tree(pg_catalog.to_regclass($1))
                                     UNION SELECT pg_catalog.to_regclass($1))";
        let row = runner.client.query_one(text, &[&self.table]).await?;
        Ok(row.try_get(0)?)
    }

    /// One batch and how far it came, in the caller's transaction.
    async fn batch(
        &self,
        runner: Runner<'_>,
        script: &Script,
        after: Option<&[String]>,
    ) -> Result<Batch, MigrateError> {
        let client = runner.client;
        let held = self.held(runner).await?;
        self.switch(runner, &held, |_| "DISABLE").await?;
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        let row = client.query_one(script.up.trim(), &[&after, &rows]).await?;
        let (rows, differing): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if differing > 0 {
            return Err(MigrateError::Differs {
                name: script.name.clone(),
                rows: differing,
            });
        }
        self.switch(runner, &held, enabling).await?;
        let last: Option<Vec<String>> = row.try_get(2)?;
        if rows > 0 || last.is_some() {
            state::advance(client, script, last.as_deref(), rows).await?;
        }
        Ok(Batch { rows, last })
    }

    /// The triggers to hold, and how each is enabled: `O`, `A` (always) or `R` (on replicas).
    async fn held(&self, runner: Runner<'_>) -> Result<Vec<(String, String)>, MigrateError> {
        if self.hold.is_empty() {
            return Ok(Vec::new());
        }
        let text = "SELECT pg_catalog.quote_ident(tgname), tgenabled::text FROM pg_catalog.pg_trigger
                    WHERE tgrelid = pg_catalog.to_regclass($1) AND NOT tgisinternal AND tgenabled <> 'D'
                      AND pg_catalog.quote_ident(tgname) = ANY ($2)";
        let rows = runner
            .client
            .query(text, &[&self.table, &self.hold])
            .await?;
        let held = rows
            .iter()
            .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)));
        held.collect()
    }

    async fn switch(
        &self,
        runner: Runner<'_>,
        held: &[(String, String)],
        how: impl Fn(&str) -> &'static str,
    ) -> Result<(), MigrateError> {
        if held.is_empty() {
            return Ok(());
        }
        // What is deferred must have fired before the table can be altered.
        let mut sql = "SET CONSTRAINTS ALL IMMEDIATE".to_owned();
        for (trigger, enabled) in held {
            let how = how(enabled);
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
