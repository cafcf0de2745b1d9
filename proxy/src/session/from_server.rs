//! Messages of the server.

use pgwarden_policy::copy::Guard;
use pgwarden_policy::{Effect, Plan};

use super::ahead::Ahead;
use super::names::Change;
use super::queue::{Expect, Pending};
use super::sharing::Replay;
use super::unread::makes_lasting;
use super::{Copy, Passed, Session, Skip, Stop};
use crate::wire::{Report, answer};

impl Session {
    /// Whether [`Session::server_message`] needs the whole message. Of all others it looks at the
    /// type only, so that they are relayed while they still come in.
    pub(crate) fn needs_body(&self, tag: u8) -> bool {
        let own = || {
            self.queue.front().is_some_and(|it| {
                it.expect.is_own()
                    || matches!(
                        it.expect,
                        Expect::Deallocate
                            | Expect::Parts
                            | Expect::DeallocateExecute
                            | Expect::Parsed
                            | Expect::Tried
                            | Expect::Prepare
                            | Expect::Evict
                    )
            })
        };
        match tag {
            b't' | b'E' | b'N' | b'Z' | b'C' | b'S' | b'G' | b'1' | b'2' | b'n' => true,
            b'A' => self.sharing.is_some(),
            _ => own(),
        }
    }

    /// A message of the server.
    pub(crate) fn server_message(&mut self, tag: u8, body: &[u8]) -> Result<Passed, Stop> {
        match tag {
            b'N' => return self.notice(body),
            b'A' => return self.notified(body),
            b'S' => {
                let passed = parameter_status(body)?;
                self.era.touch();
                let muted = self.sharing.as_ref().is_some_and(|it| it.muted);
                return Ok(if muted { Passed::Done } else { passed });
            }
            b'E' => return self.error(body),
            _ => {}
        }
        if tag == b't' && self.hold_description(body) {
            return Ok(Passed::Done);
        }
        self.trial_succeeds();
        let Some(front) = self.queue.front() else {
            return Err(Stop::desynchronised());
        };
        if tag != b'Z' && front.refused.is_some() {
            // The server has accepted what it must refuse.
            return Err(Stop::desynchronised());
        }
        let expect = front.expect;
        if expect.is_own() {
            return self.own_reply(tag, expect, body);
        }
        match (tag, expect) {
            (b'D', Expect::Spread) => Ok(Passed::AsIs),
            (b'T', Expect::Spread) => Ok(Passed::AsIs),
            (b'1' | b'2' | b'n', Expect::Spread) => Ok(Passed::Done),
            (b'2', Expect::Looked) => {
                self.lookup_succeeds();
                Ok(Passed::Done)
            }
            (b'T' | b'D', Expect::Looked) => Ok(Passed::AsIs),
            (b'D' | b'd' | b'c', Expect::Query | Expect::Execute) => Ok(Passed::AsIs),
            (b'T' | b'I' | b'H', Expect::Query) => Ok(Passed::AsIs),
            (b'H', Expect::Execute) => Ok(Passed::AsIs),
            (b'G', Expect::Query | Expect::Execute) => self.copy_in(body),
            (b'1' | b'2', Expect::Parts) => Ok(Passed::Done),
            (
                b'C',
                Expect::Query | Expect::Spread | Expect::Looked | Expect::Parts | Expect::Execute,
            ) => self.complete(expect, body),
            (b'1', Expect::Parse)
            | (b'2', Expect::Bind)
            | (b'3', Expect::Close)
            | (b's' | b'I', Expect::Execute)
            | (b'T' | b'n', Expect::DescribePortal | Expect::DescribeStatement { .. }) => {
                self.finish();
                Ok(Passed::AsIs)
            }
            (b't', Expect::DescribeStatement { hidden: 0 }) => Ok(Passed::AsIs),
            (b't', Expect::DescribeStatement { hidden }) => {
                answer::parameter_description(&mut self.to_client, body, hidden)
                    .ok_or_else(Stop::desynchronised)?;
                Ok(Passed::Done)
            }
            (b'1', Expect::Prepare) | (b'3', Expect::Evict) => {
                self.finish();
                Ok(Passed::Done)
            }
            (b'3', Expect::Parsed) => {
                answer::message(&mut self.to_client, b'1', |_| {});
                self.finish();
                Ok(Passed::Done)
            }
            (b'3', Expect::Deallocate | Expect::Parts) => {
                answer::command_complete(&mut self.to_client, "DEALLOCATE");
                Ok(Passed::Done)
            }
            (b'3', Expect::DeallocateExecute) => {
                answer::command_complete(&mut self.to_client, "DEALLOCATE");
                self.finish();
                Ok(Passed::Done)
            }
            (
                b'Z',
                Expect::Query
                | Expect::Spread
                | Expect::Looked
                | Expect::Parts
                | Expect::Sync
                | Expect::Deallocate,
            ) => self.ready(body),
            _ => Err(Stop::desynchronised()),
        }
    }

