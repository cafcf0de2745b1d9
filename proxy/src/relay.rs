//! Moving bytes between a client and its server connection: one task, both sockets.
//!
//! Frames of the server that nobody looks into are relayed as bytes while they still come in,
//! copied once, many at a time. Either side stops being read while the other has too much to
//! write, so a slow reader never grows memory. Whatever was worked off is written together before
//! anything is waited for.

mod buffers;
mod busy_poll;
mod catch_up;
mod checkout;
mod ending;
mod frames;
mod incoming;
mod news;
mod rarely;
mod riding;

use std::io;
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Buf;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::backend::{Backend, BackendFacts, CancelRegistration, ConnectError, Outbox};
use crate::frontend::{ClientStream, Ended};
use crate::holdings::Holding;
use crate::pool::{Holder, Lease};
use crate::proxy::Drain;
use crate::session::{Session, Stop, Taken};
use crate::wire::Report;
use crate::wire::frame::{self, HEADER_BYTES, Header};

use busy_poll::{Awaited, BusyPoll};
use catch_up::CatchUp;
pub(crate) use checkout::Way;
use checkout::{Checkout, arrival};
use frames::Ends;
use incoming::Incoming;
use news::{News, Newsfeed};
use riding::Riding;

/// A side with so much to write stops the other from being read.
const OUTPUT_BYTES_MAX: usize = 256 << 10;

/// A client that has stopped sending gets its answers for this long.
const HALF_CLOSED_TIME: Duration = Duration::from_secs(5);

/// While another process takes new clients in, a session that was idle for so long is ended: nobody is
/// cut off between its login and its first statement, or between two that follow each other.
const HANDOVER_IDLE: Duration = Duration::from_secs(1);

/// A session and its sockets.
#[derive(Debug)]
pub(crate) struct Relay {
    client: ClientStream,
    from_client: Incoming,
    /// The client sends no more.
    half_closed: bool,
    /// In transaction mode there is none while the client needs none.
    server: Option<Lease>,
    way: Way,
    /// Instead of one, a place on a server connection that others wait on, too.
    riding: Option<Riding>,
    /// What waits was recalled from such a place: it goes to a connection of its own.
    recalled: bool,
    /// It is to a standby.
    on_standby: bool,
    /// A message of the client waits for a server connection.
    wanting: bool,
    /// The one that was asked for last is to a standby.
    asks_standby: bool,
    /// The client's next message must go to the primary.
    needs_primary: bool,
    /// Server connections that were lost since the client's last message was worked off.
    losses: u32,
    /// How much of a frame of the server is still to be relayed.
    passing: usize,
    /// Frames of the server wait until the client has read what came before: no more are read.
    held: bool,
    session: Session,
    message_bytes: usize,
    /// What its messages hold, among all clients'.
    holding: Holding,
    busy_poll: BusyPoll,
    /// The cancel key; void when the session ends.
    cancel: CancelRegistration,
    /// As what its server connections know it.
    holder: Holder,
}

/// What ended the waiting.
enum Event {
    /// Bytes have moved.
    Moved,
    /// The client's socket is broken.
    ClientGone,
    /// The server's socket is closed or broken.
    ServerGone,
    /// A server connection has come, or will not.
    Checkout(Result<Lease, ConnectError>),
    /// The catalogue was read, after DDL of the client's that was committed at this moment.
    CaughtUp(std::time::Instant),
    /// The token is no longer good.
    Expired,
    /// The session was idle for a while.
    Lull,
    /// What all sessions are told.
    Told(News),
    /// A half-closed client has waited long enough.
    Abandoned,
}

