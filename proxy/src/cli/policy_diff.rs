//! `pgwarden policy diff`: which verdicts on given statements change when a policy takes the place
//! of another. Asked before a reload, of the statements that an application is known to send.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use pgwarden_policy::script::{self, PartKind};
use pgwarden_policy::{Catalog, Engine};
use serde_json::{Map, Value};

use super::input::{self, CatalogSource};
use super::place::Lines;
use super::question::{self, Asker};
use super::{Failure, output};

mod report;

use report::{Change, Report};

#[derive(Debug, Args)]
#[command(after_help = "\
A statement is loosened when more of it goes through (deny, rewrite, pass, in this
order), tightened when less does, and altered when the verdict stays and the reason
or the rewritten statement does not.

Exit status: 0 nothing changes; 1 something does; 2 usage or configuration; 3 can't
connect.")]
pub(super) struct Arguments {
    /// The policy in force
    #[arg(value_name = "OLD")]
    old: PathBuf,
    /// The policy that is to take its place
    #[arg(value_name = "NEW")]
    new: PathBuf,
    /// Files of SQL; - or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    catalog: CatalogSource,
    /// The token's claims, as JSON; by default those of a tenant that does not exist
    #[arg(long, value_name = "JSON")]
    claims: Option<String>,
    /// The session's search_path, separated by commas
    #[arg(
        long,
        value_name = "SCHEMAS",
        value_delimiter = ',',
        default_value = "public"
    )]
    search_path: Vec<String>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let claims = match &arguments.claims {
        Some(text) => Some(question::claims(text)?),
        None => None,
    };
    let catalog = arguments.catalog.read(&arguments.new)?;
    let old = engine(&arguments.old, &catalog)?;
    let new = engine(&arguments.new, &catalog)?;
    let mut pair = Pair {
        old: asker(&old, claims.as_ref(), &arguments.search_path),
        new: asker(&new, claims.as_ref(), &arguments.search_path),
    };
    let mut report = Report::new(&old.policy().revision, &new.policy().revision);
    for (name, text) in input::files_or_stdin(&arguments.files)? {
        pair.compare(&name, &text, &mut report);
    }
    match arguments.format {
        Format::Text => output::write(&report.text())?,
        Format::Json => output::write_json(&report)?,
    }
    if report.is_empty() {
        Ok(())
    } else {
        Err(Failure::Findings)
    }
}

fn engine(path: &Path, catalog: &Arc<Catalog>) -> Result<Engine, Failure> {
    input::engine(&input::policy(path)?, Arc::clone(catalog))
}

fn asker<'a>(
    engine: &'a Engine,
    claims: Option<&Map<String, Value>>,
    search_path: &[String],
) -> Asker<'a> {
    match claims {
        Some(claims) => Asker::new(engine, claims, search_path),
        None => Asker::new(engine, &question::made_up_claims(engine), search_path),
    }
}

/// The same session under either policy.
struct Pair<'a> {
    old: Asker<'a>,
    new: Asker<'a>,
}

impl Pair<'_> {
    fn compare(&mut self, file: &str, text: &str, report: &mut Report) {
        let lines = Lines::of(text);
        for part in script::split(text) {
            if part.kind != PartKind::Statement {
                continue;
            }
            let sql = text.get(part.range.clone()).unwrap_or_default();
            let protocol = question::protocol_of(sql);
            let old = self.old.ask(sql, protocol);
            let new = self.new.ask(sql, protocol);
            let place = lines.place(part.range.clone(), part.range.start);
            report.add(Change::between(file, place.line, sql, old, new));
        }
    }
}