    /// A reply that the client must not see.
    fn own_reply(&mut self, tag: u8, expect: Expect, body: &[u8]) -> Result<Passed, Stop> {
        match (tag, expect) {
            (b'1' | b'2', Expect::Own) => return Ok(Passed::Done),
            (b'D', Expect::Own) => {
                self.take_facts(body)?;
                return Ok(Passed::Done);
            }
            (b'C', Expect::Own) => self.known.answer(),
            (b'1' | b'2', Expect::OwnTemporaries) => return Ok(Passed::Done),
            (b'D', Expect::OwnTemporaries) => {
                self.take_temporaries(body)?;
                return Ok(Passed::Done);
            }
            (b'C', Expect::OwnTemporaries) => {}
            (b'D', Expect::OwnWritten) => {
                self.take_written(body)?;
                return Ok(Passed::Done);
            }
            (b'C', Expect::OwnWritten) => {}
            (b'1' | b'2', Expect::OwnWritten | Expect::OwnCatalog) => return Ok(Passed::Done),
            (b'D', Expect::OwnCatalog) => {
                self.take_object(body)?;
                return Ok(Passed::Done);
            }
            (b'C', Expect::OwnCatalog) => self.take_catalog(),
            (b'3', Expect::OwnClose) | (b'1', Expect::OwnPrepare) => {}
            (b'D', Expect::OwnSettings) => {
                self.take_settings(body)?;
                return Ok(Passed::Done);
            }
            (b'1' | b'2', Expect::OwnSettings)
            | (b'1' | b'2' | b'D', Expect::OwnReplay)
            | (b'C' | b'D' | b'T', Expect::OwnQuery) => return Ok(Passed::Done),
            (b'C', Expect::OwnReplay | Expect::OwnSettings) => {}
            (b'Z', Expect::OwnQuery) if body == b"I" => {}
            (b'Z', Expect::OwnSync) => {
                self.status = status(body)?;
                if let Some(sharing) = &mut self.sharing {
                    (sharing.muted, sharing.replay) = (false, Replay::No);
                }
            }
            _ => return Err(Stop::desynchronised()),
        }
        self.queue.pop();
        Ok(Passed::Done)
    }

    fn copy_in(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        if self.copy != Copy::Awaited {
            // Messages sent since would be read as data.
            return Err(Stop::desynchronised());
        }
        let Some(plan) = self.queue.front().and_then(|front| front.plan.as_ref()) else {
            return Err(Stop::desynchronised());
        };
        let added = plan.rows.as_ref().map_or(0, |rows| rows.fills.len());
        // A refusal comes with the first data: to the server nothing can be said from here.
        self.rows = Guard::new(plan, &self.judging.access().values).map_err(Box::new);
        self.copy = Copy::In;
        if added == 0 {
            return Ok(Passed::AsIs);
        }
        answer::copy_in_response(&mut self.to_client, body, added)
            .ok_or_else(Stop::desynchronised)?;
        Ok(Passed::Done)
    }

    /// CommandComplete.
    fn complete(&mut self, expect: Expect, body: &[u8]) -> Result<Passed, Stop> {
        let tag = body.strip_suffix(&[0]).unwrap_or(body);
        let dropped = tag == b"DISCARD ALL" || tag == b"DEALLOCATE ALL";
        if dropped {
            self.prepared.clear();
        }
        if let Some(front) = self.queue.front_mut() {
            let counted = front.change.as_mut().is_some_and(Change::step_done);
            if dropped && !counted {
                // No error of the same message brings them back.
                front.change = None;
            }
        }
        // A savepoint or a transaction has ended: with it what was set in it.
        if self.known.in_transaction && (tag == b"ROLLBACK" || tag == b"COMMIT") {
            self.known.lose();
        }
        if tag == b"ROLLBACK" || tag == b"COMMIT" {
            self.transaction_turned();
        }
        if changes_catalog(tag) {
            self.changes_catalog = true;
            let plan = self.queue.front().and_then(|front| front.plan.as_deref());
            if plan.is_some_and(makes_lasting) {
                self.makes_lasting = true;
                self.note_own_ddl(tag);
            }
        }
        if (tag == b"COMMIT" || tag == b"ROLLBACK")
            && let Some(front) = self.queue.front_mut()
        {
            // Among several statements nobody can tell which one the tag belongs to.
            let goes_on =
                |plan: &Plan| plan.statements == 1 && plan.effects.contains(&Effect::RollbackTo);
            front.ends |= !front.plan.as_ref().is_some_and(|plan| goes_on(plan));
        }
        if let Some(front) = self.queue.front_mut()
            && front.started.is_some()
        {
            front.rows = rows(tag);
        }
        match expect {
            Expect::Execute => self.finish(),
            // More statements may follow, a COPY among them; data of the last one is over.
            _ if self.copy == Copy::In => self.copy = Copy::Awaited,
            _ => {}
        }
        Ok(Passed::AsIs)
    }