impl Relay {
    /// A session whose client waits for AuthenticationOk.
    pub(crate) fn new(
        client: ClientStream,
        server: Option<Lease>,
        way: Way,
        session: Session,
        cancel: CancelRegistration,
    ) -> Self {
        let holder = session.as_holder(cancel.pid());
        let mut relay = Self {
            client,
            from_client: Incoming::default(),
            half_closed: false,
            server: None,
            riding: None,
            recalled: false,
            way,
            on_standby: false,
            wanting: false,
            asks_standby: false,
            needs_primary: false,
            losses: 0,
            passing: 0,
            held: false,
            message_bytes: session.message_bytes(),
            holding: session.holding(),
            busy_poll: BusyPoll::new(session.busy_poll()),
            session,
            cancel,
            holder,
        };
        if let Some(lease) = server {
            relay.attach(lease, false);
        }
        relay
    }

    /// Greets the client with what the server has told another connection.
    pub(crate) fn greet_alone(&mut self, facts: &BackendFacts) {
        self.session.write_greeting(facts, &self.cancel);
    }

    /// Sets the claims and greets the client.
    pub(crate) async fn greet(&mut self) -> Result<(), Ended> {
        if let Some(lease) = &mut self.server {
            self.session.settle(lease.outbox());
        }
        while !self.session.is_settled() {
            let exchanged = async {
                let lease = self.server.as_mut().ok_or(io::ErrorKind::NotConnected)?;
                lease.flush().await?;
                lease.fill().await
            };
            let refusal = match exchanged.await {
                Ok(0) | Err(_) => Some(server_gone()),
                Ok(_) => match self.work_off_server() {
                    Ok(_) => None,
                    Err(Stop::Fatal(report)) => Some(report),
                    Err(Stop::Terminated | Stop::ServerSaid | Stop::Lost) => Some(server_gone()),
                },
            };
            if let Some(report) = refusal {
                self.session.output().clear();
                self.session.say_goodbye(&report);
                self.write_goodbye().await;
                return Err(Ended::Refused);
            }
        }
        if let Some(lease) = &self.server {
            self.session.write_greeting(lease.facts(), &self.cancel);
        }
        Ok(())
    }

    /// Relays until one side ends the session.
    pub(crate) async fn run(mut self: Box<Self>, drain: watch::Receiver<Drain>) {
        let stop = self.relay(drain).await;
        // In a box: what it needs is not kept for the whole session.
        if let Some(client) = Box::pin(self.end(stop)).await {
            ending::hear_out(client).await;
        }
    }

