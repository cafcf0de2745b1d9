//! Bind: the values of a statement, with the session's own behind them.

use std::sync::Arc;

use pgwarden_policy::{Denial, DenyReason};

use super::gate::{Gate, permit};
use super::names::Statement;
use super::prepared;
use super::queue::Expect;
use super::{Session, Stop, Taken};
use crate::backend::{Forward, Outbox};
use crate::wire::client::{self, Spans};

/// The most parameters that a Bind can carry.
const PARAMETERS_MAX: usize = u16::MAX as usize;

impl Session {
    pub(super) fn bind(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        let mut spans = std::mem::take(&mut self.spans);
        let taken = match client::bind(body, &mut spans) {
            Ok(bind) => self.bind_to(&bind, &spans, server),
            Err(malformed) => Ok(self.malformed(&malformed, Expect::Bind, server)),
        };
        self.spans = spans;
        taken
    }

    pub(super) fn bind_to(
        &mut self,
        bind: &client::Bind<'_>,
        spans: &Spans,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let ends = self.ends_failed(self.names.statement(bind.statement));
        match self.gate_unless(ends, server)? {
            Gate::Open => {}
            Gate::Later => return Ok(Taken::Later),
            Gate::Refuse(report) => {
                self.refuse(report, Expect::Bind, None, server);
                return Ok(Taken::Yes);
            }
        }
        let Some(statement) = self.names.statement(bind.statement).map(Arc::clone) else {
            let report = self.no_statement(bind.statement);
            self.refuse(report, Expect::Bind, None, server);
            return Ok(Taken::Yes);
        };
        if !bind.portal.is_empty() && self.names.is_full() {
            self.refuse(prepared::full(), Expect::Bind, None, server);
            return Ok(Taken::Yes);
        }
        if self.must_wait_for_claims(&statement.plan, server) {
            return Ok(Taken::Later);
        }
        let checked = self.check_bind(&statement, bind, spans);
        let checked =
            checked.and_then(|hidden| Ok((self.name_on_server(&statement, server)?, hidden)));
        match checked {
            Ok((name, hidden)) => self.write_bind(&name, bind, spans.len(), hidden, server),
            Err(denial) => {
                self.deny(denial.of(&statement.plan), Expect::Bind, None, server);
                return Ok(Taken::Yes);
            }
        }
        self.note_use(&statement.plan);
        self.cursors.forget_portal(bind.portal);
        let change = self
            .names
            .open_portal(bind.portal, statement, self.transaction + 1);
        self.sent(Expect::Bind, Some(change));
        Ok(Taken::Yes)
    }

    /// Checks a Bind, and puts the hidden values, each with its length, into `self.hidden`. Gives
    /// how many there are.
    pub(super) fn check_bind(
        &mut self,
        statement: &Statement,
        bind: &client::Bind<'_>,
        spans: &Spans,
    ) -> Result<usize, Denial> {
        if bind.portal.starts_with(b"pgwarden_") {
            let denial = Denial::new(DenyReason::IdentityGuard, "the portal's name is reserved");
            return Err(denial.hint("Choose a name that does not begin with pgwarden_."));
        }
        let plan = self.judging.plan_of(statement)?;
        permit(self.known, &plan)?;
        let values = &self.judging.access().values;
        plan.check_bind(&bind.parameters(spans), values)?;
        if spans.len() + plan.hidden.len() > PARAMETERS_MAX {
            let text = "the statement has too many parameters";
            return Err(Denial::new(DenyReason::TooComplex, text));
        }
        self.hidden.clear();
        // One format code is that of all values; otherwise ours are texts.
        let binary = bind.formats.len() == 2 && bind.is_binary(0);
        for slot in &plan.hidden {
            let Some(value) = values.get(*slot) else {
                let text = "the token lacks the claim that scopes the table";
                return Err(Denial::new(DenyReason::MissingClaim, text));
            };
            let at = self.hidden.len();
            self.hidden.extend_from_slice(&[0; 4]);
            if binary {
                value.write_binary(&mut self.hidden);
            } else {
                value.with_text(|text| self.hidden.extend_from_slice(text.as_bytes()));
            }
            let length = u32::try_from(self.hidden.len() - at - 4).unwrap_or(u32::MAX);
            if let Some(field) = self.hidden.get_mut(at..at + 4) {
                field.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(plan.hidden.len())
    }

    pub(super) fn write_bind(
        &self,
        statement: &str,
        bind: &client::Bind<'_>,
        own: usize,
        hidden: usize,
        server: &mut Outbox,
    ) {
        let count = |count: usize| u16::try_from(count).unwrap_or(u16::MAX).to_be_bytes();
        let codes = bind.formats.len() / 2;
        // A list of codes goes on for the hidden values, with 0 for text.
        let more = if codes > 1 { hidden } else { 0 };
        let few = [0; 32];
        let many: Vec<u8>;
        let texts = match few.get(..more * 2) {
            Some(texts) => texts,
            None => {
                many = vec![0; more * 2];
                &many
            }
        };
        server.forward_parts(
            Forward::Bind,
            &[
                bind.portal,
                &[0],
                statement.as_bytes(),
                &[0],
                &count(codes + more),
                bind.formats,
                texts,
                &count(own + hidden),
                bind.values,
                &self.hidden,
                bind.results,
            ],
        );
    }
}
