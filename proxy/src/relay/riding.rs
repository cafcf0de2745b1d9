//! Waiting for the answer to a short read on a server connection that others wait on, too.
//!
//! What is sent behind others' reads stays in the client's buffer until something of its answer has
//! come: where that takes too long, or the connection is lost before, it is sent again elsewhere.

use std::sync::Arc;
use std::task::{Context, Poll};

use super::frames::{self, Ends};
use super::{Event, OUTPUT_BYTES_MAX, Relay};
use crate::pool::{Ride, Turn};
use crate::session::Stop;

/// A place on a line.
#[derive(Debug)]
pub(super) struct Riding {
    ride: Ride,
    /// How much of the client's buffer was sent; 0 when it can't be sent again.
    bytes: usize,
}

impl Relay {
    /// The client has got no half of a message.
    pub(super) fn between_frames(&self) -> bool {
        let riding = self.riding.as_ref();
        self.passing == 0 && riding.is_none_or(|riding| riding.ride.between_frames())
    }

    /// Leaves the server connection to others, if what is about to be sent is a short read, and all
    /// that the session does there.
    pub(super) fn depart(&mut self) {
        let Some(lease) = &mut self.server else {
            return;
        };
        if self.way.replicas.is_some() || !self.way.pool.has_lines() {
            return;
        }
        let unsent = lease.has_output() && lease.inbox().is_empty() && self.passing == 0;
        if !unsent || lease.mark().is_retired() {
            return;
        }
        let Some(shape) = self.session.departs() else {
            return;
        };
        // A cancel that is on its way to the connection must meet nobody else.
        if !self.cancel.slot().leave() {
            return;
        }
        if let Some(mut lease) = self.server.take() {
            self.session.detach(lease.carried());
            self.ride(self.way.pool.launch(lease, shape), 0);
        }
    }

    /// Sends what waits behind others' reads, if it is a short read, and there is a line for it; one
    /// that is as good as a connection of its own, unless there is none.
    pub(super) fn board(&mut self, at_any_rate: bool) -> bool {
        if self.recalled || self.way.replicas.is_some() || !self.way.pool.has_lines() {
            return false;
        }
        let Some(setup) = self.session.setup().cloned() else {
            return false;
        };
        if !self.way.pool.may_board(at_any_rate) {
            return false;
        }
        let Some(read) = self.session.short_read(self.from_client.rest()) else {
            return false;
        };
        let Self {
            session,
            from_client,
            ..
        } = self;
        let batch = from_client.rest().get(..read.bytes).unwrap_or_default();
        let generation = session.generation();
        let parameters = Arc::clone(&self.way.parameters);
        let fits = |lease: &mut crate::pool::Lease| {
            let same = lease.asked_for(&parameters);
            let carried = lease.carried();
            same && carried.carries(&setup)
                && carried.generation == generation
                && read.is_ready(carried)
        };
        let pool = Arc::clone(&self.way.pool);
        let ride = pool.board(at_any_rate, read.shape, fits, |lease| {
            let (said, sent) = (session.output().len(), lease.outbox().bytes().len());
            session.attach(lease.carried(), false);
            let whole = session.send_batch(batch, lease.outbox());
            let departs = whole && session.departs().is_some();
            if !departs {
                tracing::debug!("what looked like a short read is none");
                session.recall();
                session.output().truncate(said);
                lease.outbox().truncate(sent);
            }
            session.detach(lease.carried());
            if !departs {
                // What was to be put in force was not sent: nobody is to believe that it is.
                lease.carried().setup = None;
            }
            departs
        });
        let Some(ride) = ride else {
            return false;
        };
        self.wanting = false;
        self.ride(ride, read.bytes);
        true
    }

    fn ride(&mut self, ride: Ride, bytes: usize) {
        if let Some(place) = ride.place() {
            self.cancel.slot().share(place);
        }
        self.riding = Some(Riding { ride, bytes });
    }

    /// Works off what has come of the answer.
    pub(super) fn work_off_ride(&mut self) -> Result<bool, Stop> {
        let Self {
            session,
            riding: Some(riding),
            held,
            ..
        } = self
        else {
            return Ok(false);
        };
        let mut unread = false;
        let outcome = riding.ride.work_off(|bytes, passing| {
            let (worked, result) = frames::relay(bytes, session, passing, Ends::Settled);
            unread = worked < bytes.len();
            (worked, result.map(|()| worked > 0))
        });
        let Some(outcome) = outcome else {
            return Ok(false);
        };
        let settled = session.is_settled();
        *held = session.output().len() >= OUTPUT_BYTES_MAX && unread && !settled;
        if session.take_distrust() {
            riding.ride.distrust();
        }
        let worked = outcome.inspect_err(|_| riding.ride.condemn())?;
        if settled && let Some(riding) = self.riding.take() {
            if self.session.begins_anew() {
                self.cancel.slot().move_on();
                riding.ride.finish();
                self.from_client.rewind();
                (self.wanting, self.recalled) = (true, true);
            } else {
                self.cancel.slot().detach();
                riding.ride.finish();
                self.from_client.advance(riding.bytes);
                (self.losses, self.recalled) = (0, false);
            }
        }
        Ok(worked)
    }

    /// Moves bytes of the ride; gives what has become of it, if anything.
    pub(super) fn poll_ride(&mut self, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        let reads = !self.held && self.session.output().len() < OUTPUT_BYTES_MAX;
        let Some(riding) = &mut self.riding else {
            return Poll::Pending;
        };
        match std::task::ready!(riding.ride.poll_io(cx, reads)) {
            Turn::Moved => Poll::Ready(None),
            Turn::Lost if riding.bytes == 0 || riding.ride.heard() => {
                Poll::Ready(Some(Event::ServerGone))
            }
            Turn::Lost | Turn::Left => {
                self.cancel.slot().move_on();
                self.riding = None;
                self.session.recall();
                (self.wanting, self.recalled) = (true, true);
                Poll::Ready(None)
            }
        }
    }
}
