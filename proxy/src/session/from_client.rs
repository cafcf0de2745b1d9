//! Messages of the client.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::copy::Guard;
use pgwarden_policy::{Denial, DenyReason, Effect, Plan, StatementKind};

use super::ahead::Ahead;
use super::gate::unsettles;
use super::given::Given;
use super::names::Change;
use super::queue::{Expect, Pending};
use super::{Copy, Session, Skip, Stop, Taken};
use crate::backend::{Forward, Outbox};
use crate::wire::{Malformed, Report, answer};

impl From<Malformed> for Stop {
    fn from(malformed: Malformed) -> Self {
        Self::protocol(malformed.0)
    }
}

impl Session {
    /// A message of the client.
    pub(crate) fn client_message(
        &mut self,
        tag: u8,
        body: &[u8],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        let before = server.bytes().len();
        let taken = self.offered_message(tag, body, server)?;
        let sent = taken == Taken::Yes && server.bytes().len() > before;
        if sent && !self.may_leave(tag) {
            server.truncate(before);
            return Err(Stop::out_of_place());
        }
        Ok(taken)
    }

    fn offered_message(
        &mut self,
        tag: u8,
        body: &[u8],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        if tag == b'X' {
            return Err(Stop::Terminated);
        }
        if self.copy != Copy::No {
            return self.copy_message(tag, body, server);
        }
        if self.skip != Skip::Nothing && tag != b'S' {
            return match tag {
                b'Q' | b'P' | b'B' | b'D' | b'E' | b'C' | b'H' | b'F' | b'd' | b'c' | b'f' => {
                    Ok(Taken::Yes)
                }
                _ => Err(unknown(tag)),
            };
        }
        if self.is_trying() {
            return self.try_message(tag, body, server);
        }
        if self.must_drain(server) || self.must_know_names(tag) {
            return Ok(Taken::Later);
        }
        self.untried_message(tag, body, server)
    }

    /// A message, whatever is tried.
    pub(super) fn untried_message(
        &mut self,
        tag: u8,
        body: &[u8],
        server: &mut Outbox,
    ) -> Result<Taken, Stop> {
        match tag {
            b'Q' => self.query(body, server),
            b'P' => self.parse(body, server),
            b'B' => self.bind(body, server),
            b'D' => self.describe(body, server),
            b'E' => self.execute(body, server),
            b'C' => self.close(body, server),
            b'S' => self.sync(body, server),
            b'H' => {
                if !body.is_empty() {
                    return Err(Stop::protocol("invalid message format"));
                }
                server.forward(Forward::Flush, &[]);
                Ok(Taken::Yes)
            }
            b'F' => self.function_call(server),
            // Out of place, PostgreSQL ignores them: they may be left over from a COPY that failed.
            b'd' | b'c' | b'f' => Ok(Taken::Yes),
            _ => Err(unknown(tag)),
        }
    }

    /// Whether a message that uses statements' names, or changes what they stand for, has to wait for the pipeline
    /// before its own. What that one leaves undone, the server still has as it was: a Bind would be checked against
    /// one statement, and meet another. (Who only binds what is prepared, pipeline behind pipeline, never waits.)
    fn must_know_names(&self, tag: u8) -> bool {
        matches!(tag, b'Q' | b'P' | b'B' | b'D' | b'C') && self.queue.awaits_pipeline()
    }

    /// Whether so much is owed that the client has to wait for all of it.
    fn must_drain(&mut self, server: &mut Outbox) -> bool {
        if self.queue.is_empty() {
            self.nudged = false;
        }
        if !self.queue.is_draining() {
            return false;
        }
        self.nudge(server);
        true
    }

    /// Has the server send the answers that it holds back, once.
    pub(super) fn nudge(&mut self, server: &mut Outbox) {
        if self.pipeline_open && !self.nudged {
            server.forward(Forward::Flush, &[]);
            self.nudged = true;
        }
    }

    /// A message while a COPY decides what it means.
    fn copy_message(&mut self, tag: u8, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        if self.copy == Copy::Awaited {
            return Ok(Taken::Later);
        }
        match tag {
            b'd' => match guard(&mut self.rows).and_then(|rows| rows.take(body)) {
                Ok(data) => server.copy_data(&data),
                Err(denial) => self.fail_copy(denial, server),
            },
            b'c' => match guard(&mut self.rows).and_then(Guard::finish) {
                Ok(rest) => {
                    if !rest.bytes().is_empty() {
                        server.copy_data(&rest);
                    }
                    server.forward(Forward::CopyDone, body);
                    if self
                        .queue
                        .front()
                        .is_some_and(|it| it.expect == Expect::Execute)
                    {
                        // As in `execute`: the Sync behind it waits for the answer.
                        server.forward(Forward::Flush, &[]);
                    }
                    self.copy = Copy::Awaited;
                }
                Err(denial) => self.fail_copy(denial, server),
            },
            b'f' => {
                server.forward(Forward::CopyFail, body);
                self.copy = Copy::Awaited;
            }
            // libpq sends them right behind Execute; PostgreSQL ignores them here.
            b'H' | b'S' => {}
            _ => {
                return Err(Stop::protocol(
                    "unexpected message type during COPY from stdin",
                ));
            }
        }
        Ok(Taken::Yes)
    }

