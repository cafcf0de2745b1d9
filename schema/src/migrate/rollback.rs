//! Undoes a phase, while nothing depends on it: neither a later phase, nor, since nothing is
//! dropped with CASCADE, anything that people have made since.

use tokio_postgres::Client;

use super::error::MigrateError;
use super::file::StepFile;
use super::phase::Phase;
use super::run::{ApplyOptions, Event, Runner, Watcher, begin, known};
use super::script;
use super::state;

/// Undoes the steps of a phase, the last first.
///
/// # Errors
/// When a later phase was begun, a file is not the one that was run, or the server refuses.
/// Running it again goes on where it stopped.
pub async fn rollback(
    client: &Client,
    files: &[StepFile],
    phase: Phase,
    options: &ApplyOptions,
    watcher: Watcher<'_>,
) -> Result<(), MigrateError> {
    let scripts = script::read(files).map_err(MigrateError::Unreadable)?;
    begin(client, options, watcher).await?;
    let records = state::records(client).await?;
    known(&scripts, &records)?;
    let begun = records
        .values()
        .filter_map(|it| it.phase.parse::<Phase>().ok());
    if let Some(later) = begun.filter(|it| *it > phase).min() {
        return Err(MigrateError::Depends { phase, later });
    }
    let of = scripts.len();
    let runner = Runner { client, options };
    for (at, script) in scripts.iter().enumerate().rev() {
        if script.phase != phase || !records.contains_key(&script.name) {
            continue;
        }
        let (name, title) = (&script.name, &script.title);
        watcher(Event::Begin {
            number: at + 1,
            of,
            name,
            title,
        });
        let undone = runner.again(&script.name, watcher, async || {
            runner
                .within(async || {
                    client.batch_execute(&script.down).await?;
                    state::forget(client, script).await
                })
                .await
        });
        undone.await.map_err(|error| error.at(script))?;
        watcher(Event::Done);
    }
    Ok(())
}
