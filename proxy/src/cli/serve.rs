//! `pgwarden serve`.

use std::path::PathBuf;

use clap::Args;

use crate::server::{self, Inputs};

use super::Failure;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The settings; they name the policy
    #[arg(long, value_name = "FILE", default_value = "warden.toml")]
    config: PathBuf,
}

pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    Ok(server::serve(&move || Inputs::read(&arguments.config))?)
}
