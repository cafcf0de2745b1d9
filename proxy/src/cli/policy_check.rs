//! `pgwarden policy check`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use pgwarden_config::{File, LoadedPolicy, Problems, read_policy};
use pgwarden_policy::engine::Limits;
use pgwarden_policy::rules::RequireRls;
use pgwarden_policy::{Catalog, Engine};

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
    let mut lacking = 0;
    if let Some(dsn) = &arguments.dsn {
        let catalog = input::from_server(dsn)?;
        lacking = show_findings(&bind(&loaded, catalog)?)?;
    }
    output::write(&summary(&loaded, arguments.dsn.is_some()))?;
    let enforced = loaded.policy.defaults.require_rls == RequireRls::Enforce;
    if enforced && lacking > 0 {
        eprintln!("{} denied", count(lacking, "relation"));
        return Err(Failure::Findings);
    }
    Ok(())
}

/// Shows what the database lacks; gives how many relations that are.
fn show_findings(engine: &Engine) -> Result<usize, Failure> {
    for finding in engine.findings() {
        let what = finding.code.describe();
        output::write(&format!("{}: {what}\n", finding.object))?;
    }
    Ok(engine.findings().len())
}

fn bind(loaded: &LoadedPolicy, catalog: Catalog) -> Result<Engine, Failure> {
    let policy = Arc::clone(&loaded.policy);
    match Engine::new(policy, Arc::new(catalog), Limits::default()) {
        Ok(engine) => Ok(engine),
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
