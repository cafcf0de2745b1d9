//! `pgwarden check`: what would become of every statement in files of SQL. Sends nothing, needs no
//! database, and judges with the function that judges sessions: for CI.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pgwarden_policy::Engine;
use pgwarden_policy::script::{self, PartKind};

use super::explain::Explanation;
use super::input::{self, CatalogSource};
use super::place::{self, Lines};
use super::question::{self, Asker};
use super::{Failure, output};

mod report;
mod sarif;
mod text;

use report::{Entry, NotSql, Outcome, Report};

#[derive(Debug, Args)]
#[command(after_help = "\
Each statement is judged by itself, in the given search_path: SET search_path and
temporary tables in a file do not change what comes after them.

Exit status: 0 everything would be let through; 1 something would not, or is not
SQL; 2 usage or configuration; 3 can't connect.")]
pub(super) struct Arguments {
    /// Files of SQL; - or none is standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
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
    /// Show every statement, not only what is refused
    #[arg(long)]
    all: bool,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = input::policy(&arguments.policy)?;
    let engine = input::engine(&loaded, arguments.catalog.read(&arguments.policy)?)?;
    let claims = match &arguments.claims {
        Some(text) => question::claims(text)?,
        None => question::made_up_claims(&engine),
    };
    let mut asker = Asker::new(&engine, &claims, &arguments.search_path);
    let report = judge(&engine, &mut asker, &arguments.files)?;
    match arguments.format {
        Format::Text => output::write(&text::render(&report, arguments.all))?,
        Format::Json => output::write_json(&report)?,
        Format::Sarif => output::write_json(&sarif::render(&report))?,
    }
    if report.summary.is_fine() {
        Ok(())
    } else {
        Err(Failure::Findings)
    }
}

fn judge(engine: &Engine, asker: &mut Asker<'_>, files: &[PathBuf]) -> Result<Report, Failure> {
    let mut report = Report::new(engine.policy().revision.clone());
    for (name, text) in input::files_or_stdin(files)? {
        report.add_file();
        judge_text(asker, &name, &text, &mut report);
    }
    Ok(report)
}

fn judge_text(asker: &mut Asker<'_>, file: &str, text: &str, report: &mut Report) {
    let lines = Lines::of(text);
    for part in script::split(text) {
        let sql = text.get(part.range.clone()).unwrap_or_default();
        let (outcome, offset) = match part.kind {
            PartKind::CopyData => continue,
            PartKind::MetaCommand => (Outcome::NotSql(NotSql::new(sql)), 0),
            PartKind::Statement => {
                let answer = asker.ask(sql, question::protocol_of(sql));
                let offset = answer.position().map_or(0, |at| place::bytes(sql, at));
                (Outcome::Judged(Box::new(answer)), offset)
            }
        };
        report.add(Entry {
            file: file.to_owned(),
            place: lines.place(part.range.clone(), part.range.start + offset),
            outcome,
        });
    }
}
