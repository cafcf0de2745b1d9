//! The messages whose replies the server still owes, in order.
//!
//! A message of five bytes takes forty times that here until it is answered, a Parse its text and
//! what was made of it, while the server keeps small answers back. So there is an end to what is owed at once: behind
//! it the client is not read until all of it was answered.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Plan, StatementKind};

use super::given::Given;
use super::names::{Change, Names, Statement};
use crate::pool::Prepared;
use crate::wire::Report;

/// What is remembered of outstanding messages takes so many bytes, and a last message's, at most.
const HELD_BYTES_MAX: usize = 1 << 20;

/// An empty queue keeps room for so many messages.
const KEPT_MESSAGES: usize = 64;

/// Which replies belong to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expect {
    /// Query: everything up to ReadyForQuery.
    Query,
    /// A Query that was sent as messages of the extended protocol, up to ReadyForQuery.
    Spread,
    /// A Query that was sent as a Bind of a prepared statement, up to ReadyForQuery.
    Looked,
    /// A Query of several statements, sent as messages of the extended protocol, up to ReadyForQuery.
    Parts,
    /// Parse.
    Parse,
    /// Bind.
    Bind,
    /// Describe of a statement with that many hidden parameters.
    DescribeStatement {
        /// How many of the last types the client must not see.
        hidden: usize,
    },
    /// Describe of a portal.
    DescribePortal,
    /// Execute.
    Execute,
    /// Close.
    Close,
    /// Sync: ReadyForQuery.
    Sync,
    /// A Query DEALLOCATE, sent as Close and Sync.
    Deallocate,
    /// An Execute of DEALLOCATE, sent as Close.
    DeallocateExecute,
    /// Parse of what the server has already, sent as Close.
    Parsed,
    /// Parse of what the server has already, not sent: the message behind it answers for both.
    Tried,
    /// A Parse of our own, before a message that needs it; its error is that message's.
    Prepare,
    /// A Close of our own, skipped like the messages around it.
    Evict,
    /// Our own statement, up to CommandComplete; the client knows nothing of it.
    Own,
    /// Our question for temporary relations, up to CommandComplete.
    OwnTemporaries,
    /// Our question whether the transaction has changed the catalogue.
    OwnWritten,
    /// Our question for the catalogue, up to CommandComplete.
    OwnCatalog,
    /// A Parse of our own statement.
    OwnPrepare,
    /// A Close of our own.
    OwnClose,
    /// A Sync of our own.
    OwnSync,
    /// A Query of our own, up to ReadyForQuery.
    OwnQuery,
    /// A statement of our own whose answer says nothing.
    OwnReplay,
    /// Our question for settings and cursors.
    OwnSettings,
}

impl Expect {
    /// Whether an error makes the server skip everything up to the next Sync.
    pub(super) fn is_extended(self) -> bool {
        match self {
            Self::Parse
            | Self::Parsed
            | Self::Tried
            | Self::Prepare
            | Self::Evict
            | Self::Bind
            | Self::DescribeStatement { .. }
            | Self::DescribePortal
            | Self::Execute
            | Self::DeallocateExecute
            | Self::Close => true,
            Self::Query
            | Self::Spread
            | Self::Looked
            | Self::Parts
            | Self::Sync
            | Self::Deallocate
            | Self::Own
            | Self::OwnPrepare
            | Self::OwnTemporaries
            | Self::OwnWritten
            | Self::OwnCatalog
            | Self::OwnClose
            | Self::OwnSync
            | Self::OwnQuery
            | Self::OwnReplay
            | Self::OwnSettings => false,
        }
    }

    /// Whether the client knows nothing of it.
    pub(super) fn is_own(self) -> bool {
        matches!(
            self,
            Self::Own
                | Self::OwnPrepare
                | Self::OwnTemporaries
                | Self::OwnWritten
                | Self::OwnCatalog
                | Self::OwnClose
                | Self::OwnSync
                | Self::OwnQuery
                | Self::OwnReplay
                | Self::OwnSettings
        )
    }
}

