//! What metrics and the audit trail learn of statements that were let through.

use std::time::Instant;

use pgwarden_policy::{DenyReason, Plan, Verdict};

use super::Session;
use super::queue::Pending;
use crate::audit::{Event, EventKind};
use crate::metrics::Outcome;

fn outcome(plan: &Plan) -> Outcome {
    match (&plan.observed, plan.verdict) {
        (Some(observed), _) if observed.reason.is_some() => Outcome::WouldDeny,
        (Some(_), _) => Outcome::WouldRewrite,
        (None, Verdict::Pass) => Outcome::Pass,
        (None, Verdict::Rewrite) => Outcome::Rewrite,
    }
}

/// As the audit and `explain` write it.
pub(super) fn fingerprint(number: u64) -> String {
    format!("{number:016x}")
}

impl Session {
    /// Counts a statement that is on its way. Gives whether the audit wants to hear of its end.
    pub(super) fn count(&self, plan: &Plan) -> bool {
        let outcome = outcome(plan);
        let metrics = self.proxy.metrics();
        metrics.statement(outcome, plan.kind);
        if let Some(reason) = plan.observed.as_ref().and_then(|it| it.reason) {
            metrics.would_be_denial(reason);
        }
        let enforced = self.judging.access().enforce;
        self.proxy.audit().wants(outcome, plan.writes(), enforced)
    }

    /// Writes a statement's line, when it has come to its end.
    pub(super) fn record_end(&self, pending: &Pending, started: Instant, sqlstate: Option<&[u8]>) {
        let Some(plan) = &pending.plan else {
            return;
        };
        let mut event = Event::new(EventKind::Statement, Some(&self.who));
        event.verdict = Some(outcome(plan).as_str());
        event.kind = Some(plan.kind.as_str());
        event.tables = plan.relations.iter().map(|it| it.name.clone()).collect();
        if let Some(observed) = &plan.observed {
            event.reason = observed.reason.map(DenyReason::code);
            let table = observed.table.iter();
            let unknown = table.filter(|it| !event.tables.contains(it));
            event.tables.extend(unknown.cloned().collect::<Vec<_>>());
        }
        event.fingerprint = Some(fingerprint(plan.fingerprint));
        event.sqlstate = sqlstate.map(|it| String::from_utf8_lossy(it).into_owned());
        event.rows = pending.rows;
        event.duration_us = u64::try_from(started.elapsed().as_micros()).ok();
        event.policy = Some(self.judging.engine().policy().revision.clone());
        self.proxy.audit().record(event);
    }
}
