//! Short reads that wait for their answers on a server connection that others wait on, too.
//!
//! In transaction mode, a batch that is one read and nothing else, on a server connection that has
//! all that it needs, changes nothing there: once it is sent, the session can leave the connection
//! to others with the same setup, and only waits for its turn to read (see [`crate::pool::Ride`]).
//! [`Session::short_read`] looks ahead, for a session that has no connection yet; whether what was
//! sent is such a batch is seen by what is owed ([`Session::departs`]).

use std::sync::Arc;

use pgwarden_policy::{Plan, Protocol};

use super::ahead::Ahead;
use super::queue::{Expect, Pending};
use super::reading::looks_like_a_query;
use super::sharing::Sharing;
use super::trial::Trial;
use super::{Copy, Session, Skip, Taken};
use crate::backend::Outbox;
use crate::pool::{self, Carried, Name};
use crate::wire::Reader;
use crate::wire::client::{self, Target};
use crate::wire::frame::{self, HEADER_BYTES};

/// A longer batch waits for a connection of its own: to judge a long text may take a while.
const BATCH_BYTES_MAX: usize = 2 << 10;

/// A batch that is one read.
#[derive(Debug)]
pub(crate) struct ShortRead {
    /// Its shape.
    pub(crate) shape: u64,
    /// How long its messages are.
    pub(crate) bytes: usize,
    /// The statement that the server connection must have.
    statement: Option<Name>,
}

impl ShortRead {
    /// Whether what it needs is prepared.
    pub(crate) fn is_ready(&self, carried: &mut Carried) -> bool {
        let statement = self.statement.as_deref();
        statement.is_none_or(|name| carried.prepared.is_ready(name))
    }
}

impl Session {
    /// The read that a buffer begins with, if it is one and is all there. For a session without a
    /// server connection.
    pub(crate) fn short_read(&mut self, buffer: &[u8]) -> Option<ShortRead> {
        let free = self
            .sharing
            .as_deref()
            .is_some_and(|it| !it.attached && self.is_plain(it));
        if !free || !self.is_idle() || !self.judging.is_current() {
            return None;
        }
        let mut read: Option<(Arc<Plan>, Option<Name>)> = None;
        let (mut rest, mut bytes, mut bound) = (buffer, 0, false);
        loop {
            let header = frame::header(rest).ok()??;
            let body = rest.get(HEADER_BYTES..header.frame())?;
            rest = rest.get(header.frame()..)?;
            bytes += header.frame();
            if bytes > BATCH_BYTES_MAX {
                return None;
            }
            match header.tag {
                b'Q' if read.is_none() => {
                    read = Some(self.read_of(client::query(body).ok()?)?);
                    break;
                }
                b'P' if read.is_none() => {
                    let mut types = std::mem::take(&mut self.types);
                    let parsed = client::parse(body, &mut types).ok();
                    let parsed = parsed.filter(|parse| parse.name.is_empty());
                    read = parsed.and_then(|parse| self.unnamed_read(parse.text, &types));
                    self.types = types;
                    read.as_ref()?;
                }
                b'B' if !bound => {
                    let mut reader = Reader::new(body);
                    reader.string().ok()?;
                    let name = reader.string().ok()?;
                    match &read {
                        Some(_) if name.is_empty() => {}
                        Some(_) => return None,
                        None => read = Some(self.named_read(name)?),
                    }
                    bound = true;
                }
                b'D' if bound => match client::target(body).ok()? {
                    Target::Portal(_) => {}
                    Target::Statement(_) => return None,
                },
                b'E' if bound => {}
                b'S' if bound => break,
                _ => return None,
            }
        }
        let (plan, statement) = read?;
        Some(ShortRead {
            shape: plan.fingerprint,
            bytes,
            statement,
        })
    }

    fn read_of(&mut self, text: &[u8]) -> Option<(Arc<Plan>, Option<Name>)> {
        let text = std::str::from_utf8(text).ok()?;
        if !looks_like_a_query(text) {
            return None;
        }
        let origin = self.origin_of_statements();
        let cleared = self.judging.judge(text, Protocol::Simple, &[]).ok()?;
        let statement = cleared.lookup().map(|lookup| origin.name(lookup));
        changes_nothing(cleared.plan()).then(|| (Arc::clone(cleared.plan()), statement))
    }