/// A message whose reply is outstanding.
#[derive(Debug)]
pub(super) struct Pending {
    /// What it is.
    pub(super) expect: Expect,
    /// The verdict on what it runs.
    pub(super) plan: Option<Arc<Plan>>,
    /// The statement that it prepares.
    pub(super) statement: Option<Arc<Statement>>,
    /// The token that it puts in force.
    pub(super) token: Option<Arc<Given>>,
    /// It has ended a transaction.
    pub(super) ends: bool,
    /// The statement that the server has once this is done, or has not.
    pub(super) shared: Option<Arc<str>>,
    /// It stands in for a denied message: the server refuses it, and the client is told this.
    pub(super) refused: Option<Box<Report>>,
    /// What it has changed in the maps.
    pub(super) change: Option<Change>,
    /// After it, claims and facts may be others.
    pub(super) unsettles: bool,
    /// When it came, if it is to be audited.
    pub(super) started: Option<Instant>,
    /// The rows of its CommandComplete.
    pub(super) rows: Option<u64>,
    /// The SQLSTATE that it ended with.
    pub(super) sqlstate: Option<Box<[u8]>>,
    /// Its number among the Sync and Query messages of the session.
    pub(super) transaction: u64,
}

impl Pending {
    /// A message with nothing special about it.
    pub(super) fn new(expect: Expect) -> Self {
        Self {
            expect,
            plan: None,
            statement: None,
            token: None,
            ends: false,
            shared: None,
            refused: None,
            change: None,
            unsettles: false,
            started: None,
            rows: None,
            sqlstate: None,
            transaction: 0,
        }
    }

    /// About how many bytes it takes. Nothing that counts changes while it is in the queue.
    fn held(&self) -> usize {
        let texts =
            |it: &Arc<Statement>| it.text.len() + it.rewritten.as_ref().map_or(0, |it| it.len());
        size_of::<Self>() + self.statement.as_ref().map_or(0, texts)
    }
}

impl Pending {
    /// Whether other statements are there once it is done, for the client or on the server connection.
    fn makes_statements(&self) -> bool {
        let change = self.change.as_ref();
        self.shared.is_some() || change.is_some_and(Change::is_of_statements)
    }

    /// The server has not done it: the maps are as they were before.
    fn undo(self, names: &mut Names, prepared: &mut Prepared) {
        if let Some(name) = self.shared {
            match self.expect {
                Expect::Evict => prepared.restore(name),
                _ => prepared.remove(&name),
            }
        }
        if let Some(change) = self.change {
            names.undo(change);
        }
    }
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pending: VecDeque<Pending>,
    unsettling: usize,
    held: usize,
    draining: bool,
}

impl Queue {
    /// Whether nothing may be sent before what is owed was answered. Once there is too much of it, that
    /// is all of it: the server is asked once for what it keeps back.
    pub(super) fn is_draining(&mut self) -> bool {
        self.draining = !self.pending.is_empty() && (self.draining || self.held >= HELD_BYTES_MAX);
        self.draining
    }

    /// Whether the server owes nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether a pipeline is outstanding that the client has ended, and that makes or closes statements. An
    /// error in it makes the server skip what is left of it, and only then is it known which there are.
    pub(super) fn awaits_pipeline(&self) -> bool {
        let mut makes = false;
        self.pending.iter().any(|pending| {
            makes |= pending.expect.is_extended() && pending.makes_statements();
            makes && pending.expect == Expect::Sync
        })
    }

    /// Whether a transaction may be open behind what is outstanding, and have failed, so that the server skips
    /// nothing and refuses what comes.
    pub(super) fn may_fail_a_transaction(&self, status: u8) -> bool {
        let opens = |plan: &Plan| {
            matches!(
                plan.kind,
                StatementKind::Transaction | StatementKind::Several
            )
        };
        let mut pending = self.pending.iter();
        let ended = |it: &Pending| it.expect == Expect::Sync || !it.expect.is_extended();
        self.any(ended)
            && (status == b'T' || pending.any(|it| it.plan.as_deref().is_some_and(opens)))
    }

