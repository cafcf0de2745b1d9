//! `pgwarden orgs run`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{ArgGroup, Args, ValueEnum};
use pgwarden_config::settings::KeyMaterial;
use pgwarden_config::{Settings, parse_duration};
use pgwarden_policy::Policy;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::command::Shell;
use super::progress::Progress;
use super::report::{Kept, Report};
use super::runner::{Job, Rules, run_all};
use super::script::Script;
use super::selection::Selection;
use super::session::Door;
use super::tokens::{TokenArguments, Tokens};
use super::{Failure, input, output};
use crate::server::{self, Inputs};

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("job").required(true), after_help = "\
Each organisation gets a connection and a token of its own: its job sees and writes its rows, and no
others. A command finds both in its environment, as DATABASE_URL and as libpq's PGHOST, PGPORT, PGUSER,
PGPASSWORD, PGDATABASE and PGSSLMODE, and the organisation in PGWARDEN_ORG_ID; the key that signs
tokens is not in it. What it prints goes to standard error, line by line, behind the organisation.

Exit status: 0 all done; 1 some failed or were left; 2 usage or configuration; 3 can't connect.")]
pub(crate) struct Arguments {
    /// A file of SQL, run in one transaction for each organisation
    #[arg(long, value_name = "FILE", group = "job")]
    sql: Option<PathBuf>,
    /// A command of the shell, run once for each organisation
    #[arg(long, value_name = "COMMAND", group = "job")]
    each: Option<String>,
    /// Run the statements of --sql one by one, each in a transaction of its own
    #[arg(long, requires = "sql")]
    no_transaction: bool,
    /// The proxy's settings: they say where it listens, what signs tokens, which policy holds
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The policy, where there is no --config
    #[arg(
        long,
        value_name = "FILE",
        default_value = "policy.toml",
        conflicts_with = "config"
    )]
    policy: PathBuf,
    /// The proxy: postgres://user@host:6432/database; without it the first address of --config
    #[arg(long, value_name = "URL", required_unless_present = "config")]
    proxy: Option<String>,
    /// The database that clients ask for, where --config has several
    #[arg(long, value_name = "NAME", conflicts_with = "proxy")]
    database: Option<String>,
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    tokens: TokenArguments,
    /// How many organisations at once
    #[arg(long, value_name = "NUMBER", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,
    /// How long each may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Go on when one fails; without it no others are begun
    #[arg(long)]
    keep_going: bool,
    /// Show for whom it would be run, and run nothing
    #[arg(long)]
    dry_run: bool,
    /// Keep what came of each in this file, for --only-failed
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What the proxy goes by, as far as it is known.
struct Ground {
    settings: Option<Settings>,
    policy: Arc<Policy>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let ground = arguments.ground()?;
    let settings = ground.settings.as_ref();
    let mut job = arguments.job()?;
    let tokens = Tokens::new(
        &arguments.tokens,
        settings,
        &ground.policy,
        arguments.timeout,
    )?;
    if let Kind::Each(shell) = &mut job {
        shell.conceal(&arguments.secrets(settings, &tokens));
    }
    let door = match (&arguments.proxy, settings) {
        (Some(url), _) => Door::of_url(url)?,
        (None, Some(settings)) => Door::of_settings(settings, arguments.database.as_deref())?,
        (None, None) => return Err(Failure::usage("give --proxy or --config")),
    };
    let database = door.database();
    let organisations = arguments
        .selection
        .organisations(settings, database, &ground.policy)?;
    if arguments.dry_run {
        return show(arguments.format, &Report::planned(organisations));
    }
    let kept = Kept::new(arguments.report.clone(), Report::planned(organisations))?;
    let rules = Rules {
        jobs: usize::from(arguments.jobs),
        timeout: arguments.timeout,
        keep_going: arguments.keep_going,
    };
    let runtime = server::runtime(1)
        .map_err(|error| Failure::Internal(format!("can't start the runtime: {error}")))?;
    let begun = Instant::now();
    let report = runtime.block_on(async {
        let interrupted = interruption()?;
        let mut progress = Progress::new(kept.report().len(), begun);
        run_all(
            kept,
            &rules,
            Job::new(job, door, tokens),
            interrupted,
            &mut progress,
        )
        .await
    })?;
    show(arguments.format, &report)?;
    match report.is_done() {
        true => Ok(()),
        false => Err(Failure::Findings),
    }
}

fn show(format: Format, report: &Report) -> Result<(), Failure> {
    match format {
        Format::Text => output::write(&report.text()),
        Format::Json => output::write_json(report),
    }
}

/// Turns true at the first INT or TERM.
fn interruption() -> Result<watch::Receiver<bool>, Failure> {
    let failed = |error: std::io::Error| Failure::Internal(format!("no signals: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let (told, interrupted) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        told.send_replace(true);
        // The channel stays open for as long as somebody listens.
        told.closed().await;
    });
    Ok(interrupted)
}

impl Arguments {
    fn ground(&self) -> Result<Ground, Failure> {
        match &self.config {
            Some(path) => {
                let inputs = Inputs::read(path).map_err(Failure::Usage)?;
                Ok(Ground {
                    settings: Some(inputs.settings),
                    policy: inputs.policy.policy,
                })
            }
            None => Ok(Ground {
                settings: None,
                policy: input::policy(&self.policy)?.policy,
            }),
        }
    }

    /// What a command must not find in its environment: it would be more than its organisation.
    fn secrets(&self, settings: Option<&Settings>, tokens: &Tokens) -> Vec<String> {
        let mut secrets: Vec<String> = tokens.secret().map(str::to_owned).into_iter().collect();
        secrets.extend(self.selection.dsn().map(str::to_owned));
        if let Some(settings) = settings {
            let logins = settings
                .databases
                .iter()
                .filter_map(|(_, it)| it.password.as_ref());
            let keys = settings
                .auth
                .keys
                .iter()
                .filter_map(|it| match &it.material {
                    KeyMaterial::Secret(secret) => Some(secret),
                    KeyMaterial::PublicKeyPem(_) => None,
                });
            secrets.extend(logins.chain(keys).map(|it| it.expose().to_owned()));
        }
        secrets
    }

    fn job(&self) -> Result<Kind, Failure> {
        match (&self.sql, &self.each) {
            (Some(path), _) => Ok(Kind::Sql(Script::read(path, !self.no_transaction)?)),
            (None, Some(command)) => Ok(Kind::Each(Shell::new(command))),
            (None, None) => Err(Failure::usage("give --sql or --each")),
        }
    }
}

/// What is done for each organisation.
#[derive(Debug)]
pub(super) enum Kind {
    /// SQL is run.
    Sql(Script),
    /// A command is run.
    Each(Shell),
}
