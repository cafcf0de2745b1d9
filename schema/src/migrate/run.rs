//! Runs the files of a plan, and can be killed at any moment: a step and its record are one
//! transaction, a backfill's batch and its key are, and what can't be in a transaction (an index
//! that is made concurrently) is looked for before it is made.

use std::time::Duration;

use tokio_postgres::Client;

use super::batches;
use super::error::MigrateError;
use super::file::{Run, StepFile};
use super::index;
use super::phase::Phase;
use super::script::{self, Script};
use super::state::{self, Record};

/// How it is run.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// The last phase.
    pub through: Phase,
    /// How long a lock is waited for, in one attempt: others wait behind it. Never as long as the
    /// server's deadlock_timeout, or the application could be a deadlock's victim.
    pub lock_timeout: Duration,
    /// How often a lock is tried for.
    pub attempts: u32,
    /// A backfill waits while replicas are further behind.
    pub lag_max: Duration,
    /// A backfill waits while more other sessions are at work.
    pub active_max: u32,
    /// A backfill rests so long after each batch.
    pub pause: Duration,
    /// How long another run's end is waited for; a killed run's server process may take a moment.
    pub busy_timeout: Duration,
}

impl Default for ApplyOptions {
    fn default() -> Self {
        Self {
            through: Phase::Enforce,
            lock_timeout: Duration::from_millis(500),
            attempts: 60,
            lag_max: Duration::from_secs(10),
            active_max: 50,
            pause: Duration::ZERO,
            busy_timeout: Duration::from_secs(10),
        }
    }
}

/// What happens, for people who watch.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A step begins.
    Begin {
        /// Its number, from 1.
        number: usize,
        /// The number of all.
        of: usize,
        /// Its file.
        name: &'a str,
        /// What it does.
        title: &'a str,
    },
    /// A backfill has come so far.
    Rows {
        /// Rows done, in all runs.
        done: i64,
        /// All rows, as the planner estimates.
        estimate: i64,
        /// Rows in a second, in this run.
        rate: i64,
    },
    /// Something is waited for.
    Waiting(&'a str),
    /// The step is done.
    Done,
}