    /// Whether a message is outstanding that may change what verdicts depend on.
    pub(super) fn unsettles(&self) -> bool {
        self.unsettling > 0
    }

    /// What all outstanding messages are, in order.
    pub(super) fn expects(&self) -> impl Iterator<Item = Expect> {
        self.pending.iter().map(|pending| pending.expect)
    }

    /// Whether one of the outstanding messages is such.
    pub(super) fn any(&self, is_such: impl Fn(&Pending) -> bool) -> bool {
        self.pending.iter().any(is_such)
    }

    /// Whether the server is to refuse the message so far behind the front.
    pub(super) fn is_refused(&self, at: usize) -> bool {
        let pending = self.pending.get(at);
        pending.is_some_and(|pending| pending.refused.is_some())
    }

    /// Whether all outstanding messages are of a kind.
    pub(super) fn all(&self, kind: impl Fn(Expect) -> bool) -> bool {
        self.pending.iter().all(|pending| kind(pending.expect))
    }

    /// Nobody will answer.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Nothing was answered, and all will be sent again, on another server connection.
    pub(super) fn recall(&mut self, names: &mut Names, prepared: &mut Prepared) {
        while let Some(pending) = self.pending.pop_back() {
            pending.undo(names, prepared);
        }
        (self.unsettling, self.held) = (0, 0);
    }

    /// What all outstanding messages are, in order.
    pub(super) fn pending(&self) -> impl DoubleEndedIterator<Item = &Pending> {
        self.pending.iter()
    }

    /// A message was sent.
    pub(super) fn push(&mut self, pending: Pending) {
        self.unsettling += usize::from(pending.unsettles);
        self.held += pending.held();
        self.pending.push_back(pending);
    }

    /// The message that the next reply belongs to.
    pub(super) fn front(&self) -> Option<&Pending> {
        self.pending.front()
    }

    /// The same, to be changed.
    pub(super) fn front_mut(&mut self) -> Option<&mut Pending> {
        self.pending.front_mut()
    }

    /// The front's replies are complete.
    pub(super) fn pop(&mut self) -> Option<Pending> {
        let pending = self.pending.pop_front()?;
        self.unsettling -= usize::from(pending.unsettles);
        self.held -= pending.held();
        if self.pending.is_empty() && self.pending.capacity() > KEPT_MESSAGES {
            self.pending.shrink_to(KEPT_MESSAGES);
        }
        Some(pending)
    }

    /// The server has answered the front, an extended message, with an error: it skips everything
    /// up to the next Sync. Brings the maps back to what the server has. Gives the front, and
    /// whether that Sync was already sent.
    pub(super) fn fail(
        &mut self,
        names: &mut Names,
        prepared: &mut Prepared,
    ) -> (Option<Pending>, bool) {
        let mut front = self.pop();
        let is_sync = |pending: &Pending| pending.expect == Expect::Sync;
        let sync = self.pending.iter().position(is_sync);
        let end = sync.unwrap_or(self.pending.len());
        for skipped in self.pending.drain(..end).rev() {
            self.unsettling -= usize::from(skipped.unsettles);
            self.held -= skipped.held();
            skipped.undo(names, prepared);
        }
        if let Some(name) = front.as_ref().and_then(|front| front.shared.as_ref()) {
            prepared.remove(name);
        }
        if let Some(change) = front.as_mut().and_then(|front| front.change.take()) {
            names.fail(change);
        }
        (front, sync.is_some())
    }

    /// The server has skipped what is before a message of this kind.
    pub(super) fn skip_to(&mut self, kind: Expect, names: &mut Names, prepared: &mut Prepared) {
        while self.front().is_some_and(|front| front.expect != kind) {
            if let Some(skipped) = self.pop() {
                skipped.undo(names, prepared);
            }
        }
    }

