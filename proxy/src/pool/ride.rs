//! A session's ride on a line: from its read, which was sent behind others', to the end of the answer.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Buf;

use super::Pool;
use super::line::Line;
use crate::backend::{Backend, Shared};
use crate::wire::frame::{self, HEADER_BYTES};

/// What becomes of a ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// There is something of the answer.
    Moved,
    /// The server connection is gone.
    Lost,
    /// It takes too long: the same is to be sent on another connection.
    Left,
}

/// A session's place on a line, up to the end of its answer. When it is dropped before, the answer is
/// read and dropped.
#[derive(Debug)]
pub(crate) struct Ride(Option<Seat>);

#[derive(Debug)]
struct Seat {
    line: Arc<Line>,
    pool: Arc<Pool>,
    number: u64,
    shape: u64,
    /// It was not polled yet: others that are about to be worked off may have something to send, too.
    fresh: bool,
    /// It is the one to send what has gathered, at its second poll.
    sends: bool,
    /// How much of the line's inbox was looked at.
    seen: usize,
    /// How much of a frame is still to come.
    passing: usize,
    /// Something of the answer was looked at.
    heard: bool,
}

impl Ride {
    pub(super) fn new(
        line: Arc<Line>,
        pool: &Arc<Pool>,
        number: u64,
        shape: u64,
        sends: bool,
    ) -> Self {
        Self(Some(Seat {
            line,
            pool: Arc::clone(pool),
            number,
            shape,
            fresh: true,
            sends,
            seen: 0,
            passing: 0,
            heard: false,
        }))
    }

    /// Nobody is likely to send something, too: it does not wait for that.
    pub(super) fn at_once(mut self) -> Self {
        if let Some(seat) = &mut self.0 {
            seat.fresh = false;
        }
        self
    }

    /// What a cancel goes by.
    pub(crate) fn place(&self) -> Option<(Arc<dyn Shared>, u64)> {
        let seat = self.0.as_ref()?;
        Some((Arc::<Line>::clone(&seat.line), seat.number))
    }

    /// Whether anything of the answer has come.
    pub(crate) fn heard(&self) -> bool {
        self.0.as_ref().is_none_or(|seat| seat.heard)
    }

    /// Whether the client can be told something: it has not got half of a message.
    pub(crate) fn between_frames(&self) -> bool {
        self.0.as_ref().is_none_or(|seat| seat.passing == 0)
    }