/// Who is told.
pub type Watcher<'a> = &'a mut (dyn FnMut(Event<'_>) + Send);

/// How long to rest between attempts, at most.
const REST_MAX: Duration = Duration::from_secs(5);

/// Runs the steps that were not run yet, through a phase.
///
/// # Errors
/// When a file is not a step, another run goes on, the server refuses a step, or a check fails.
/// Running it again goes on where it stopped.
pub async fn apply(
    client: &Client,
    files: &[StepFile],
    options: &ApplyOptions,
    watcher: Watcher<'_>,
) -> Result<(), MigrateError> {
    let scripts = script::read(files).map_err(MigrateError::Unreadable)?;
    begin(client, options, watcher).await?;
    state::prepare(client).await?;
    let records = state::records(client).await?;
    known(&scripts, &records)?;
    let of = scripts.len();
    for (at, script) in scripts.iter().enumerate() {
        let record = records.get(&script.name);
        if script.phase > options.through || record.is_some_and(|it| it.done) {
            continue;
        }
        let (name, title) = (&script.name, &script.title);
        watcher(Event::Begin {
            number: at + 1,
            of,
            name,
            title,
        });
        let runner = Runner { client, options };
        let ran = runner.run(script, record, watcher).await;
        ran.map_err(|error| error.at(script))?;
        watcher(Event::Done);
    }
    Ok(())
}

/// Makes the session ready, and takes the lock.
pub(super) async fn begin(
    client: &Client,
    options: &ApplyOptions,
    watcher: Watcher<'_>,
) -> Result<(), MigrateError> {
    // Rows that row level security would hide must be an error, not forgotten.
    client
        .batch_execute(&format!(
            "SET application_name = 'pgwarden migrate'; SET row_security = off; \
             SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; {}",
            lock_timeout(options)
        ))
        .await?;
    // A run that was killed must not go on alone (PostgreSQL 14 and later know the setting).
    let alone = "SELECT pg_catalog.set_config(name, '1s', false) FROM pg_catalog.pg_settings
                 WHERE name = 'client_connection_check_interval'";
    client.query(alone, &[]).await?;
    let mut waited = Duration::ZERO;
    let step = Duration::from_millis(200);
    while !state::lock(client).await? {
        if waited >= options.busy_timeout {
            return Err(MigrateError::Busy);
        }
        watcher(Event::Waiting("another run has the lock"));
        tokio::time::sleep(step).await;
        waited += step;
    }
    Ok(())
}

/// Sets how long locks are waited for: less than a deadlock is looked for, so that it is this
/// session that gives up, and never the application's that is ended.
pub(super) fn lock_timeout(options: &ApplyOptions) -> String {
    format!(
        "SELECT pg_catalog.set_config('lock_timeout', least({}, setting::int8 * 3 / 4)::text, false)
         FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'",
        options.lock_timeout.as_millis().max(1)
    )
}

/// Whether what was run is what the plan holds.
pub(super) fn known(
    scripts: &[Script],
    records: &std::collections::HashMap<String, Record>,
) -> Result<(), MigrateError> {
    let mut names: Vec<&String> = records.keys().collect();
    names.sort();
    for name in names {
        let script = scripts.iter().find(|it| it.name == *name);
        let script = script.ok_or_else(|| MigrateError::Unknown(name.clone()))?;
        let same = records
            .get(name)
            .is_some_and(|it| it.digest == script.digest);
        if !same {
            return Err(MigrateError::Changed(name.clone()));
        }
    }
    Ok(())
}

/// What steps are run with.
#[derive(Clone, Copy)]
pub(super) struct Runner<'a> {
    pub(super) client: &'a Client,
    pub(super) options: &'a ApplyOptions,
}

impl Runner<'_> {
    async fn run(
        self,
        script: &Script,
        record: Option<&Record>,
        watcher: Watcher<'_>,
    ) -> Result<(), MigrateError> {
        match &script.run {
            Run::Transaction => {
                self.again(&script.name, watcher, async || {
                    self.transaction(script).await
                })
                .await
            }
            Run::Concurrently { index } => {
                let begun = record.is_some();
                index::run(self, script, index, begun, watcher).await
            }
            Run::Batches { table, rows, hold } => {
                let batches = batches::Batches::new(table, *rows, hold);
                batches.run(self, script, record, watcher).await
            }
        }
    }

    /// A step that is done in one transaction, checks included.
    async fn transaction(self, script: &Script) -> Result<(), MigrateError> {
        self.within(async || {
            self.client.batch_execute(&script.up).await?;
            self.verify(script).await?;
            state::record(self.client, script, true).await
        })
        .await
    }

    /// Does something in a transaction, which ends with it.
    pub(super) async fn within<T>(
        self,
        act: impl AsyncFnOnce() -> Result<T, MigrateError>,
    ) -> Result<T, MigrateError> {
        self.client.batch_execute("BEGIN").await?;
        let acted = act().await;
        let end = if acted.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended = self.client.batch_execute(end).await;
        let value = acted?;
        ended?;
        Ok(value)
    }

    /// Runs the checks: each gives 0.
    pub(super) async fn verify(self, script: &Script) -> Result<(), MigrateError> {
        for query in &script.verify {
            let found = self.count(query).await?;
            if found != 0 {
                return Err(MigrateError::Check {
                    name: script.name.clone(),
                    query: query.clone(),
                    found,
                });
            }
        }
        Ok(())
    }

    pub(super) async fn count(self, query: &str) -> Result<i64, MigrateError> {
        Ok(self.client.query_one(query, &[]).await?.try_get(0)?)
    }

    /// Tries until the locks can be had.
    pub(super) async fn again<T>(
        self,
        name: &str,
        watcher: Watcher<'_>,
        mut attempt: impl AsyncFnMut() -> Result<T, MigrateError>,
    ) -> Result<T, MigrateError> {
        let mut rest = Duration::from_millis(100);
        for _ in 0..self.options.attempts.max(1) {
            match attempt().await {
                Err(error) if error.is_passing() => {
                    watcher(Event::Waiting("others have the lock"));
                    tokio::time::sleep(rest).await;
                    rest = (rest * 2).min(REST_MAX);
                }
                other => return other,
            }
        }
        Err(MigrateError::Locked(name.to_owned()))
    }
}
