//! `pgwarden migrate plan`.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use pgwarden_config::load_migration;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_schema::audit::Script;
use pgwarden_schema::migrate::{PlanOptions, plan};

use super::{Failure, folder, input, output};

#[derive(Debug, Args)]
#[command(after_help = "\
It reads only. The files say what is done, by which locks, on how many rows, and how to undo it;
they are all that `migrate apply` runs.")]
pub(crate) struct Arguments {
    /// The database: postgres://user@host:5432/database (the password also from PGPASSWORD)
    #[arg(long, value_name = "URL")]
    dsn: String,
    /// The policy that says which tables are scoped; without one it is guessed
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Without a policy: the column that will hold the tenant
    #[arg(long, value_name = "NAME", conflicts_with = "policy")]
    tenant_column: Option<String>,
    /// Where rows get their tenant from: users' tenants, parents, exceptions
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Files of the application's SQL: what it looks rows up by gets indexes with the tenant in front
    #[arg(long, value_name = "FILE", num_args = 1..)]
    sql: Vec<PathBuf>,
    /// The folder for the files
    #[arg(long, value_name = "FOLDER", default_value = "migration")]
    plan: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let policy = arguments.policy.as_deref().map(input::policy).transpose()?;
    let mapping = arguments
        .mapping
        .as_deref()
        .map(load_migration)
        .transpose()?;
    let scripts = match arguments.sql.as_slice() {
        [] => Vec::new(),
        files => input::files_or_stdin(files)?,
    };
    let scripts = scripts.into_iter();
    let options = PlanOptions {
        scripts: scripts.map(|(name, text)| Script { name, text }).collect(),
        policy: policy.map(|loaded| Arc::clone(&loaded.policy)),
        tenant_column: arguments.tenant_column.clone(),
        migration: mapping
            .as_ref()
            .map(|it| it.migration.clone())
            .unwrap_or_default(),
    };
    let planned = input::on_server(&arguments.dsn, async |client| plan(client, &options).await)?;
    let planned = planned.map_err(|problems| {
        let source = mapping.as_ref().map(|it| &it.source);
        let (named, others): (Vec<_>, Vec<_>) = problems
            .into_iter()
            .partition(|it| source.is_some_and(|source| source.names(it)));
        match source.filter(|_| others.is_empty()) {
            Some(source) => Failure::from(source.locate_all(&named)),
            // What no line of the mapping is about is no mistake in it.
            None => Failure::usage(listed(&[others, named].concat())),
        }
    })?;
    folder::write(&arguments.plan, &planned.files)?;
    let mut text = String::new();
    for note in &planned.notes {
        output::wrap(&mut text, 0, &format!("note: {note}"));
    }
    text += &match planned.files.len() {
        0 => "nothing to do\n".to_owned(),
        steps => format!("{steps} steps in {}\n", arguments.plan.display()),
    };
    output::write(&text)
}

fn listed(problems: &[BindingProblem]) -> String {
    let lines = problems
        .iter()
        .map(|it| format!("{}: {}\n", it.object, it.message));
    lines.collect()
}
