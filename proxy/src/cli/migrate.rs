//! `pgwarden migrate`: one file per command.

use clap::Subcommand;
use pgwarden_schema::migrate::MigrateError;

use super::{Failure, input, output};

mod apply;
mod claims;
mod folder;
mod plan;
mod progress;
mod rollback;
mod status;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the steps as SQL files, for people to review.
    Plan(plan::Arguments),
    /// Run the steps that were not run yet.
    Apply(apply::Arguments),
    /// Show how far it is.
    Status(status::Arguments),
    /// Undo a phase, while no later one was begun.
    Rollback(rollback::Arguments),
    /// Set every user's organisation in app_metadata, so that tokens carry it.
    Claims(Box<claims::Arguments>),
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Plan(arguments) => plan::run(arguments),
        Command::Apply(arguments) => apply::run(arguments),
        Command::Status(arguments) => status::run(arguments),
        Command::Rollback(arguments) => rollback::run(arguments),
        Command::Claims(arguments) => claims::run(arguments),
    }
}

/// A plan that can't be run is a mistake in it; all else is a migration that is not through.
fn stopped(error: &MigrateError) -> Failure {
    match error {
        MigrateError::Unreadable(_)
        | MigrateError::Changed(_)
        | MigrateError::Unknown(_)
        | MigrateError::Depends { .. } => Failure::usage(error.to_string()),
        MigrateError::Server(_)
        | MigrateError::Step { .. }
        | MigrateError::Busy
        | MigrateError::Locked(_)
        | MigrateError::Check { .. }
        | MigrateError::Differs { .. }
        | MigrateError::Nobodys { .. } => {
            eprintln!("{error}");
            Failure::Findings
        }
    }
}