    /// A message that runs a plan is on its way.
    pub(super) fn push(
        &mut self,
        expect: Expect,
        plan: Arc<Plan>,
        change: Option<Change>,
        started: Instant,
    ) {
        self.push_given(expect, plan, None, change, started);
    }

    /// The same for a message that may put a token in force.
    pub(super) fn push_given(
        &mut self,
        expect: Expect,
        plan: Arc<Plan>,
        token: Option<Arc<Given>>,
        change: Option<Change>,
        started: Instant,
    ) {
        let started = self.count(&plan).then_some(started);
        self.note_use(&plan);
        self.cursors.follow(&plan, self.judging.basis());
        self.known.foreign_sequences &= !plan.may_draw();
        let all = plan.effects.contains(&Effect::DeallocateAll);
        if self.may_make_temporaries(&plan) {
            self.temporaries = true;
            self.judging.note_temporaries();
        }
        match &mut self.sharing {
            Some(sharing) => sharing.follow(&plan),
            None => self.era.follow(&plan),
        }
        self.queue.push(Pending {
            unsettles: unsettles(self.known, &plan)
                || self.ends_pipeline(expect)
                || token.is_some()
                || all
                || expect == Expect::Spread
                || expect == Expect::Looked && self.known.ahead == Ahead::Followed,
            plan: Some(plan),
            token,
            change,
            started,
            transaction: self.transaction,
            ..Pending::new(expect)
        });
    }

    /// Whether a Query ends the transaction of messages before it that no Sync has ended: what was put in force in
    /// it is gone when the Query fails.
    pub(super) fn ends_pipeline(&self, expect: Expect) -> bool {
        matches!(expect, Expect::Query | Expect::Parts | Expect::Deallocate)
            && self.known.in_transaction
            && self.status == b'I'
    }

    /// Whether temporary relations may have come with a plan: by a statement that makes them, or
    /// by one that nobody has judged.
    fn may_make_temporaries(&self, plan: &Plan) -> bool {
        let unread = plan.observed.as_ref().is_some_and(|it| it.reason.is_some());
        unread || !self.judging.access().enforce || plan.effects.contains(&Effect::Temporaries)
    }

    /// A plan is bound or run: from now on the transaction is its tenant's.
    pub(super) fn note_use(&mut self, plan: &Plan) {
        if !matches!(
            plan.kind,
            StatementKind::Transaction | StatementKind::Setting | StatementKind::Empty
        ) {
            self.judging.note_use();
        }
    }

    /// A message of the extended protocol whose body can't be read is an error like any other: the
    /// session goes on after Sync.
    pub(super) fn malformed(
        &mut self,
        malformed: &Malformed,
        expect: Expect,
        server: &mut Outbox,
    ) -> Taken {
        let sqlstate = if malformed.0.starts_with("unsupported format code") {
            "22023"
        } else {
            "08P01"
        };
        self.refuse(Report::error(sqlstate, malformed.0), expect, None, server);
        Taken::Yes
    }

    fn sync(&mut self, body: &[u8], server: &mut Outbox) -> Result<Taken, Stop> {
        if !body.is_empty() {
            return Err(Stop::protocol("invalid message format"));
        }
        let skipped = std::mem::replace(&mut self.skip, Skip::Nothing);
        self.pipeline_open = false;
        let alone = self.sharing.as_ref().is_some_and(|it| !it.attached);
        if skipped == Skip::Local || alone {
            answer::ready(&mut self.to_client, self.status);
            return Ok(Taken::Yes);
        }
        server.forward(Forward::Sync, &[]);
        if let Some(sharing) = &mut self.sharing
            && self.status != b'T'
        {
            sharing.may_bring_settings_back();
        }
        self.transaction += 1;
        self.queue.push(Pending {
            // It may end the transaction in which settings were changed.
            unsettles: self.known.in_transaction,
            transaction: self.transaction,
            ..Pending::new(Expect::Sync)
        });
        Ok(Taken::Yes)
    }

    fn function_call(&mut self, server: &mut Outbox) -> Result<Taken, Stop> {
        let denial = Denial::new(
            DenyReason::UnsupportedStatement,
            "FunctionCall messages are not supported",
        );
        let denial = denial.hint("Call the function in a SELECT.");
        self.deny(denial, Expect::Query, None, server);
        Ok(Taken::Yes)
    }
}

/// What checks a COPY's data, if any may be sent.
fn guard(rows: &mut Result<Guard, Box<Denial>>) -> Result<&mut Guard, Denial> {
    rows.as_mut().map_err(|denial| (**denial).clone())
}

fn unknown(tag: u8) -> Stop {
    let message = format!("invalid frontend message type {tag}");
    Stop::Fatal(Report::fatal("08P01", message))
}
