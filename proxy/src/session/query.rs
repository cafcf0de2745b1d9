//! Query: the simple protocol.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Effect, Plan, Protocol, StatementKind};

use super::cursors;
use super::gate::{Gate, permit};
use super::given::Given;
use super::names::Change;
use super::parse::keep_text;
use super::prepared::names_a_statement;
use super::queue::Expect;
use super::{Copy, Session, Stop, Taken};
use crate::backend::Outbox;
use crate::wire::Report;
use crate::wire::client::{self};

impl Session {
    pub(super) fn query(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let text = client::query(body)?;
        match self.gate(server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Query, None, server);
                return Ok(Taken::Yes);
            }
        }
        let started = Instant::now();
        // Every Query drops the unnamed statement, also one that fails.
        let change = self.names.set_statement(b"", None);
        let Ok(text) = std::str::from_utf8(text) else {
            self.refuse(not_utf8(), Expect::Query, Some(change), server);
            return Ok(Taken::Yes);
        };
        let given = match self.given(text) {
            Ok(given) => given,
            Err(denial) => {
                self.deny(denial, Expect::Query, Some(change), server);
                return Ok(Taken::Yes);
            }
        };
        let text = given.as_ref().map_or(text, |given| given.stand_in());
        let (known, basis) = (self.known, self.judging.basis());
        let judged = self.judging.judge(text, Protocol::Simple, &[]);
        let judged = judged.and_then(|cleared| {
            permit(known, cleared.plan())?;
            cursors::check_fetches(&self.names, basis, cleared.plan())?;
            if !names_a_statement(cleared.plan()) {
                server.query(&cleared);
            }
            keep_text(&mut self.last_query, self.transaction, text, cleared.plan());
            Ok(Arc::clone(cleared.plan()))
        });
        self.proxy
            .metrics()
            .judge_seconds
            .observe(started.elapsed());
        match judged {
            Ok(plan) if names_a_statement(&plan) => {
                return Ok(self.query_by_name(text, &plan, change, started, server));
            }
            Ok(plan) => self.queried(plan, given, change, started),
            Err(denial) => self.deny(denial, Expect::Query, Some(change), server),
        }
        Ok(Taken::Yes)
    }

    /// The Query is on its way.
    pub(super) fn queried(
        &mut self,
        plan: Arc<Plan>,
        given: Option<Arc<Given>>,
        mut change: Change,
        started: Instant,
    ) {
        if plan.effects.contains(&Effect::DeallocateAll) {
            change = change.and(self.names.close_all());
        }
        if let Some(closed) = self.close_cursors(&plan) {
            change = change.and(closed);
        }
        if matches!(plan.kind, StatementKind::Copy | StatementKind::Several) {
            self.copy = Copy::Awaited;
        }
        self.transaction += 1;
        self.pipeline_open = false;
        self.push_given(Expect::Query, plan, given, Some(change), started);
    }
}

pub(super) fn not_utf8() -> Report {
    Report::error("22021", "invalid byte sequence for encoding \"UTF8\"")
}