    /// All that is outstanding is taken back, as if it had not been sent. Gives whether it went up
    /// to a Sync, whose answer is ours then.
    pub(super) fn take_back(&mut self, names: &mut Names, prepared: &mut Prepared) -> bool {
        let mut sync = None;
        while let Some(pending) = self.pending.pop_back() {
            if matches!(pending.expect, Expect::Sync | Expect::Looked) {
                sync = Some(pending.transaction);
            }
            pending.undo(names, prepared);
        }
        (self.unsettling, self.held) = (0, 0);
        if let Some(transaction) = sync {
            self.push(Pending {
                transaction,
                ..Pending::new(Expect::OwnSync)
            });
        }
        sync.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(expects: &[Expect]) -> Queue {
        let mut queue = Queue::default();
        for expect in expects {
            let unsettles = *expect == Expect::Execute;
            queue.push(Pending {
                unsettles,
                ..Pending::new(*expect)
            });
        }
        queue
    }

    #[test]
    fn an_error_skips_up_to_the_next_sync() {
        use Expect::*;
        let mut queue = queue(&[Parse, Bind, Execute, Query, Sync, Parse, Execute, Sync]);
        let (front, synced) = queue.fail(&mut Names::default(), &mut Prepared::default());
        assert_eq!(front.map(|it| it.expect), Some(Parse));
        assert!(synced);
        assert_eq!(queue.front().map(|it| it.expect), Some(Sync));
        assert!(queue.unsettles());
        assert_eq!(queue.pending.len(), 4);
    }

    #[test]
    fn a_pipeline_that_makes_statements_is_awaited_from_its_sync_on() {
        use Expect::*;
        let awaits = |expects: &[Expect], makes: usize| {
            let mut names = Names::default();
            let mut queue = queue(expects);
            queue.pending[makes].change = Some(names.set_statement(b"", None));
            queue.awaits_pipeline()
        };
        assert!(!awaits(&[Query, Sync, Parse, Bind, Execute], 2));
        assert!(!awaits(&[Query, Sync, Sync, OwnSync], 0));
        assert!(awaits(&[Parse, Query, Sync], 0));
        assert!(awaits(&[Tried, Bind, Sync, Query], 0));
        assert!(awaits(&[Bind, Close, Sync, Bind, Sync], 1));
        let mut bound = queue(&[Bind, Execute, Sync, Bind, Execute]);
        assert!(!bound.awaits_pipeline());
        bound.pending[0].shared = Some("prepared on the server connection".into());
        assert!(bound.awaits_pipeline());
    }

    #[test]
    fn an_error_without_sync_empties_the_queue() {
        use Expect::*;
        let mut queue = queue(&[Bind, Execute, Execute]);
        let (_, synced) = queue.fail(&mut Names::default(), &mut Prepared::default());
        assert!(!synced && queue.is_empty() && !queue.unsettles());
        assert_eq!(queue.held, 0);
    }

    #[test]
    fn what_is_owed_has_an_end() {
        let mut queue = Queue::default();
        let mut owed = 0;
        while !queue.is_draining() {
            queue.push(Pending::new(Expect::Sync));
            owed += 1;
        }
        assert!(owed * size_of::<Pending>() < HELD_BYTES_MAX + size_of::<Pending>());
        for _ in 1..owed {
            queue.pop();
            assert!(queue.is_draining(), "until the last was answered");
        }
        queue.pop();
        assert!(!queue.is_draining() && queue.held == 0);
        assert!(queue.pending.capacity() <= KEPT_MESSAGES * 2);
    }

    #[test]
    fn what_is_taken_back_leaves_its_sync_to_us() {
        use Expect::*;
        let (mut names, mut prepared) = (Names::default(), Prepared::default());
        let mut unsynced = queue(&[Tried, Bind, Execute]);
        assert!(!unsynced.take_back(&mut names, &mut prepared) && unsynced.is_empty());
        let mut synced = queue(&[Tried, Bind, Execute, Sync]);
        assert!(synced.take_back(&mut names, &mut prepared) && !synced.unsettles());
        assert!(synced.all(|it| it == OwnSync) && !synced.is_empty());
    }
}
