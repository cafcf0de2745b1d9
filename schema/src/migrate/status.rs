//! How far a migration is.

use serde::Serialize;
use tokio_postgres::Client;

use super::error::MigrateError;
use super::file::StepFile;
use super::phase::Phase;
use super::script;
use super::state;

/// A step of the plan.
#[derive(Debug, Clone, Serialize)]
pub struct StepStatus {
    /// Its file.
    pub name: String,
    /// What it does.
    pub title: String,
    /// Its phase.
    pub phase: Phase,
    /// Whether it was run.
    pub state: StepState,
    /// Rows of a backfill that were given their tenant.
    pub rows: i64,
}

/// Whether a step was run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not yet.
    Open,
    /// It was begun; running the plan again goes on with it.
    Begun,
    /// It is done.
    Done,
    /// It was run from a file that read otherwise.
    Changed,
}

/// How far the plan's steps are; reads only.
///
/// # Errors
/// When a file is not a step, or the server refuses to tell.
pub async fn status(client: &Client, files: &[StepFile]) -> Result<Vec<StepStatus>, MigrateError> {
    let scripts = script::read(files).map_err(MigrateError::Unreadable)?;
    let records = state::records(client).await?;
    let steps = scripts.into_iter().map(|script| {
        let record = records.get(&script.name);
        let state = match record {
            None => StepState::Open,
            Some(it) if it.digest != script.digest => StepState::Changed,
            Some(it) if it.done => StepState::Done,
            Some(_) => StepState::Begun,
        };
        StepStatus {
            name: script.name,
            title: script.title,
            phase: script.phase,
            state,
            rows: record.map_or(0, |it| it.rows),
        }
    });
    Ok(steps.collect())
}
