//! Query: the simple protocol.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Denial, DenyReason, Effect, Plan, Protocol, StatementKind, script};

use super::ahead::{Ahead, may_follow};
use super::cursors;
use super::gate::{Gate, permit, permit_last_value};
use super::given::Given;
use super::lookup::Origin;
use super::names::Change;
use super::parse::keep_text;
use super::queue::Expect;
use super::trial::Trial;
use super::unread::permit_absent;
use super::{Copy, Session, Stop, Taken};
use crate::backend::Outbox;
use crate::wire::Report;
use crate::wire::client::{self};

/// How a Query is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it is, or not at all yet.
    Plain,
    /// See [`super::ahead`].
    Spread,
    /// See [`super::lookup`].
    Lookup,
}

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
        let Ok(text) = std::str::from_utf8(text) else {
            let change = self.names.set_statement(b"", None);
            self.refuse(not_utf8(), Expect::Query, Some(change), server);
            return Ok(Taken::Yes);
        };
        match self.given(text) {
            Ok(given) => {
                let text = given.as_ref().map_or(text, |given| given.stand_in());
                self.judge_query(text, given.clone(), server)
            }
            Err(denial) => {
                let change = self.names.set_statement(b"", None);
                self.deny(denial, Expect::Query, Some(change), server);
                Ok(Taken::Yes)
            }
        }
    }

    fn judge_query(
        &mut self,
        text: &str,
        given: Option<Arc<Given>>,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let taken = self.send_query(text, given, server);
        if self.trial == Trial::Given && matches!(taken, Ok(Taken::Yes)) {
            self.trial = Trial::No;
        }
        taken
    }

    fn send_query(
        &mut self,
        text: &str,
        given: Option<Arc<Given>>,
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let started = Instant::now();
        // Every Query drops the unnamed statement, also one that fails.
        let change = self.names.set_statement(b"", None);
        let judged = self.clear_query(text, given.is_some(), server);
        let judge_seconds = &self.proxy.metrics().judge_seconds;
        judge_seconds.observe(started.elapsed());
        match judged {
            Ok((plan, Way::Spread)) => {
                self.followed();
                self.queried(Expect::Spread, plan, given, change, started);
            }
            Ok((plan, Way::Lookup)) => {
                self.followed();
                self.trial = Trial::Looking;
                self.queried(Expect::Looked, plan, given, change, started);
            }
            Ok((_, Way::Plain)) if self.known.ahead == Ahead::Followed => {
                self.names.undo(change);
                if self.must_wait(server) {
                    return Ok(Taken::Later);
                }
                // They are answered, and part of the transaction that this Query ends.
                self.known.ahead = Ahead::No;
                return self.send_query(text, given, server);
            }
            Ok((plan, Way::Plain)) if self.known.ahead != Ahead::No => {
                self.names.undo(change);
                self.end_ahead(server);
                // To begin a transaction takes no claims; all else waits for them.
                if plan.kind == StatementKind::Transaction && self.queue.all(Expect::is_own) {
                    return self.send_query(text, given, server);
                }
                return Ok(Taken::Later);
            }
            Ok((plan, Way::Plain)) if plan.names_prepared() => {
                return Ok(self.query_by_name(text, &plan, change, started, server));
            }
            Ok((plan, Way::Plain)) => self.queried(Expect::Query, plan, given, change, started),
            Err(_) if self.may_be_own() => {
                self.names.undo(change);
                return self.look_again(server);
            }
            Err(_) if self.may_be_unread() => {
                self.names.undo(change);
                self.end_ahead(server);
                return Ok(Taken::Later);
            }
            Err(denial) => {
                return Ok(match self.deallocate_among(text, change, started, server) {
                    Ok(taken) => taken,
                    Err(change) => {
                        self.deny(denial, Expect::Query, Some(change), server);
                        Taken::Yes
                    }
                });
            }
        }
        Ok(Taken::Yes)
    }

    /// Judges the Query, and sends it where nothing else has to be sent before it.
    fn clear_query(
        &mut self,
        text: &str,
        has_given: bool,
        server: &mut Outbox,
    ) -> Result<(Arc<Plan>, Way), Denial> {
        let (known, basis) = (self.known, self.judging.basis());
        let passing = self.judging.is_passing();
        let has_unread = self.has_unread();
        let origin = if has_given { None } else { self.origin() };
        let cleared = self.judging.judge(text, Protocol::Simple, &[])?;
        let plan = cleared.plan();
        permit(known, plan)?;
        permit_last_value(known, plan)?;
        permit_turn(passing, plan, text)?;
        permit_absent(has_unread, plan)?;
        cursors::check_fetches(&self.names, basis, plan)?;
        self.cursors.check(plan, basis)?;
        let lookup = cleared.lookup().filter(|_| may_follow(plan));
        let looks_up = |(origin, lookup): (&Origin, _)| {
            origin.send(lookup, &mut self.prepared, &mut self.queue, server)
        };
        // A parameter is an error in a Query, and none in a Parse.
        let follows = || may_follow(plan) && !cleared.text().contains('$');
        let way = if origin.as_ref().zip(lookup).is_some_and(looks_up) {
            Way::Lookup
        } else if known.ahead == Ahead::Alone && follows() {
            Self::spread(&cleared, server);
            Way::Spread
        } else {
            if known.ahead == Ahead::No && !plan.names_prepared() {
                server.query(&cleared);
            }
            Way::Plain
        };
        keep_text(&mut self.last_query, self.transaction, text, &cleared);
        Ok((Arc::clone(plan), way))
    }

    /// The Query is on its way.
    pub(super) fn queried(
        &mut self,
        expect: Expect,
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
        self.push_given(expect, plan, given, Some(change), started);
    }
}

/// Behind the end of a transaction, in the same message, what only it sees may be no more.
fn permit_turn(passing: bool, plan: &Plan, text: &str) -> Result<(), Denial> {
    if !passing || plan.statements <= 1 || !script::turns_transaction(text) {
        return Ok(());
    }
    let text = "several statements at once, one of which ends the transaction or goes back in it, are not \
        supported after DDL in it";
    let denial = Denial::new(DenyReason::UnsupportedStatement, text);
    Err(denial.hint("Send the statements one by one."))
}

pub(super) fn not_utf8() -> Report {
    Report::error("22021", "invalid byte sequence for encoding \"UTF8\"")
}
