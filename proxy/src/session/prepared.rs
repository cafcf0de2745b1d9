//! PREPARE, EXECUTE and DEALLOCATE: statements that name prepared statements.
//!
//! PostgreSQL has one space of names for statements of SQL and of the protocol. Those of the
//! protocol have names of our own on the server, those of SQL the client's, so the two are told
//! apart here: a name is given once, DEALLOCATE of a protocol's statement becomes a Close, and each
//! kind is run only by its own means. EXECUTE runs what was judged at PREPARE, and is refused when
//! it would not be judged so any more. Where several stand in one message, see [`super::steps`].
//!
//! Such a statement waits until the server owes nothing: then what is known of its name is what the
//! server has.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Denial, Effect, Plan, Protocol};

use super::execute::no_statement;
use super::names::{Change, Statement};
use super::parse::keep_text;
use super::queue::Expect;
use super::refusing::IN_FAILED_TRANSACTION;
use super::{Session, Taken};
use crate::backend::{Forward, Outbox};
use crate::pool::Name;
use crate::wire::Report;

/// What a statement does with the name in it.
enum Use<'n> {
    /// PREPARE: the name is free.
    Gives(&'n [u8]),
    /// EXECUTE of what has this plan.
    Runs(Arc<Plan>),
    /// DEALLOCATE of a statement of SQL.
    Drops(&'n [u8]),
    /// DEALLOCATE of a statement of the protocol.
    Closes(&'n [u8], Arc<Statement>),
}

/// Why a name can't be used.
pub(super) enum Unusable {
    /// In PostgreSQL's words, or because it is not supported.
    Refused(Report),
    /// What it stands for is not let through any more.
    Denied(Denial),
}

/// The name in a plan's statement that stands alone.
fn named(plan: &Plan) -> Option<&Effect> {
    match plan.effects.as_slice() {
        [effect @ (Effect::Prepare(_) | Effect::Execute(_) | Effect::Deallocate(_))] => {
            Some(effect)
        }
        _ => None,
    }
}

impl Session {
    /// A Query that names a prepared statement; nothing of it was sent yet. `dropped` is the unnamed
    /// statement, which every Query drops.
    pub(super) fn query_by_name(
        &mut self,
        text: &str,
        plan: &Arc<Plan>,
        dropped: Change,
        started: Instant,
        server: &mut Outbox,
    ) -> Taken {
        if self.must_wait(server) {
            self.names.undo(dropped);
            return Taken::Later;
        }
        if plan.statements > 1 {
            return self.query_of_steps(text, plan, dropped, started, server);
        }
        let usage = match self.use_name(plan) {
            Ok(usage) => usage,
            Err(why) => {
                self.refuse_name(why, Expect::Query, Some(dropped), server);
                return Taken::Yes;
            }
        };
        let mut expect = Expect::Query;
        let statement = if let Use::Closes(_, statement) = &usage {
            self.close_on_server(statement, server);
            server.forward(Forward::Sync, &[]);
            expect = Expect::Deallocate;
            Arc::clone(statement)
        } else {
            match self.send_named(text, server) {
                Ok(statement) => statement,
                Err(denial) => {
                    self.deny(denial, Expect::Query, Some(dropped), server);
                    return Taken::Yes;
                }
            }
        };
        let (runs, change) = self.follow(usage, plan, &statement);
        let change = match change {
            Some(change) => dropped.and(change),
            None => dropped,
        };
        self.transaction += 1;
        self.pipeline_open = false;
        self.push(expect, runs, Some(change), started);
        Taken::Yes
    }

    /// An Execute of a statement that names a prepared one.
    pub(super) fn execute_by_name(
        &mut self,
        body: &[u8],
        statement: &Arc<Statement>,
        plan: &Arc<Plan>,
        started: Instant,
        server: &mut Outbox,
    ) -> Taken {
        if self.must_wait(server) {
            return Taken::Later;
        }
        let usage = match self.use_name(plan) {
            Ok(usage) => usage,
            Err(why) => {
                self.refuse_name(why, Expect::Execute, None, server);
                return Taken::Yes;
            }
        };
        let mut expect = Expect::Execute;
        if let Use::Closes(_, closed) = &usage {
            self.close_on_server(closed, server);
            expect = Expect::DeallocateExecute;
        } else {
            server.forward(Forward::Execute, body);
        }
        let (runs, change) = self.follow(usage, plan, statement);
        self.pipeline_open = true;
        self.push(expect, runs, change, started);
        Taken::Yes
    }

    /// Closes a statement of the protocol: the name is the client's; the server knows another.
    pub(super) fn close_on_server(&self, statement: &Statement, server: &mut Outbox) {
        let name = self.name_to_close(statement).as_bytes();
        server.forward_parts(Forward::Close, &[b"S", name, &[0]]);
    }

    /// Whether the server still owes something. Inside a pipeline it is asked for it.
    pub(super) fn must_wait(&mut self, server: &mut Outbox) -> bool {
        if self.queue.is_empty() {
            self.nudged = false;
            return false;
        }
        self.nudge(server);
        true
    }

    /// What becomes of the name.
    fn use_name<'n>(&mut self, plan: &'n Plan) -> Result<Use<'n>, Unusable> {
        if self.status == b'E' {
            let report = Report::error(IN_FAILED_TRANSACTION, "");
            return Err(Unusable::Refused(report));
        }
        match named(plan) {
            Some(Effect::Prepare(name)) => {
                if let Some(report) = self.no_room_for(name.as_bytes()) {
                    return Err(Unusable::Refused(report));
                }
                Ok(Use::Gives(name.as_bytes()))
            }
            Some(Effect::Execute(name)) => match self.names.prepared(name.as_bytes()) {
                Some(prepared) => {
                    let prepared = Arc::clone(prepared);
                    let plan = self.judging.plan_of(&prepared).map_err(Unusable::Denied)?;
                    Ok(Use::Runs(plan))
                }
                None if self.names.is_taken(name.as_bytes()) => {
                    Err(Unusable::Refused(of_the_protocol()))
                }
                None => Err(Unusable::Refused(no_statement(name.as_bytes()))),
            },
            Some(Effect::Deallocate(name)) => {
                let name = name.as_bytes();
                if let Some(statement) = self.names.statement(name) {
                    return Ok(Use::Closes(name, Arc::clone(statement)));
                }
                if self.names.is_taken(name) {
                    return Ok(Use::Drops(name));
                }
                Err(Unusable::Refused(no_statement(name)))
            }
            _ => Err(Unusable::Refused(no_statement(b""))),
        }
    }

    /// The plan that is run, and what changes in the maps.
    fn follow(
        &mut self,
        usage: Use<'_>,
        plan: &Arc<Plan>,
        statement: &Arc<Statement>,
    ) -> (Arc<Plan>, Option<Change>) {
        let change = match usage {
            Use::Runs(runs) => return (runs, None),
            Use::Gives(name) => self.names.set_prepared(name, Some(Arc::clone(statement))),
            Use::Drops(name) => self.names.set_prepared(name, None),
            Use::Closes(name, _) => self.names.set_statement(name, None),
        };
        (Arc::clone(plan), Some(change))
    }

    /// Sends a Query, and keeps what was sent.
    pub(super) fn send_named(
        &mut self,
        text: &str,
        server: &mut Outbox,
    ) -> Result<Arc<Statement>, Denial> {
        let basis = self.judging.basis();
        let cleared = self.judging.judge(text, Protocol::Simple, &[])?;
        server.query(&cleared);
        keep_text(&mut self.last_query, self.transaction, text, &cleared);
        Ok(Arc::new(Statement {
            server_name: Name::default(),
            under: None,
            text: text.into(),
            declared: Box::default(),
            rewritten: (cleared.text() != text).then(|| cleared.text().into()),
            plan: Arc::clone(cleared.plan()),
            basis,
            token: None,
        }))
    }

    pub(super) fn refuse_name(
        &mut self,
        why: Unusable,
        expect: Expect,
        change: Option<Change>,
        server: &mut Outbox,
    ) {
        match why {
            Unusable::Refused(report) => self.refuse(report, expect, change, server),
            Unusable::Denied(denial) => self.deny(denial, expect, change, server),
        }
    }
}

