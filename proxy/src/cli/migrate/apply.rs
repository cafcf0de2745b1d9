//! `pgwarden migrate apply`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use pgwarden_config::parse_duration;
use pgwarden_schema::migrate::{ApplyOptions, Phase, apply};

use super::progress::Progress;
use super::{Failure, folder, input, stopped};

#[derive(Debug, Args)]
#[command(after_help = "\
It can be killed at any moment, and goes on where it was when it is run again. After `enforce`
sessions without claims see nothing; `contract` is only run when it is asked for: from then on
writers must give the tenant themselves, or go through pgwarden.

Exit status: 0 all done; 1 it stopped; 2 usage or configuration; 3 can't connect.")]
pub(crate) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
    /// The folder with the files
    #[arg(long, value_name = "FOLDER", default_value = "migration")]
    plan: PathBuf,
    /// The last phase: expand, backfill, constrain, enforce or contract
    #[arg(long, value_name = "PHASE", default_value = "enforce")]
    through: Phase,
    /// How long a lock is waited for, before others are let through
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "500ms")]
    lock_timeout: Duration,
    /// Backfills wait while replicas are further behind
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "10s")]
    lag_max: Duration,
    /// Backfills wait while more other sessions are at work on the server
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    active_max: u32,
    /// Backfills rest so long after each batch
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "0s")]
    pause: Duration,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let files = folder::read(&arguments.plan)?;
    let options = ApplyOptions {
        through: arguments.through,
        lock_timeout: arguments.lock_timeout,
        lag_max: arguments.lag_max,
        active_max: arguments.active_max,
        pause: arguments.pause,
        ..ApplyOptions::default()
    };
    let applied = input::on_server(&arguments.dsn, async |client| {
        let mut progress = Progress::new();
        Ok(apply(client, &files, &options, &mut |event| progress.event(event)).await)
    })?;
    applied.map_err(|error| stopped(&error))
}
