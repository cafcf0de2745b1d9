//! `pgwarden audit`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use pgwarden_config::read_suppressions;
use pgwarden_schema::audit::{Options, Report, Script, Suppression};

use super::{Failure, input, output};

mod sarif;
mod text;

#[derive(Debug, Args)]
#[command(after_help = "\
It reads only, in one transaction. Use a role that may read every table and is not bound by
row level security: what it can't count is told.

Exit status: 0 neither errors nor warnings; 1 some; 2 usage or configuration; 3 can't connect.")]
pub(super) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
    /// The policy that says which tables are scoped; without one it is guessed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Without a policy: the column that holds the tenant
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    tenant_column: Option<String>,
    /// The role that the proxy logs in with; without it those that log in and hold grants
    #[arg(long, value_name = "NAME")]
    proxy_role: Option<String>,
    /// Files of the application's SQL, whose relations and columns must exist
    #[arg(long, value_name = "FILE", num_args = 1..)]
    sql: Vec<PathBuf>,
    /// A file of accepted findings: [[suppress]] with key, reason and date
    #[arg(long, value_name = "FILE")]
    suppressions: Option<PathBuf>,
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
    let options = options(arguments)?;
    let report = input::on_server(&arguments.dsn, async |client| {
        pgwarden_schema::audit::audit(client, &options).await
    })?;
    show(&report, arguments.format)?;
    if report.is_fine() {
        Ok(())
    } else {
        Err(Failure::Findings)
    }
}

fn show(report: &Report, format: Format) -> Result<(), Failure> {
    match format {
        Format::Text => output::write(&text::render(report, output::is_coloured())),
        Format::Json => output::write_json(report),
        Format::Sarif => output::write_json(&sarif::render(report)),
    }
}

fn options(arguments: &Arguments) -> Result<Options, Failure> {
    let policy = arguments.policy.as_deref().map(input::policy).transpose()?;
    let scripts = match arguments.sql.as_slice() {
        [] => Vec::new(),
        files => input::files_or_stdin(files)?,
    };
    let suppressions = match &arguments.suppressions {
        Some(path) => read_suppressions(path)?,
        None => Vec::new(),
    };
    Ok(Options {
        policy: policy.map(|loaded| Arc::clone(&loaded.policy)),
        tenant_column: arguments.tenant_column.clone(),
        proxy_role: arguments.proxy_role.clone(),
        scripts: scripts
            .into_iter()
            .map(|(name, text)| Script { name, text })
            .collect(),
        suppressions: suppressions
            .into_iter()
            .map(|it| Suppression {
                key: it.key,
                reason: it.reason,
                date: it.date,
            })
            .collect(),
        ..Options::default()
    })
}
