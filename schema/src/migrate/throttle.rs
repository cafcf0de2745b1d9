//! A backfill gives way: to replicas that are behind, and to a server that is busy.

use std::time::Duration;

use super::error::MigrateError;
use super::run::{Event, Runner, Watcher};

/// Asked so often meanwhile.
const REST: Duration = Duration::from_millis(500);

/// A replica is behind by what it has not replayed, while there is anything. A role that may not
/// see other sessions counts none.
const STATE: &str = "SELECT
    (SELECT coalesce(max(extract(epoch FROM replay_lag)), 0)::pg_catalog.float8
     FROM pg_catalog.pg_stat_replication
     WHERE replay_lsn OPERATOR(pg_catalog.<) pg_catalog.pg_current_wal_lsn()),
    (SELECT count(*) FROM pg_catalog.pg_stat_activity
     WHERE state = 'active' AND backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid())";

/// Returns when no replica is too far behind, and not too many sessions are at work.
pub(super) async fn wait(runner: Runner<'_>, watcher: Watcher<'_>) -> Result<(), MigrateError> {
    loop {
        let row = runner.client.query_one(STATE, &[]).await?;
        let (behind, active): (f64, i64) = (row.try_get(0)?, row.try_get(1)?);
        if behind > runner.options.lag_max.as_secs_f64() {
            watcher(Event::Waiting("a replica is behind"));
        } else if active > i64::from(runner.options.active_max) {
            watcher(Event::Waiting("the server is busy"));
        } else {
            return Ok(());
        }
        tokio::time::sleep(REST).await;
    }
}