    /// `None` when the client has gone without a word.
    async fn relay(&mut self, mut drain: watch::Receiver<Drain>) -> Option<Stop> {
        let mut expiry = pin!(tokio::time::sleep_until(Instant::from_std(
            self.session.expires()
        )));
        let mut expired = false;
        let mut stage = *drain.borrow_and_update();
        let mut lull = pin!(tokio::time::sleep(Duration::ZERO));
        let mut idled = false;
        let mut newsfeed = Newsfeed::new(drain, self.way.retirements());
        let mut abandon = pin!(tokio::time::sleep(Duration::ZERO));
        let mut checkout: Option<Checkout> = None;
        let mut catch_up: Option<CatchUp> = None;
        loop {
            match self.work_off() {
                Ok(()) => {}
                Err(Stop::Lost) if self.swap() => continue,
                Err(Stop::Lost) => return Some(Stop::Fatal(server_gone())),
                Err(stop) => return Some(stop),
            }
            self.depart();
            self.hand_back();
            if self.wanting && checkout.is_none() {
                match self.try_checkout() {
                    Ok(()) => continue,
                    Err(waiting) => checkout = Some(waiting),
                }
            }
            catch_up = catch_up.or_else(|| catch_up::begun(&self.session));
            let expires = Instant::from_std(self.session.expires());
            if expiry.deadline() != expires {
                expired = false;
                expiry.as_mut().reset(expires);
            }
            if let Some(stop) = self.due_end(stage, expired, idled) {
                return Some(stop);
            }
            let handing_over = stage == Drain::HandingOver;
            if handing_over {
                lull.as_mut().reset(Instant::now() + HANDOVER_IDLE);
            }
            let unserved = !self.session.is_settled() || self.wanting || catch_up.is_some();
            if self.half_closed && !unserved && !self.has_output() {
                return None;
            }
            let was_half_closed = self.half_closed;
            let event = tokio::select! {
                biased;
                event = std::future::poll_fn(|cx| self.poll_io(cx)) => event,
                outcome = arrival(&mut checkout), if checkout.is_some() => Event::Checkout(outcome),
                moment = catch_up::ended(&mut catch_up), if catch_up.is_some() => Event::CaughtUp(moment),
                () = &mut expiry, if !expired => Event::Expired,
                () = &mut lull, if handing_over => Event::Lull,
                news = newsfeed.next() => Event::Told(news),
                () = &mut abandon, if self.half_closed => Event::Abandoned,
            };
            idled = false;
            match event {
                Event::Moved => {}
                Event::ClientGone | Event::Abandoned => return None,
                Event::ServerGone if self.swap() => {}
                Event::ServerGone => return Some(Stop::Fatal(server_gone())),
                Event::Checkout(outcome) => {
                    checkout = None;
                    self.checked_out(outcome);
                }
                Event::CaughtUp(moment) => {
                    catch_up = None;
                    self.session.caught_up(moment);
                }
                Event::Expired => expired = true,
                Event::Lull => idled = true,
                Event::Told(News::Drain(now)) => stage = now,
                Event::Told(News::Retired) => {
                    if let Some(stop) = self.leave_retired() {
                        return Some(stop);
                    }
                }
            }
            if self.half_closed && !was_half_closed {
                abandon.as_mut().reset(Instant::now() + HALF_CLOSED_TIME);
            }
        }
    }

    fn has_output(&mut self) -> bool {
        let to_server = self.server.as_ref().is_some_and(|it| it.has_output());
        self.has_output_to_client() || to_server
    }

    fn has_output_to_client(&mut self) -> bool {
        !self.session.output().is_empty() || self.client.keeps_output()
    }

    /// How much waits to be written to the server.
    fn server_output(&mut self) -> usize {
        let lease = self.server.as_mut();
        lease.map_or(0, |lease| lease.outbox().bytes().len())
    }

    /// Works off what was read, as far as both sides can take the answers.
    fn work_off(&mut self) -> Result<(), Stop> {
        loop {
            let from_server = self.work_off_server()?;
            if from_server && let Some(lease) = &mut self.server {
                self.session.settle_if_kept(lease.outbox());
            }
            let from_client = self.work_off_client()?;
            if let Some(lease) = &mut self.server {
                self.session.end_ahead(lease.outbox());
                self.session.clear_leftover(lease.outbox());
            }
            if !from_server && !from_client {
                return Ok(());
            }
        }
    }

    fn work_off_client(&mut self) -> Result<bool, Stop> {
        let mut worked = false;
        if self.riding.is_some() {
            return Ok(false);
        }
        while self.session.output().len() < OUTPUT_BYTES_MAX
            && self.server_output() < OUTPUT_BYTES_MAX
        {
            let Some(header) = self.client_header()? else {
                break;
            };
            if self.from_client.rest().len() >= header.frame() && !self.suits_server(header.tag) {
                if self.server.is_some() {
                    break;
                }
                continue;
            }
            let Some(body) = self.from_client.rest().get(HEADER_BYTES..header.frame()) else {
                break;
            };
            let taken = match &mut self.server {
                Some(lease) => self
                    .session
                    .client_message(header.tag, body, lease.outbox())?,
                None if self.session.needs_server(header.tag) => {
                    self.wanting = true;
                    break;
                }
                // It is answered here, or ignored.
                None => {
                    let nobody = &mut Outbox::default();
                    self.session.client_message(header.tag, body, nobody)?
                }
            };
            match taken {
                Taken::Later => break,
                Taken::Again => self.from_client.rewind(),
                Taken::Yes if self.session.is_trying() => self.from_client.keep(header.frame()),
                Taken::Yes => self.from_client.advance(header.frame()),
            }
            self.losses = 0;
            (self.needs_primary, self.recalled) = (false, false);
            worked = true;
        }
        Ok(worked)
    }