impl Session {
    /// Why a statement can't get a name.
    pub(super) fn no_room_for(&self, name: &[u8]) -> Option<Report> {
        if self.names.is_taken(name) {
            return Some(taken(name));
        }
        self.no_room()
    }

    /// The same, of a name that is known to be free.
    pub(super) fn no_room(&self) -> Option<Report> {
        self.names.is_full().then(full)
    }
}

/// The session holds as much as it may.
pub(super) fn full() -> Report {
    let message = "pgwarden: the session's prepared statements and portals take too much room";
    Report::error("53400", message).hint("Close those that are not in use (DEALLOCATE).")
}

/// The name has a statement already.
pub(super) fn taken(name: &[u8]) -> Report {
    let name = String::from_utf8_lossy(name);
    Report::error(
        "42P05",
        format!("prepared statement \"{name}\" already exists"),
    )
}

pub(super) fn of_the_protocol() -> Report {
    let message =
        "pgwarden: EXECUTE of a statement that a Parse message has prepared is not supported";
    Report::error("0A000", message).hint("Run it with Bind and Execute messages.")
}

/// A message of the protocol names a statement of SQL.
pub(super) fn of_sql() -> Report {
    let message =
        "pgwarden: Bind and Describe of a statement that PREPARE has made are not supported";
    Report::error("0A000", message).hint("Run it with EXECUTE.")
}
