//! The client's prepared statements and portals, as the server will have them once it has worked
//! off everything that was sent.
//!
//! Maps change when a message is sent. Each change is remembered with the message until its reply
//! comes, so that it can be taken back when the server skips the message after an error.
//!
//! What they hold of a session is bounded: the process is everybody's.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use pgwarden_policy::Plan;

use super::given::Given;
use crate::metrics::Pin;
use crate::pool::{Name, Under};

/// So many bytes of texts and names may be held for a session; the last one may be beyond.
const HELD_BYTES_MAX: usize = 32 << 20;

/// About what a statement or portal takes beside its texts.
const ENTRY_BYTES: usize = 256;

/// What a verdict was based on: changes of the engine and of the session's `search_path` so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Basis {
    /// Engines (policies, catalogues) and tokens that the session has seen.
    pub(super) engine: u64,
    /// Search paths and temporary relations that the session has had.
    pub(super) path: u64,
}

/// A prepared statement.
pub(super) struct Statement {
    /// Its name on the server; empty for the unnamed one.
    pub(super) server_name: Name,
    /// The settings that the name stands for, where it is one of the server connection's.
    pub(super) under: Option<Under>,
    /// The client's text.
    pub(super) text: Box<str>,
    /// The client's declared types.
    pub(super) declared: Box<[u32]>,
    /// The text that the server has, where it is another.
    pub(super) rewritten: Option<Box<str>>,
    /// The verdict.
    pub(super) plan: Arc<Plan>,
    /// What the verdict was based on.
    pub(super) basis: Basis,
    /// The token that it gives; its text is a stand-in.
    pub(super) token: Option<Arc<Given>>,
}

impl std::fmt::Debug for Statement {
    /// Leaves its texts out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Statement")
            .field("server_name", &self.server_name)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Statement {
    /// The text that the server has.
    pub(super) fn sent(&self) -> &str {
        self.rewritten.as_deref().unwrap_or(&self.text)
    }
}

/// Something that takes room while it has a name.
trait Held {
    fn bytes(&self) -> usize;
}

impl Held for Arc<Statement> {
    fn bytes(&self) -> usize {
        let rewritten = self.rewritten.as_ref().map_or(0, |text| text.len());
        ENTRY_BYTES + self.text.len() + rewritten + size_of_val(&*self.declared)
    }
}

impl Held for Portal {
    /// The statement may have no other name any more.
    fn bytes(&self) -> usize {
        ENTRY_BYTES + self.statement.bytes()
    }
}

#[derive(Debug, Clone)]
struct Portal {
    statement: Arc<Statement>,
    /// The transaction, counted by Sync and Query messages, that it was made in.
    made_in: u64,
}

/// A map whose empty key, the common one, needs no hashing.
#[derive(Debug)]
struct Named<T> {
    unnamed: Option<T>,
    named: HashMap<Box<[u8]>, T>,
    /// What the named ones hold.
    bytes: usize,
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self {
            unnamed: None,
            named: HashMap::new(),
            bytes: 0,
        }
    }
}

impl<T: Held> Named<T> {
    fn get(&self, name: &[u8]) -> Option<&T> {
        if name.is_empty() {
            self.unnamed.as_ref()
        } else {
            self.named.get(name)
        }
    }

    fn replace(&mut self, name: &[u8], value: Option<T>) -> Option<T> {
        if name.is_empty() {
            return std::mem::replace(&mut self.unnamed, value);
        }
        let held = |value: &T| name.len() + value.bytes();
        self.bytes += value.as_ref().map_or(0, held);
        let before = match value {
            Some(value) => self.named.insert(name.into(), value),
            None => self.named.remove(name),
        };
        self.bytes -= before.as_ref().map_or(0, held);
        before
    }

    /// Puts other named ones in the place of these.
    fn replace_named(&mut self, named: HashMap<Box<[u8]>, T>) -> HashMap<Box<[u8]>, T> {
        let before = std::mem::replace(&mut self.named, named);
        self.weigh();
        before
    }

    fn retain_named(&mut self, keep: impl Fn(&T) -> bool) {
        if !self.named.is_empty() {
            self.named.retain(|_, value| keep(value));
            self.weigh();
        }
    }

    fn weigh(&mut self) {
        let held = self.named.iter().map(|(name, it)| name.len() + it.bytes());
        self.bytes = held.sum();
    }
}

/// What it takes to undo a change.
#[derive(Debug)]
pub(super) struct Change(Undo);

