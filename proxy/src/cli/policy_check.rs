//! `pgwarden policy check`.

use std::path::PathBuf;

use clap::Args;
use pgwarden_config::{File, LoadedPolicy, Problems, read_policy};

use super::{Failure, input, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    /// A live database to compare it with: postgres://user@host:5432/database
    #[arg(long, value_name = "URL")]
    dsn: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    // A file that can't be read is a wrong argument; what is wrong in it is a finding.
    let file = File::read(&arguments.policy)?;
    let loaded = read_policy(&file).or_else(found)?;
    if let Some(dsn) = &arguments.dsn {
        let catalog = input::from_server(dsn)?;
        bind(&loaded, catalog)?;
    }
    output::write(&summary(&loaded, arguments.dsn.is_some()))
}

fn bind(loaded: &LoadedPolicy, catalog: pgwarden_policy::Catalog) -> Result<(), Failure> {
    let limits = pgwarden_policy::engine::Limits::default();
    let policy = std::sync::Arc::clone(&loaded.policy);
    match pgwarden_policy::Engine::new(policy, std::sync::Arc::new(catalog), limits) {
        Ok(_) => Ok(()),
        Err(problems) => found(loaded.source.locate_all(&problems)),
    }
}

fn found<T>(problems: Problems) -> Result<T, Failure> {
    output::write(&problems.to_string())?;
    eprintln!("{} in the policy", count(problems.0.len(), "problem"));
    Err(Failure::Findings)
}

fn summary(loaded: &LoadedPolicy, with_database: bool) -> String {
    let policy = &loaded.policy;
    let fits = if with_database {
        " and fits the database"
    } else {
        ""
    };
    format!(
        "{} is valid{fits} (revision {}: {}, {}, {})\n",
        loaded.source.name(),
        policy.revision,
        count(policy.tables.len(), "table"),
        count(policy.roles.len(), "role"),
        count(policy.tests.len(), "test"),
    )
}

fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}
