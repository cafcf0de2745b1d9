//! `pgwarden orgs`: work that is done for each organisation by itself, in a session that is the
//! organisation's own, instead of by a service role that sees all of them at once.

use clap::Subcommand;

use super::{Failure, input, output, signing};

mod command;
mod progress;
mod report;
mod run;
mod runner;
mod script;
mod selection;
mod session;
mod tokens;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a file of SQL, or a command, once for each active organisation.
    Run(Box<run::Arguments>),
}

pub(super) fn run(command: &Command) -> Result<(), Failure> {
    match command {
        Command::Run(arguments) => run::run(arguments),
    }
}
