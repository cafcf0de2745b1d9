//! Goes through all users, and looks at them once more when all is done.

use std::time::Instant;

use pgwarden_schema::migrate::Event;

use super::decision::{Claim, Decision};
use super::directory::{Changed, Directory};
use super::mapping::Mapping;
use super::report::Report;
use super::{Failure, Progress};

/// Rounds that set claims, at most: users come, go and shift pages meanwhile.
const ROUNDS: usize = 3;

/// So many changes that are refused in a row are no matter of single users.
const REFUSED_MAX: usize = 10;

/// How users are gone through.
pub(super) struct Walk<'a> {
    pub(super) claim: &'a Claim,
    pub(super) mapping: &'a Mapping,
    pub(super) apply: bool,
    pub(super) overwrite: bool,
    /// Users at once.
    pub(super) page: u16,
}

impl Walk<'_> {
    /// Sets what is to be set, until a look finds nothing; what the last look found is the report.
    pub(super) async fn run(
        &self,
        mut directory: Directory<'_>,
        progress: &mut Progress,
    ) -> Result<Report, Failure> {
        if !self.apply {
            return self.round(&mut directory, false, "looking", progress).await;
        }
        let (mut set, mut found) = (0, Report::default());
        for _ in 0..ROUNDS {
            let done = self
                .round(&mut directory, true, "setting", progress)
                .await?;
            set += done.set;
            found = self
                .round(&mut directory, false, "checking", progress)
                .await?;
            found.applied(set, &done);
            if found.open == 0 || done.is_stopped() {
                break;
            }
        }
        Ok(found)
    }

    async fn round(
        &self,
        directory: &mut Directory<'_>,
        apply: bool,
        title: &str,
        progress: &mut Progress,
    ) -> Result<Report, Failure> {
        eprintln!("{title}");
        directory.rewind();
        let (mut report, begun, mut refused) = (Report::default(), Instant::now(), 0);
        loop {
            let users = directory.page(self.page).await?;
            if users.is_empty() {
                break;
            }
            let mut changes = Vec::new();
            for user in &users {
                report.users += 1;
                match self.claim.decide(user, self.mapping, self.overwrite) {
                    Decision::Set(change) => changes.push(change),
                    decision => report.note(&user.id, decision),
                }
            }
            if apply && !changes.is_empty() {
                let outcomes = directory.change(&changes).await?;
                for (change, outcome) in changes.iter().zip(outcomes) {
                    refused = match &outcome {
                        Changed::Refused(_) => refused + 1,
                        Changed::Yes | Changed::Meanwhile => 0,
                    };
                    report.changed(&change.user, outcome);
                }
            } else {
                report.open += changes.len();
            }
            if refused >= REFUSED_MAX {
                report.stop();
                break;
            }
            progress.event(Event::Rows {
                done: count(report.users),
                estimate: directory.estimate().await?,
                rate: rate(report.users, begun),
            });
        }
        progress.event(Event::Done);
        Ok(report)
    }
}

fn count(users: usize) -> i64 {
    i64::try_from(users).unwrap_or(i64::MAX)
}

fn rate(users: usize, begun: Instant) -> i64 {
    let milliseconds = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
    count(users).saturating_mul(1000) / milliseconds.max(1)
}
