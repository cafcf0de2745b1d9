//! `pgwarden migrate rollback`.

use std::path::PathBuf;

use clap::Args;
use pgwarden_schema::migrate::{ApplyOptions, Phase, rollback};

use super::progress::Progress;
use super::{Failure, folder, input, stopped};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
    /// The folder with the files
    #[arg(long, value_name = "FOLDER", default_value = "migration")]
    plan: PathBuf,
    /// The phase to undo: the last one that was begun
    #[arg(long, value_name = "PHASE")]
    phase: Phase,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let files = folder::read(&arguments.plan)?;
    let options = ApplyOptions::default();
    let undone = input::on_server(&arguments.dsn, async |client| {
        let mut progress = Progress::new();
        let mut watcher = |event: pgwarden_schema::migrate::Event<'_>| progress.event(event);
        Ok(rollback(client, &files, arguments.phase, &options, &mut watcher).await)
    })?;
    undone.map_err(|error| stopped(&error))
}
