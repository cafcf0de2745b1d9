//! PREPARE, EXECUTE and DEALLOCATE in a Query of several statements.
//!
//! The message goes on as one, so that the order, the implicit transaction and the errors are the server's own. What its statements
//! do to the names is worked out before, one by one: EXECUTE runs what the message has prepared, which was judged
//! with it, or what the session has, which is looked at as if it stood alone. Where a name has nothing to stand for,
//! the server is not asked: another session may have left something of that name there.
//!
//! PREPARE and DEALLOCATE are no part of a transaction. What was done before an error stays done, and the
//! CommandCompletes tell how much that is.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Effect, Plan, script};

use super::execute::no_statement;
use super::names::{Change, Statement};
use super::prepared::{Unusable, of_the_protocol, taken};
use super::queue::Expect;
use super::refusing::IN_FAILED_TRANSACTION;
use super::{Session, Taken};
use crate::backend::Outbox;
use crate::wire::Report;

/// What the statements of a message do.
struct Steps<'p> {
    effects: Vec<(usize, &'p Effect)>,
    /// What EXECUTE runs of earlier messages.
    runs: Vec<Arc<Plan>>,
}

/// What the message has done to the names so far.
#[derive(Default)]
struct Names<'p> {
    /// Whether each of these has a statement of SQL now.
    known: HashMap<&'p str, bool>,
    /// All that were there before are gone.
    cleared: bool,
}

impl Session {
    /// A Query of several statements that names prepared ones; nothing of it was sent yet, and the server owes
    /// nothing. `dropped` is the unnamed statement.
    pub(super) fn query_of_steps(
        &mut self,
        text: &str,
        plan: &Arc<Plan>,
        dropped: Change,
        started: Instant,
        server: &mut Outbox,
    ) -> Taken {
        if self.status == b'E' && !script::turns_transaction(text) {
            let report = Report::error(IN_FAILED_TRANSACTION, "");
            self.refuse(report, Expect::Query, Some(dropped), server);
            return Taken::Yes;
        }
        let steps = match self.steps(plan) {
            Ok(steps) => steps,
            Err(why) => match self.deallocate_among(text, dropped, started, server) {
                Ok(taken) => return taken,
                Err(dropped) => {
                    self.refuse_name(why, Expect::Query, Some(dropped), server);
                    return Taken::Yes;
                }
            },
        };
        let statement = match self.send_named(text, server) {
            Ok(statement) => statement,
            Err(denial) => {
                self.deny(denial, Expect::Query, Some(dropped), server);
                return Taken::Yes;
            }
        };
        let changes: Vec<_> = steps
            .effects
            .iter()
            .filter_map(|(step, effect)| Some((*step, self.change_name(effect, &statement)?)))
            .collect();
        let mut whole = Plan::clone(plan);
        for prepared in &steps.runs {
            whole.runs(prepared);
        }
        self.transaction += 1;
        self.pipeline_open = false;
        let change = dropped.and(Change::of_steps(changes));
        self.push(Expect::Query, Arc::new(whole), Some(change), started);
        Taken::Yes
    }

    /// What becomes of the names.
    fn steps<'p>(&mut self, plan: &'p Plan) -> Result<Steps<'p>, Unusable> {
        let mut names = Names::default();
        let mut steps = Steps {
            effects: Vec::new(),
            runs: Vec::new(),
        };
        for (effect, step) in plan.effects.iter().zip(&plan.steps) {
            match effect {
                // Where the name is taken, the server says so. What stands behind is looked at all the same:
                // should it not be, that would be run.
                Effect::Prepare(name) => {
                    self.may_prepare(&names, name)?;
                    names.known.insert(name, true);
                }
                Effect::Execute(name) => match names.known.get(name.as_str()) {
                    Some(true) => {}
                    None if !names.cleared => steps.runs.push(self.runs_earlier(name)?),
                    _ => return Err(Unusable::Refused(no_statement(name.as_bytes()))),
                },
                Effect::Deallocate(name) if self.is_prepared(&names, name) => {
                    names.known.insert(name, false);
                }
                Effect::Deallocate(name) => return Err(self.not_prepared(&names, name)),
                Effect::DeallocateAll => {
                    names.known.clear();
                    names.cleared = true;
                }
                _ => continue,
            }
            steps.effects.push((*step, effect));
        }
        Ok(steps)
    }

    /// Whether a statement of SQL has the name at this point of the message.
    fn is_prepared(&self, names: &Names<'_>, name: &str) -> bool {
        let before = || !names.cleared && self.names.prepared(name.as_bytes()).is_some();
        names.known.get(name).copied().unwrap_or_else(before)
    }

    /// Whether one of the protocol has it.
    fn is_of_the_protocol(&self, names: &Names<'_>, name: &str) -> bool {
        !names.cleared && self.names.statement(name.as_bytes()).is_some()
    }

    fn may_prepare(&self, names: &Names<'_>, name: &str) -> Result<(), Unusable> {
        if self.is_of_the_protocol(names, name) {
            return Err(Unusable::Refused(taken(name.as_bytes())));
        }
        match self.no_room() {
            Some(report) => Err(Unusable::Refused(report)),
            None => Ok(()),
        }
    }

    /// What EXECUTE of a name runs that an earlier message has given.
    fn runs_earlier(&mut self, name: &str) -> Result<Arc<Plan>, Unusable> {
        let Some(prepared) = self.names.prepared(name.as_bytes()).map(Arc::clone) else {
            return Err(self.not_prepared(&Names::default(), name));
        };
        self.judging.plan_of(&prepared).map_err(Unusable::Denied)
    }

    fn not_prepared(&self, names: &Names<'_>, name: &str) -> Unusable {
        Unusable::Refused(if self.is_of_the_protocol(names, name) {
            of_the_protocol()
        } else {
            no_statement(name.as_bytes())
        })
    }

    fn change_name(&mut self, effect: &Effect, statement: &Arc<Statement>) -> Option<Change> {
        match effect {
            Effect::Prepare(name) => {
                let statement = Some(Arc::clone(statement));
                Some(self.names.set_prepared(name.as_bytes(), statement))
            }
            Effect::Deallocate(name) => Some(self.names.set_prepared(name.as_bytes(), None)),
            Effect::DeallocateAll => Some(self.names.close_all()),
            _ => None,
        }
    }
}