    fn client_header(&mut self) -> Result<Option<Header>, Stop> {
        let header = frame::header(self.from_client.rest())?;
        if header.is_some_and(|header| header.body > self.message_bytes) {
            let message = "pgwarden: the message is longer than limits.message_bytes";
            return Err(Stop::Fatal(Report::fatal("53400", message)));
        }
        let held = self.held_bytes();
        if !self.holding.hold(held) {
            let message =
                "pgwarden: the messages of all clients are longer than limits.total_message_bytes";
            return Err(Stop::Fatal(Report::fatal("53400", message)));
        }
        Ok(header)
    }

    fn work_off_server(&mut self) -> Result<bool, Stop> {
        if self.riding.is_some() {
            return self.work_off_ride();
        }
        let Self {
            server: Some(lease),
            session,
            passing,
            held,
            from_client,
            ..
        } = self
        else {
            return Ok(false);
        };
        let inbox = lease.inbox();
        let (worked, result) = frames::relay(inbox, session, passing, Ends::Never);
        inbox.advance(worked);
        *held = session.output().len() >= OUTPUT_BYTES_MAX && !inbox.is_empty();
        if session.begins_again(lease.outbox()) {
            from_client.rewind();
        } else if !session.is_trying() {
            from_client.advance(0);
        }
        result.map(|()| worked > 0)
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let mut moved = false;
        let mut written = false;
        if self.has_output_to_client() {
            match self.poll_write_client(cx) {
                Poll::Ready(Ok(())) => written = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ClientGone),
                Poll::Pending => {}
            }
        }
        if let Some(lease) = &mut self.server {
            if lease.has_output() {
                match Backend::poll_flush(lease, cx) {
                    Poll::Ready(Ok(())) => written = true,
                    // It may have said why before it went: that is read below.
                    Poll::Ready(Err(_)) | Poll::Pending => {}
                }
            }
            if !self.held && self.session.output().len() < OUTPUT_BYTES_MAX {
                match Backend::poll_fill(lease, cx) {
                    Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Event::ServerGone),
                    Poll::Ready(Ok(_)) => moved = true,
                    Poll::Pending => {}
                }
            }
        }
        if self.riding.is_some() {
            match self.poll_ride(cx) {
                Poll::Ready(Some(event)) => return Poll::Ready(event),
                Poll::Ready(None) => moved = true,
                Poll::Pending => {}
            }
        }
        if self.reads_client() {
            match self.poll_read_client(cx) {
                Poll::Ready(Ok(0)) => {
                    self.half_closed = true;
                    moved = true;
                }
                Poll::Ready(Ok(_)) => moved = true,
                Poll::Ready(Err(_)) => return Poll::Ready(Event::ClientGone),
                Poll::Pending => {}
            }
        }
        if moved {
            self.busy_poll.moved();
        }
        if moved || (written && self.has_stopped()) {
            return Poll::Ready(Event::Moved);
        }
        self.release_buffers();
        let awaited = if self.session.is_settled() {
            Awaited::Client
        } else {
            Awaited::Server
        };
        self.busy_poll.wait(awaited, cx);
        Poll::Pending
    }

    /// Whether something may have waited for what was written, and can go on.
    fn has_stopped(&mut self) -> bool {
        let unread = self
            .server
            .as_mut()
            .is_some_and(|lease| !lease.inbox().is_empty());
        let unread = unread || (self.held && self.riding.is_some());
        unread || self.half_closed || !self.from_client.is_done() || self.session.is_settled()
    }
}

fn server_gone() -> Report {
    Report::fatal(
        "08006",
        "pgwarden: the server closed the connection unexpectedly",
    )
}
