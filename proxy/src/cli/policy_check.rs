//! `pgwarden policy check`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use pgwarden_config::{File, LoadedPolicy, Problems, read_policy};
use pgwarden_policy::Engine;
use pgwarden_policy::engine::Limits;
use pgwarden_policy::rules::RequireRls;
use pgwarden_schema::Reading;

use crate::database::drift::{Told, missing};

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
        let reading = input::reading(dsn)?;
        lacking = show(&lacking_in(&loaded, reading)?)?;
    }
    output::write(&summary(&loaded, arguments.dsn.is_some()))?;
    let enforced = loaded.policy.defaults.require_rls == RequireRls::Enforce;
    if enforced && lacking > 0 {
        eprintln!("{}", count(lacking, "finding"));
        return Err(Failure::Findings);
    }
    Ok(())
}

/// What the database lacks of what the policy requires.
fn lacking_in(loaded: &LoadedPolicy, reading: Reading) -> Result<Vec<Told>, Failure> {
    let policy = Arc::clone(&loaded.policy);
    let required = policy.defaults.require_rls != RequireRls::Off;
    let catalog = Arc::new(reading.catalog);
    let guarantees = reading.guarantees.map_err(|error| {
        Failure::Connect(format!("the tables' own guards can't be read: {error}"))
    })?;
    let assessment = guarantees.under(&policy, &catalog);
    match Engine::doubting(policy, catalog, &assessment.doubted, Limits::default()) {
        Ok(engine) => Ok(missing(
            &engine,
            assessment.gaps.iter().filter(|_| required),
        )),
        Err(problems) => found(loaded.source.locate_all(&problems)),
    }
}

/// Shows what the database lacks; gives how much that is.
fn show(lacking: &[Told]) -> Result<usize, Failure> {
    for it in lacking {
        output::write(&format!("{}: {} ({})\n", it.object, it.why, it.code))?;
        if let Some(fix) = &it.fix {
            output::write(&format!("    {}\n", fix.replace('\n', "\n    ")))?;
        }
    }
    Ok(lacking.len())
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
