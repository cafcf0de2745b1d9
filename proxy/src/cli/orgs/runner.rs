//! Runs the job of each organisation, so many at once, until all are done or one has failed.
//!
//! A job has its own token and its own session, and what becomes of it changes nothing for the
//! others but whether they are begun.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgwarden_schema::organisations::Organisation;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Failure;
use super::command::Process;
use super::progress::Progress;
use super::report::{Kept, Outcome, Record, Report};
use super::run::Kind;
use super::script::Script;
use super::session::{Door, Session};
use super::tokens::Tokens;

/// How they are run.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// How many at once.
    pub(super) jobs: usize,
    /// How long each may take.
    pub(super) timeout: Option<Duration>,
    /// Whether others are begun after one has failed.
    pub(super) keep_going: bool,
}

/// What is run, and how it gets in.
#[derive(Debug, Clone)]
pub(super) struct Job(Arc<Means>);

#[derive(Debug)]
struct Means {
    kind: Kind,
    door: Door,
    tokens: Tokens,
}

/// What came of one job.
type Done = Result<Option<u64>, Undone>;

/// Why a job is not done.
enum Undone {
    Failed(String),
    TimedOut,
    Interrupted,
}

/// Runs all. What is left when it stops stays open in the report.
pub(super) async fn run_all(
    mut kept: Kept,
    rules: &Rules,
    job: Job,
    mut interrupted: watch::Receiver<bool>,
    progress: &mut Progress,
) -> Result<Report, Failure> {
    let mut waiting = kept.report().organisations().into_iter().enumerate();
    let mut running = JoinSet::new();
    let mut stopped = false;
    loop {
        while !stopped && running.len() < rules.jobs {
            let Some((at, organisation)) = waiting.next() else {
                break;
            };
            let (job, timeout, interrupted) = (job.clone(), rules.timeout, interrupted.clone());
            running
                .spawn(async move { (at, job.record(organisation, timeout, interrupted).await) });
        }
        tokio::select! {
            joined = running.join_next() => match joined {
                None => break,
                Some(Err(error)) => return Err(Failure::Internal(format!("a job is lost: {error}"))),
                Some(Ok((at, record))) => {
                    stopped |= record.outcome != Outcome::Done && !rules.keep_going;
                    progress.done(&record);
                    kept.record(at, record)?;
                }
            },
            _ = interrupted.wait_for(|it| *it), if !stopped => stopped = true,
        }
    }
    progress.end();
    kept.finish()
}

impl Job {
    pub(super) fn new(kind: Kind, door: Door, tokens: Tokens) -> Self {
        Self(Arc::new(Means { kind, door, tokens }))
    }

    async fn record(
        &self,
        organisation: Organisation,
        timeout: Option<Duration>,
        interrupted: watch::Receiver<bool>,
    ) -> Record {
        let begun = Instant::now();
        let end = pin!(end(timeout, interrupted));
        let done = self.0.run(&organisation, end).await;
        let (outcome, rows, error) = match done {
            Ok(rows) => (Outcome::Done, rows, None),
            Err(Undone::Failed(why)) => (Outcome::Failed, None, Some(why)),
            Err(Undone::TimedOut) => (Outcome::TimedOut, None, None),
            Err(Undone::Interrupted) => (Outcome::Interrupted, None, None),
        };
        Record {
            org: organisation.id,
            name: organisation.name,
            outcome,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).ok(),
            rows,
            error,
        }
    }
}

/// Resolves when the job must end.
async fn end(timeout: Option<Duration>, mut interrupted: watch::Receiver<bool>) -> Undone {
    let expired = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = expired => Undone::TimedOut,
        Ok(_) = interrupted.wait_for(|it| *it) => Undone::Interrupted,
    }
}

impl Means {
    async fn run(
        &self,
        organisation: &Organisation,
        mut end: Pin<&mut impl Future<Output = Undone>>,
    ) -> Done {
        let token = tokio::select! {
            token = self.tokens.of(organisation) => token.map_err(Undone::Failed)?,
            undone = end.as_mut() => return Err(undone),
        };
        match &self.kind {
            Kind::Sql(script) => {
                let session = tokio::select! {
                    session = self.door.open(&token) => session.map_err(Undone::Failed)?,
                    undone = end.as_mut() => return Err(undone),
                };
                run_script(script, session, end).await
            }
            Kind::Each(shell) => {
                let variables = self.door.variables(&token);
                let process = shell.start(&organisation.id, &token, variables);
                run_command(process.map_err(Undone::Failed)?, end).await
            }
        }
    }
}

async fn run_script(
    script: &Script,
    session: Session,
    end: Pin<&mut impl Future<Output = Undone>>,
) -> Done {
    let done = tokio::select! {
        rows = script.run(&session.client) => rows.map(Some).map_err(Undone::Failed),
        undone = end => Err(undone),
    };
    if let Err(Undone::TimedOut | Undone::Interrupted) = done {
        session.cancel().await;
    }
    done
}

async fn run_command(mut process: Process, end: Pin<&mut impl Future<Output = Undone>>) -> Done {
    let done = tokio::select! {
        done = process.wait() => done.map(|()| None).map_err(Undone::Failed),
        undone = end => Err(undone),
    };
    if let Err(Undone::TimedOut | Undone::Interrupted) = done {
        process.end().await;
    }
    done
}
