//! `pgwarden policy test`.

use std::path::PathBuf;

use clap::Args;
use pgwarden_policy::Engine;
use pgwarden_policy::rules::{Expect, PolicyTest};

use super::explain::Explanation;
use super::input::{self, CatalogSource};
use super::question::{self, Asker};
use super::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    #[command(flatten)]
    catalog: CatalogSource,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = input::policy(&arguments.policy)?;
    let engine = input::engine(&loaded, arguments.catalog.read()?)?;
    let mut report = String::new();
    let mut failed = 0_usize;
    for test in &loaded.policy.tests {
        match failure(&engine, test)? {
            None => report.push_str(&format!("ok      {}\n", test.name)),
            Some(why) => {
                failed += 1;
                report.push_str(&format!("FAILED  {}: {why}\n", test.name));
            }
        }
    }
    let count = loaded.policy.tests.len();
    report.push_str(&format!("{} of {count} passed\n", count - failed));
    output::write(&report)?;
    match failed {
        0 => Ok(()),
        _ => Err(Failure::Findings),
    }
}

/// Why a case fails, if it does.
fn failure(engine: &Engine, test: &PolicyTest) -> Result<Option<String>, Failure> {
    let claims = question::claims(&test.claims)?;
    let mut asker = Asker::new(engine, &claims, &["public".to_owned()]);
    let explanation = asker.ask(&test.sql, question::protocol_of(&test.sql));
    let expected = match test.expect {
        Expect::Pass => "pass",
        Expect::Rewrite => "rewrite",
        Expect::Deny => "deny",
    };
    if explanation.verdict() == expected {
        return Ok(None);
    }
    let because = match &explanation {
        Explanation::Denied(denied) => format!(" ({}: {})", denied.reason, denied.message),
        Explanation::Cleared(_) => String::new(),
    };
    let verdict = explanation.verdict();
    Ok(Some(format!(
        "expected {expected}, the verdict is {verdict}{because}"
    )))
}
