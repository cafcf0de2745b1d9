//! DEALLOCATE among savepoints in one Query, as psqlODBC sends it inside of a transaction:
//! `SAVEPOINT a; DEALLOCATE "p"; RELEASE a`.
//!
//! What the client calls `p` has another name on the server, or is shared and must stay, so the text can't go
//! on as it came. Each part is judged by itself and sent in messages of the extended protocol, all in one go up
//! to Sync; DEALLOCATE becomes a Close, whose answer is told as its own. Nothing else is taken
//! apart: other statements may fail half-way, and those that begin or end a transaction mean something
//! else alone.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::script::{self, PartKind};
use pgwarden_policy::{Effect, Plan, Protocol, StatementKind};

use super::names::{Change, Statement};
use super::queue::Expect;
use super::{Session, Taken};
use crate::backend::{Forward, Outbox};

/// A message of more statements is not taken apart.
const PARTS_MAX: usize = 8;

/// A message that is taken apart.
struct Parts<'t> {
    texts: Vec<&'t str>,
    /// Which of them is DEALLOCATE.
    at: usize,
    plan: Arc<Plan>,
    /// What it drops.
    name: Box<[u8]>,
    statement: Arc<Statement>,
}

impl Session {
    /// Sends such a Query. Gives `dropped` back, the unnamed statement, where it is something else.
    pub(super) fn deallocate_among(
        &mut self,
        text: &str,
        dropped: Change,
        started: Instant,
        server: &mut Outbox,
    ) -> Result<Taken, Change> {
        let Some(parts) = self.parts(text) else {
            return Err(dropped);
        };
        if self.must_wait(server) {
            self.names.undo(dropped);
            return Ok(Taken::Later);
        }
        for (part, text) in parts.texts.iter().enumerate() {
            if part == parts.at {
                self.close_on_server(&parts.statement, server);
            } else if let Ok(cleared) = self.judging.judge(text, Protocol::Simple, &[]) {
                server.parse("", &cleared, &[]);
                server.forward(Forward::Bind, &[0; 8]);
                server.forward(Forward::Execute, &[0; 5]);
            }
        }
        server.forward(Forward::Sync, &[]);
        let change = dropped.and(self.names.set_statement(&parts.name, None));
        self.transaction += 1;
        self.pipeline_open = false;
        self.push(Expect::Parts, parts.plan, Some(change), started);
        Ok(Taken::Yes)
    }

    /// The parts of a message, one of which drops a statement of the protocol, and the others make and release
    /// savepoints of the open transaction.
    fn parts<'t>(&mut self, text: &'t str) -> Option<Parts<'t>> {
        if self.status != b'T' {
            return None;
        }
        let cut = script::split(text);
        if !(2..=PARTS_MAX).contains(&cut.len()) {
            return None;
        }
        let mut drops = None;
        let mut texts = Vec::with_capacity(cut.len());
        for part in cut {
            if part.kind != PartKind::Statement {
                return None;
            }
            let text = text.get(part.range)?;
            let cleared = self.judging.judge(text, Protocol::Simple, &[]).ok()?;
            let plan = cleared.plan();
            match plan.effects.as_slice() {
                [] if plan.kind == StatementKind::Transaction
                    && !script::controls_transaction(text) => {}
                [Effect::Deallocate(name)] if drops.is_none() => {
                    drops = Some((texts.len(), Arc::clone(plan), name.as_bytes().into()));
                }
                _ => return None,
            }
            texts.push(text);
        }
        let (at, plan, name): (usize, Arc<Plan>, Box<[u8]>) = drops?;
        let statement = Arc::clone(self.names.statement(&name)?);
        Some(Parts {
            texts,
            at,
            plan,
            name,
            statement,
        })
    }
}
