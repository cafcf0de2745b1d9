//! `pgwarden catalog`: the snapshot that offline commands read (docs/catalog.md).

use clap::Args;

use super::{Failure, input, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let catalog = input::from_server(&arguments.dsn)?;
    let text = pgwarden_schema::write_snapshot(&catalog)
        .map_err(|error| Failure::Internal(format!("can't write the catalogue: {error}")))?;
    output::write(&text)
}