#[derive(Debug)]
enum Undo {
    Statement(Box<[u8]>, Option<Arc<Statement>>),
    /// With the transaction that the message belongs to.
    Portal(Box<[u8]>, Option<Portal>, u64),
    Prepared(Box<[u8]>, Option<Arc<Statement>>),
    All {
        statements: HashMap<Box<[u8]>, Arc<Statement>>,
        prepared: HashMap<Box<[u8]>, Arc<Statement>>,
    },
    Both(Box<(Undo, Undo)>),
    Steps(Steps),
}

/// The changes of a message of several statements, each with the statement that makes it. Those of statements that
/// were done stay: PREPARE and DEALLOCATE are no part of a transaction.
#[derive(Debug)]
struct Steps {
    done: usize,
    left: VecDeque<(usize, Undo)>,
}

impl Change {
    /// Whether it is one of statements, which outlive their transaction.
    pub(super) fn is_of_statements(&self) -> bool {
        fn is(undo: &Undo) -> bool {
            match undo {
                Undo::Portal(..) => false,
                Undo::Statement(..) | Undo::Prepared(..) | Undo::All { .. } | Undo::Steps(_) => {
                    true
                }
                Undo::Both(both) => is(&both.0) || is(&both.1),
            }
        }
        is(&self.0)
    }

    /// Whether a name of SQL may be there although the message has failed: the server gives it before it ends the
    /// transaction, which may fail, too.
    pub(super) fn may_leave_a_name(&self) -> bool {
        fn may(undo: &Undo) -> bool {
            match undo {
                Undo::Both(both) => may(&both.0) || may(&both.1),
                Undo::Steps(steps) => !steps.left.is_empty(),
                _ => false,
            }
        }
        may(&self.0)
    }

    /// A message that has changed two things.
    pub(super) fn and(self, then: Self) -> Self {
        Self(Undo::Both(Box::new((self.0, then.0))))
    }

    /// A message whose statements have changed this, in order.
    pub(super) fn of_steps(changes: impl IntoIterator<Item = (usize, Self)>) -> Self {
        let left = changes.into_iter().map(|(step, it)| (step, it.0));
        let left = left.collect();
        Self(Undo::Steps(Steps { done: 0, left }))
    }

    /// One more statement of the message was done. Gives whether it is a message whose statements are counted.
    pub(super) fn step_done(&mut self) -> bool {
        fn done(undo: &mut Undo) -> bool {
            match undo {
                Undo::Both(both) => done(&mut both.0) || done(&mut both.1),
                Undo::Steps(steps) => {
                    steps.done += 1;
                    let is_done = |(step, _): &(usize, Undo)| *step < steps.done;
                    while steps.left.front().is_some_and(is_done) {
                        steps.left.pop_front();
                    }
                    true
                }
                _ => false,
            }
        }
        done(&mut self.0)
    }
}

/// The maps.
#[derive(Debug, Default)]
pub(super) struct Names {
    statements: Named<Arc<Statement>>,
    /// Those of SQL's PREPARE, which have the client's name on the server too.
    prepared: Named<Arc<Statement>>,
    portals: Named<Portal>,
    given: u64,
}

impl Names {
    /// A name on the server that no statement of this session ever had.
    pub(super) fn fresh(&mut self) -> Name {
        self.given += 1;
        Name::numbered(self.given)
    }

    /// Why they exist on one server connection only.
    pub(super) fn pins(&self) -> Option<Pin> {
        (!self.prepared.named.is_empty()).then_some(Pin::Prepare)
    }

    /// The statement of a name.
    pub(super) fn statement(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.statements.get(name)
    }

    /// Makes, replaces or closes a statement.
    pub(super) fn set_statement(
        &mut self,
        name: &[u8],
        statement: Option<Arc<Statement>>,
    ) -> Change {
        let before = self.statements.replace(name, statement);
        Change(Undo::Statement(name.into(), before))
    }

    /// The statement that SQL's PREPARE gave a name.
    pub(super) fn prepared(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.prepared.get(name)
    }

    /// Makes or drops a statement of SQL's PREPARE.
    pub(super) fn set_prepared(
        &mut self,
        name: &[u8],
        statement: Option<Arc<Statement>>,
    ) -> Change {
        let before = self.prepared.replace(name, statement);
        Change(Undo::Prepared(name.into(), before))
    }

    /// Whether a statement of either kind has the name: they share one space of names.
    pub(super) fn is_taken(&self, name: &[u8]) -> bool {
        self.statements.get(name).is_some() || self.prepared.get(name).is_some()
    }