    /// The front's replies are complete.
    fn finish(&mut self) {
        if let Some(pending) = self.queue.pop() {
            self.finished(&pending);
        }
    }

    /// What follows from the end of a message's replies, good or bad.
    pub(super) fn finished(&mut self, pending: &Pending) {
        if pending.unsettles {
            self.known.lose();
            self.known.in_transaction = true;
        }
        self.end_copy();
        if let Some(started) = pending.started {
            self.record_end(pending, started, pending.sqlstate.as_deref());
        }
        if pending.ends {
            self.end_tenant();
        }
        if let Some(given) = &pending.token {
            self.adopt(given);
        }
    }

    /// A COPY is the last message that was sent, since those behind it wait: while something is owed, it is,
    /// too, whatever became of what came before it.
    fn end_copy(&mut self) {
        if self.queue.is_empty() {
            self.copy = Copy::No;
        }
    }

    /// ReadyForQuery.
    fn ready(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        self.status = status(body)?;
        let Some(mut pending) = self.queue.pop() else {
            return Err(Stop::desynchronised());
        };
        (self.known.retries, self.known.awaited) = (0, false);
        if std::mem::take(&mut self.known.ahead) == Ahead::Followed {
            // Nothing has failed: the claims are in force, as far as the transaction is not open.
            pending.unsettles = false;
            self.known.in_transaction = self.status != b'I';
        }
        self.finished(&pending);
        if self.status == b'I' {
            if let Some(sharing) = &mut self.sharing {
                sharing.halted = false;
            }
            self.end_tenant();
            self.end_uncommitted();
            if std::mem::take(&mut self.changes_catalog) {
                self.ddl_has_ended();
            }
            self.names.end_transaction(pending.transaction);
            let asks = self.sharing.as_ref().is_some_and(|sharing| sharing.asks);
            if std::mem::take(&mut self.known.in_transaction) || asks {
                self.known.lose();
            }
        }
        Ok(Passed::AsIs)
    }

    /// The server has answered the front with an error.
    pub(super) fn fail_front(&mut self) {
        let expect = self.queue.front().map(|front| front.expect);
        if expect.is_some_and(Expect::is_extended) {
            let (front, synced) = self.queue.fail(&mut self.names, &mut self.prepared);
            self.end_copy();
            // Also behind a Query, which ends no pipeline: the server skips it, too.
            if !synced {
                self.skip = Skip::Server;
                self.pipeline_open = true;
            }
            if let Some(front) = front {
                self.finished(&front);
            }
        } else if matches!(
            expect,
            Some(Expect::Query | Expect::Spread | Expect::Looked | Expect::Parts)
        ) {
            // What the client still sends for the COPY is left to be ignored.
            if self.queue.pending().nth(1).is_none() {
                self.copy = Copy::No;
            }
            let front = self.queue.front_mut();
            if let Some(change) = front.and_then(|front| front.change.take()) {
                if let Some(sharing) = &mut self.sharing {
                    sharing.soiled |= change.may_leave_a_name();
                }
                self.names.fail_query(change);
            }
        }
    }
}

fn status(body: &[u8]) -> Result<u8, Stop> {
    match body {
        [status @ (b'I' | b'T' | b'E')] => Ok(*status),
        _ => Err(Stop::desynchronised()),
    }
}

/// Whether the statement with this tag may have changed the catalogue; others see it when its
/// transaction has ended.
fn changes_catalog(tag: &[u8]) -> bool {
    let word = tag.split(|byte| *byte == b' ').next().unwrap_or_default();
    matches!(
        word,
        b"CREATE" | b"ALTER" | b"DROP" | b"GRANT" | b"REVOKE" | b"CALL" | b"DO" | b"IMPORT"
    )
}

/// The last word of a tag such as `INSERT 0 5`.
fn rows(tag: &[u8]) -> Option<u64> {
    let last = tag.rsplit(|byte| *byte == b' ').next()?;
    std::str::from_utf8(last).ok()?.parse().ok()
}

/// Under another encoding, or with other string literals, the server would read other statements
/// than the engine does. Nothing that is let through changes them; should it happen all the same,
/// the session ends.
fn parameter_status(body: &[u8]) -> Result<Passed, Stop> {
    let mut parts = body.split(|byte| *byte == 0);
    let fixed: &[&[u8]] = match parts.next() {
        // The server keeps the one other name of UTF8 that it does not spell in its own way.
        Some(b"client_encoding") => &[b"UTF8", b"UNICODE"],
        Some(b"standard_conforming_strings") => &[b"on"],
        _ => return Ok(Passed::AsIs),
    };
    if parts.next().is_some_and(|value| fixed.contains(&value)) {
        return Ok(Passed::AsIs);
    }
    tracing::error!("the server's client_encoding or standard_conforming_strings has changed");
    let message = "pgwarden: client_encoding and standard_conforming_strings must not change";
    Err(Stop::Fatal(Report::fatal("08006", message)))
}