    fn unnamed_read(&mut self, text: &[u8], types: &[u32]) -> Option<(Arc<Plan>, Option<Name>)> {
        let text = std::str::from_utf8(text).ok()?;
        if !looks_like_a_query(text) {
            return None;
        }
        let sharing = self.sharing.as_deref()?;
        let under = sharing.under(self.who.session);
        let path = Arc::clone(&sharing.search_path);
        let catalog = (
            self.judging.generation(),
            self.judging.database().ddl_count(),
        );
        let cleared = self.judging.judge(text, Protocol::Extended, types).ok()?;
        if !changes_nothing(cleared.plan()) {
            return None;
        }
        let name = pool::name_of(cleared.text(), types, &path, catalog, under, None);
        Some((Arc::clone(cleared.plan()), Some(name)))
    }

    fn named_read(&mut self, name: &[u8]) -> Option<(Arc<Plan>, Option<Name>)> {
        let statement = self.names.statement(name)?;
        let plan = self.judging.plan_of(statement).ok()?;
        changes_nothing(&plan).then(|| (plan, Some(statement.server_name)))
    }

    /// Sends a batch that was looked at. False when not all of it could be sent.
    pub(crate) fn send_batch(&mut self, batch: &[u8], server: &mut Outbox) -> bool {
        self.boards = true;
        let whole = self.send_messages(batch, server);
        self.boards = false;
        whole
    }

    fn send_messages(&mut self, mut batch: &[u8], server: &mut Outbox) -> bool {
        while let Ok(Some(header)) = frame::header(batch)
            && let Some(body) = batch.get(HEADER_BYTES..header.frame())
        {
            if !matches!(
                self.client_message(header.tag, body, server),
                Ok(Taken::Yes)
            ) {
                return false;
            }
            batch = batch.get(header.frame()..).unwrap_or_default();
        }
        batch.is_empty()
    }

    /// Whether all that is owed is the answer to one read, which leaves the server connection as it
    /// was, and which nothing can follow. Gives its shape.
    pub(crate) fn departs(&self) -> Option<u64> {
        let sharing = self.sharing.as_deref()?;
        let known = &self.known;
        let sure = sharing.attached
            && known.settled
            && known.ahead == Ahead::No
            && !known.in_transaction
            && !known.on_standby
            && self.status == b'I'
            && !self.pipeline_open
            && self.is_plain(sharing);
        if !sure || self.queue.unsettles() {
            return None;
        }
        let mut shape = None;
        let mut owed = self.queue.pending().rev();
        let last = owed.next()?;
        match last.expect {
            Expect::Query | Expect::Looked => shape = Some(shape_of(last)?),
            Expect::Sync if is_untouched(last) => {}
            _ => return None,
        }
        for pending in owed {
            match pending.expect {
                Expect::Execute if shape.is_none() => shape = Some(shape_of(pending)?),
                Expect::Parsed | Expect::Bind | Expect::DescribePortal
                    if is_untouched(pending) && last.expect == Expect::Sync => {}
                _ => return None,
            }
        }
        shape
    }

    /// The state of the catalogue that the session knows.
    pub(crate) fn generation(&self) -> u64 {
        self.judging.generation()
    }

    /// Nothing has been answered: the batch is to be sent again, elsewhere.
    pub(crate) fn recall(&mut self) {
        self.queue.recall(&mut self.names, &mut self.prepared);
        self.trial = Trial::No;
        self.pipeline_open = false;
        self.nudged = false;
        self.skip = Skip::Nothing;
        self.copy = Copy::No;
    }

    /// Whether prepared statements of the server connection that the session rides on have turned
    /// out to be of before some DDL.
    pub(crate) fn take_distrust(&mut self) -> bool {
        let sharing = self.sharing.as_deref_mut();
        sharing.is_some_and(|sharing| std::mem::take(&mut sharing.distrusts))
    }

    /// Whether nothing but the setup ties the session to a server connection.
    fn is_plain(&self, sharing: &Sharing) -> bool {
        !sharing.asks
            && !sharing.restores
            && !sharing.unread
            && !sharing.muted
            && !sharing.soiled
            && sharing.touched.is_empty()
            && !self.known.floats
            && !self.leftover
            && !self.temporaries
            && !self.changes_catalog
            && !self.judging.is_passing()
            && self.unread.is_none()
            && self.skip == Skip::Nothing
            && self.copy == Copy::No
            && self.pinned().is_none()
    }
}

fn changes_nothing(plan: &Plan) -> bool {
    plan.reads_only
        && plan.statements == 1
        && plan.effects.is_empty()
        && plan.observed.is_none()
        && !plan.leaves_traces()
}

fn is_untouched(pending: &Pending) -> bool {
    pending.refused.is_none()
        && pending.shared.is_none()
        && pending.token.is_none()
        && !pending.ends
}

fn shape_of(pending: &Pending) -> Option<u64> {
    let plan = pending.plan.as_ref().filter(|plan| changes_nothing(plan))?;
    is_untouched(pending).then_some(plan.fingerprint)
}
