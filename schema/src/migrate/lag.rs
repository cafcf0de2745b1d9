//! Replicas: a backfill waits for those that are behind.

use std::time::Duration;

use super::error::MigrateError;
use super::run::{Event, Runner, Watcher};

/// Asked so often while one is behind.
const REST: Duration = Duration::from_millis(500);

/// A replica is behind by what it has not replayed, while there is anything.
const LAG: &str = "SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::pg_catalog.float8
    FROM pg_catalog.pg_stat_replication
    WHERE replay_lsn OPERATOR(pg_catalog.<) pg_catalog.pg_current_wal_lsn()";

/// Returns when no replica is too far behind.
pub(super) async fn wait(runner: Runner<'_>, watcher: Watcher<'_>) -> Result<(), MigrateError> {
    loop {
        let seconds: f64 = runner.client.query_one(LAG, &[]).await?.try_get(0)?;
        if seconds <= runner.options.lag_max.as_secs_f64() {
            return Ok(());
        }
        watcher(Event::Waiting("a replica is behind"));
        tokio::time::sleep(REST).await;
    }
}
