//! An index that is made concurrently, outside of a transaction.
//!
//! What breaks off leaves an invalid index behind, which slows writes down and is used by nobody:
//! it is dropped and made again.

use super::error::MigrateError;
use super::run::{Runner, Watcher};
use super::script::Script;
use super::state;

pub(super) async fn run(
    runner: Runner<'_>,
    script: &Script,
    index: &str,
    begun: bool,
    watcher: Watcher<'_>,
) -> Result<(), MigrateError> {
    state::record(runner.client, script, false).await?;
    // It waits for transactions that are open, and nobody has to wait for it.
    runner.client.batch_execute("SET lock_timeout = 0").await?;
    let mut begun = begun;
    let made = runner
        .again(&script.name, watcher, async || {
            let valid = validity(runner, index).await?;
            let before = std::mem::replace(&mut begun, true);
            match valid {
                // This step's own, from before it was killed.
                Some(true) if before => return Ok(()),
                Some(false) => drop_invalid(runner, index).await?,
                Some(true) | None => {}
            }
            Ok(runner.client.batch_execute(script.up.trim_end()).await?)
        })
        .await;
    let restored = super::run::lock_timeout(runner.options);
    runner.client.batch_execute(&restored).await?;
    made?;
    runner.verify(script).await?;
    state::record(runner.client, script, true).await
}

async fn validity(runner: Runner<'_>, index: &str) -> Result<Option<bool>, MigrateError> {
    let text = "SELECT indisvalid FROM pg_catalog.pg_index
                WHERE indexrelid = pg_catalog.to_regclass($1)::pg_catalog.oid";
    let row = runner.client.query_opt(text, &[&index]).await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?)
}

async fn drop_invalid(runner: Runner<'_>, index: &str) -> Result<(), MigrateError> {
    let sql = format!("DROP INDEX CONCURRENTLY {index}");
    Ok(runner.client.batch_execute(&sql).await?)
}
