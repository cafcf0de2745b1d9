//! Observe mode: what would be denied or rewritten is judged all the same, noted in the plan, and
//! let through as it came.
//!
//! Of the whole policy (`mode = "observe"`), the verdict is that of the enforced policy, turned
//! into a note. A statement that was refused is looked at once more (`judge::observe`): what could
//! touch the session's identity, or runs code that nobody sees, stays refused.
//!
//! Of single tables, two bindings judge: in the one that decides, the observed tables belong to
//! nobody, so everything else is enforced as ever; the other, in which they are enforced, only says
//! what to note.

use std::collections::HashSet;
use std::sync::Arc;

use crate::deny::{Denial, DenyReason};
use crate::engine::Request;
use crate::judge::{self, Bound};
use crate::plan::{Observed, Plan, Verdict};
use crate::rules::{Mode, Policy};
use crate::scan::Scan;
use crate::session::SessionFacts;
use crate::template::Template;
use crate::verdict::{Fresh, Judging};

/// What of a policy is only observed.
#[derive(Debug)]
pub(crate) enum Observing {
    /// Nothing.
    Nothing,
    /// Everything but the identity guards.
    Everything,
    /// These tables, by `schema.table`, and the binding in which they are enforced.
    Tables(HashSet<String>, Box<Bound>),
}

impl Observing {
    /// What a policy observes; `bound` is how it is enforced. Gives the binding that decides, too.
    pub(crate) fn of(policy: &Policy, bound: Bound) -> (Self, Bound) {
        let observes = |mode: Option<Mode>| mode == Some(Mode::Observe);
        if policy.mode == Mode::Observe {
            (Self::Everything, bound)
        } else if policy.tables.iter().any(|table| observes(table.mode)) {
            let (deciding, names) = bound.without_observed();
            (Self::Tables(names, Box::new(bound)), deciding)
        } else {
            (Self::Nothing, bound)
        }
    }

    /// The binding in which the observed tables are enforced, if it is not the one that decides.
    pub(crate) fn enforced(&self) -> Option<&Bound> {
        match self {
            Self::Tables(_, enforced) => Some(enforced),
            Self::Nothing | Self::Everything => None,
        }
    }

    /// Judges with the binding that decides, and notes what is only observed.
    pub(crate) fn judge(
        &self,
        judging: &Judging<'_>,
        request: &Request<'_>,
        scan: &Scan,
    ) -> Result<Fresh, Denial> {
        match self {
            Self::Everything if request.facts.enforce => observe_all(judging, request, scan),
            Self::Tables(names, enforced) => {
                let enforcing = Judging {
                    bound: enforced,
                    ..*judging
                };
                observe_tables(names, judging, &enforcing, request, scan)
            }
            Self::Nothing | Self::Everything => judging.judge(request, scan),
        }
    }
}

fn observe_all(judging: &Judging<'_>, request: &Request<'_>, scan: &Scan) -> Result<Fresh, Denial> {
    match judging.judge(request, scan) {
        Ok(fresh) if fresh.judged.plan.verdict == Verdict::Pass => Ok(fresh),
        Ok(mut fresh) => {
            change(&mut fresh, |plan| {
                plan.verdict = Verdict::Pass;
                plan.hidden.clear();
                plan.checks.clear();
                plan.observed = Some(Observed::rewrite());
            });
            fresh.judged.template = Template::AsSent;
            fresh.trace = None;
            Ok(fresh)
        }
        Err(denial) if is_observable(denial.reason) => {
            let facts = SessionFacts {
                enforce: false,
                ..request.facts.clone()
            };
            let unscoped = Request {
                facts: &facts,
                ..*request
            };
            let judging = Judging {
                judge: judge::observe,
                ..*judging
            };
            let mut fresh = judging.judge(&unscoped, scan)?;
            change(&mut fresh, |plan| {
                // Nobody has looked at views, operators and types.
                plan.calls_users = true;
                plan.reads_only = false;
                plan.observed = Some(denial.into());
            });
            // Another literal may be refused for a reason that is not observed.
            fresh.pins = all_literals(scan);
            Ok(fresh)
        }
        Err(denial) => Err(denial),
    }
}

fn observe_tables(
    names: &HashSet<String>,
    deciding: &Judging<'_>,
    enforcing: &Judging<'_>,
    request: &Request<'_>,
    scan: &Scan,
) -> Result<Fresh, Denial> {
    let mut fresh = deciding.judge(request, scan)?;
    let mut relations = fresh.judged.plan.relations.iter();
    if !relations.any(|used| names.contains(&used.name)) {
        return Ok(fresh);
    }
    match enforcing.judge(request, scan) {
        Ok(enforced) => {
            if enforced.judged.plan.verdict == Verdict::Rewrite {
                change(&mut fresh, |plan| plan.observed = Some(Observed::rewrite()));
            }
            fresh.pins.extend(enforced.pins);
            fresh.pins.sort_unstable();
            fresh.pins.dedup();
        }
        Err(denial) => {
            change(&mut fresh, |plan| plan.observed = Some(denial.into()));
            fresh.pins = all_literals(scan);
        }
    }
    Ok(fresh)
}

fn change(fresh: &mut Fresh, edit: impl FnOnce(&mut Plan)) {
    edit(Arc::make_mut(&mut fresh.judged.plan));
}

fn all_literals(scan: &Scan) -> Vec<u32> {
    (0..).take(scan.literals.len()).collect()
}

/// Whether a denial for this reason is only noted. What guards the identity, what runs code that
/// nobody sees (its body could set the claims) and what nobody can read stays denied.
fn is_observable(reason: DenyReason) -> bool {
    match reason {
        DenyReason::UnsupportedStatement
        | DenyReason::UnsupportedConstruct
        | DenyReason::UnknownRelation
        | DenyReason::UnlistedRelation
        | DenyReason::UnfitRelation
        | DenyReason::RlsMissing
        | DenyReason::OpaqueRelation
        | DenyReason::ReadOnlyRelation
        | DenyReason::UnknownOperator
        | DenyReason::UnknownType
        | DenyReason::ForeignTenantValue
        | DenyReason::UnprovenTenantValue
        | DenyReason::MissingFilter
        | DenyReason::MissingValue
        | DenyReason::MissingClaim
        | DenyReason::AmbiguousColumn
        | DenyReason::ProofFailed
        | DenyReason::ReaderDisagreement
        | DenyReason::SecondReaderUnreadable => true,
        DenyReason::SyntaxError
        | DenyReason::TooComplex
        | DenyReason::SystemRelation
        | DenyReason::FunctionDenied
        | DenyReason::ChannelDenied
        | DenyReason::UnknownFunction
        | DenyReason::SettingDenied
        | DenyReason::IdentityGuard
        | DenyReason::TokenRequired
        | DenyReason::TokenRefused
        | DenyReason::ParameterMismatch => false,
    }
}

#[cfg(test)]
mod tests;