    /// Writes and reads, as far as it is this session's turn; with `reads` unset nothing is read.
    pub(crate) fn poll_io(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Turn> {
        match &mut self.0 {
            Some(seat) => seat.poll_io(cx, reads),
            None => Poll::Ready(Turn::Lost),
        }
    }

    /// Works off what has come of the answer, if it is this session's turn. `work` gets the bytes, and
    /// how much of a frame is still to come, and gives how many bytes it has worked off.
    pub(crate) fn work_off<T>(
        &mut self,
        work: impl FnOnce(&[u8], &mut usize) -> (usize, T),
    ) -> Option<T> {
        self.0.as_mut()?.work_off(work)
    }

    /// Something that prepared statements depend on has changed.
    pub(crate) fn distrust(&self) {
        if let Some(seat) = &self.0
            && let Some(lease) = &mut seat.line.state().lease
        {
            lease.carried().prepared.distrust();
        }
    }

    /// The server has said what it must not, or that it goes: nobody is to rely on the connection.
    pub(crate) fn condemn(&self) {
        if let Some(seat) = &self.0 {
            seat.line.state().lose();
        }
    }

    /// The answer is complete.
    pub(crate) fn finish(mut self) {
        let Some(seat) = self.0.take() else {
            return;
        };
        let now = Instant::now();
        if let Some(since) = seat.line.state().since {
            let took = now.saturating_duration_since(since);
            seat.pool.lines.paces.note(seat.shape, took);
        }
        seat.leave(now);
    }
}

impl Drop for Ride {
    fn drop(&mut self) {
        let Some(mut seat) = self.0.take() else {
            return;
        };
        // What a client that reads slowly has left in the inbox may be all that there is.
        seat.seen = 0;
        let mut state = seat.line.state();
        let place = state.place(seat.number);
        if let Some(rider) = place.and_then(|place| state.riders.get_mut(place)) {
            rider.gone = true;
        }
        drop(state);
        tokio::spawn(seat.drop_answer());
    }
}

impl Seat {
    fn poll_io(&mut self, cx: &mut Context<'_>, reads: bool) -> Poll<Turn> {
        let mut guard = self.line.state();
        let state = &mut *guard;
        let place = state.place(self.number).filter(|_| !state.lost);
        let (Some(place), Some(lease)) = (place, &mut state.lease) else {
            return Poll::Ready(Turn::Lost);
        };
        if std::mem::take(&mut self.fresh) {
            if self.sends {
                cx.waker().wake_by_ref();
            }
        } else if lease.has_output() {
            // Where that fails, reading tells why.
            let _ = Backend::poll_flush(lease, cx);
        }
        if place == 0 && reads {
            if lease.inbox().len() > self.seen {
                return Poll::Ready(Turn::Moved);
            }
            match Backend::poll_fill(lease, cx) {
                Poll::Ready(Ok(0) | Err(_)) => {
                    state.lose();
                    return Poll::Ready(Turn::Lost);
                }
                Poll::Ready(Ok(_)) => return Poll::Ready(Turn::Moved),
                Poll::Pending => {}
            }
        }
        let Some(rider) = state.riders.get_mut(place) else {
            return Poll::Ready(Turn::Lost);
        };
        if place > 0 && state.closed && !rider.gone {
            return Poll::Ready(Turn::Left);
        }
        match &mut rider.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    fn work_off<T>(&mut self, work: impl FnOnce(&[u8], &mut usize) -> (usize, T)) -> Option<T> {
        let mut state = self.line.state();
        if state.front != self.number || state.lost {
            return None;
        }
        let inbox = state.lease.as_mut()?.inbox();
        if inbox.is_empty() {
            return None;
        }
        let (worked, outcome) = work(inbox, &mut self.passing);
        inbox.advance(worked);
        self.seen = inbox.len();
        self.heard |= worked > 0;
        Some(outcome)
    }

    /// The place is free; the next one's turn has come.
    fn leave(self, now: Instant) {
        let mut guard = self.line.state();
        let state = &mut *guard;
        if state.lost {
            // In any order: nobody waits for an answer.
            state.riders.pop_back();
        } else {
            state.pass_on(now);
        }
        if let Some(next) = state.riders.front_mut() {
            next.wake();
            return;
        }
        let Some(mut lease) = state.lease.take() else {
            return;
        };
        let again = !state.lost && !state.cancelled;
        (state.closed, state.lost, state.cancelled) = (false, false, false);
        drop(guard);
        self.pool.lines.remove(&self.line);
        if again {
            lease.held.line = Some(self.line);
            lease.keep();
        } else {
            tokio::spawn(lease.close());
        }
    }

    /// Reads the answer of who has left.
    async fn drop_answer(mut self) {
        loop {
            let turn = std::future::poll_fn(|cx| self.poll_io(cx, true)).await;
            if turn == Turn::Lost || self.work_off(skip_answer).unwrap_or(false) {
                break;
            }
        }
        self.leave(Instant::now());
    }
}

/// Skips frames up to ReadyForQuery. Gives how many bytes, and whether it was there.
fn skip_answer(bytes: &[u8], passing: &mut usize) -> (usize, bool) {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let pass = (*passing).min(rest.len());
        at += pass;
        *passing -= pass;
        let rest = bytes.get(at..).unwrap_or_default();
        match frame::header(rest) {
            Ok(Some(header)) if *passing == 0 => {
                if header.tag == b'Z' {
                    if rest.len() < header.frame() {
                        return (at, false);
                    }
                    return (at + header.frame(), true);
                }
                at += HEADER_BYTES;
                *passing = header.body;
            }
            _ => return (at, false),
        }
    }
}