    /// Whether the session holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.statements.bytes + self.prepared.bytes + self.portals.bytes >= HELD_BYTES_MAX
    }

    /// Closes all named statements (DEALLOCATE ALL leaves the unnamed one).
    pub(super) fn close_all(&mut self) -> Change {
        Change(Undo::All {
            statements: self.statements.replace_named(HashMap::new()),
            prepared: self.prepared.replace_named(HashMap::new()),
        })
    }

    /// The statement behind a portal.
    pub(super) fn portal(&self, name: &[u8]) -> Option<&Arc<Statement>> {
        self.portals.get(name).map(|portal| &portal.statement)
    }

    /// Makes or replaces a portal.
    pub(super) fn open_portal(
        &mut self,
        name: &[u8],
        statement: Arc<Statement>,
        made_in: u64,
    ) -> Change {
        let portal = Portal { statement, made_in };
        let before = self.portals.replace(name, Some(portal));
        Change(Undo::Portal(name.into(), before, made_in))
    }

    /// Closes a portal, in a transaction counted like those of portals.
    pub(super) fn close_portal(&mut self, name: &[u8], closed_in: u64) -> Change {
        let before = self.portals.replace(name, None);
        Change(Undo::Portal(name.into(), before, closed_in))
    }

    /// Whether a portal was made behind the Sync of that transaction: what happened to one of its name before is
    /// over. (Portals end with their transaction, and in a block that has failed none can be used.)
    fn is_later(&self, name: &[u8], transaction: u64) -> bool {
        let portal = self.portals.get(name);
        portal.is_some_and(|portal| portal.made_in > transaction)
    }

    /// A transaction has ended: portals made up to it are gone.
    pub(super) fn end_transaction(&mut self, transaction: u64) {
        if let Some(portal) = &self.portals.unnamed
            && portal.made_in <= transaction
        {
            self.portals.unnamed = None;
        }
        let later = |portal: &Portal| portal.made_in > transaction;
        self.portals.retain_named(later);
    }

    /// The server has skipped the message: all is as it was before.
    pub(super) fn undo(&mut self, change: Change) {
        match change.0 {
            Undo::Statement(name, before) => drop(self.statements.replace(&name, before)),
            Undo::Portal(name, _, transaction) if self.is_later(&name, transaction) => {}
            Undo::Portal(name, before, _) => drop(self.portals.replace(&name, before)),
            Undo::Prepared(name, before) => {
                drop(self.set_prepared(&name, before));
            }
            Undo::All {
                statements,
                prepared,
            } => {
                self.statements.replace_named(statements);
                self.prepared.replace_named(prepared);
            }
            Undo::Both(both) => {
                self.undo(Change(both.1));
                self.undo(Change(both.0));
            }
            Undo::Steps(steps) => {
                for (_, undo) in steps.left.into_iter().rev() {
                    self.undo(Change(undo));
                }
            }
        }
    }

    /// The server has refused the message. The unnamed statement or portal that it was to replace
    /// is gone all the same; a name that was taken keeps what it had.
    pub(super) fn fail(&mut self, change: Change) {
        match change.0 {
            Undo::Statement(name, _) if name.is_empty() => self.statements.unnamed = None,
            Undo::Portal(name, _, transaction) if self.is_later(&name, transaction) => {}
            Undo::Portal(name, ..) if name.is_empty() => self.portals.unnamed = None,
            Undo::Both(both) => {
                self.fail(Change(both.1));
                self.fail(Change(both.0));
            }
            undo => self.undo(Change(undo)),
        }
    }

    /// The server has refused a Query: the unnamed statement, which it has dropped before anything else, may have
    /// been made again since.
    pub(super) fn fail_query(&mut self, change: Change) {
        match change.0 {
            Undo::Statement(name, _) if name.is_empty() => {}
            Undo::Both(both) => {
                self.fail(Change(both.1));
                self.fail_query(Change(both.0));
            }
            undo => self.fail(Change(undo)),
        }
    }

    /// The client's name of a statement that the server calls so.
    pub(super) fn client_name(&self, server_name: &str) -> Option<&[u8]> {
        let is_it = |statement: &Statement| &*statement.server_name == server_name;
        let mut named = self.statements.named.iter();
        if let Some((name, _)) = named.find(|(_, statement)| is_it(statement)) {
            return Some(name);
        }
        let unnamed = self.statements.unnamed.as_ref();
        unnamed.is_some_and(|it| is_it(it)).then_some(&[])
    }
}

#[cfg(test)]
mod tests;
