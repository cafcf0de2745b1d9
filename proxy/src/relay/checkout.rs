//! Getting a server connection, and giving it back.
//!
//! In transaction mode a client has one from its first message that needs it to the end of its
//! transaction. A connection that is lost while the client waits for nothing of it is replaced.

use std::pin::Pin;
use std::sync::Arc;

use super::news::Retirements;
use super::{Relay, server_gone};
use crate::backend::{ConnectError, Moment, StartupParameters};
use crate::database::Replicas;
use crate::pool::{Lease, Pool};
use crate::session::Stop;
use crate::wire::{Report, frame};

/// How a session comes by a server connection.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) pool: Arc<Pool>,
    /// The standbys that the session may read from.
    pub(crate) replicas: Option<Arc<Replicas>>,
    pub(crate) parameters: Arc<StartupParameters>,
}

impl Way {
    /// The standbys', for what may be read as of a moment.
    fn pool_as_of(&self, since: Option<Moment>) -> &Arc<Pool> {
        match (&self.replicas, since) {
            (Some(replicas), Some(_)) => replicas.pool(),
            _ => &self.pool,
        }
    }

    /// Tells that a host was retired.
    pub(super) fn retirements(&self) -> Retirements {
        let replicas = self.replicas.as_ref();
        let of_standbys = replicas.and_then(|replicas| replicas.pool().retirements());
        [self.pool.retirements(), of_standbys]
    }
}

/// A server connection on its way.
pub(super) type Checkout = Pin<Box<dyn Future<Output = Result<Lease, ConnectError>> + Send>>;

/// A message of the client is worth so many server connections that are lost at once.
const LOSSES_MAX: u32 = 3;

impl Relay {
    /// The client has this server connection from now on.
    pub(super) fn attach(&mut self, mut lease: Lease, on_standby: bool) {
        let target = lease.cancel_target().clone();
        self.cancel.slot().attach(target);
        lease.tell_holder(self.holder);
        self.session.attach(lease.carried(), on_standby);
        self.on_standby = on_standby;
        (self.passing, self.held) = (0, false);
        self.server = Some(lease);
    }

    /// Gives the server connection back, if the client needs none now.
    pub(super) fn hand_back(&mut self) {
        let Some(lease) = &mut self.server else {
            return;
        };
        let quiet = self.passing == 0 && !lease.has_output() && lease.inbox().is_empty();
        if !quiet || !self.session.can_detach() {
            return;
        }
        if let Some(mut lease) = self.server.take() {
            self.session.detach(lease.carried());
            lease.hand_back(self.cancel.slot());
        }
    }

    /// A server connection at once, or the way to one.
    pub(super) fn try_checkout(&mut self) -> Result<(), Checkout> {
        if self.board(false) {
            return Ok(());
        }
        let since = self.reads_since();
        self.asks_standby = since.is_some();
        let pool = self.way.pool_as_of(since);
        let parameters = &self.way.parameters;
        let setup = self.session.setup();
        let at_once = setup.and_then(|setup| pool.try_checkout(parameters, setup, since));
        if let Some(lease) = at_once {
            self.wanting = false;
            self.attach(lease, since.is_some());
            return Ok(());
        }
        if self.board(true) {
            return Ok(());
        }
        let setup = self.session.setup().cloned();
        let (pool, parameters) = (self.way.pool_as_of(since), &self.way.parameters);
        let checkout = Arc::clone(pool).checkout_for(Arc::clone(parameters), setup, since);
        let waiting = self.cancel.slot().wait();
        Err(Box::pin(async move {
            tokio::select! {
                biased;
                outcome = checkout => outcome,
                () = waiting.called_off() => Err(ConnectError::CalledOff),
            }
        }))
    }

    /// As of when a standby must be current to be read from; `None` where it must be the primary.
    fn reads_since(&mut self) -> Option<Moment> {
        let replicas = self.way.replicas.as_ref()?;
        if self.needs_primary || !self.session.only_reads(self.from_client.rest()) {
            return None;
        }
        let since = replicas.since(self.session.last_write());
        (replicas.any_since(since) && replicas.pool().has_room()).then_some(since)
    }

    /// Whether the client's next message may go to the server connection. On a standby what begins
    /// must be something that only reads; else the standby is left for the primary, once it has
    /// answered.
    pub(super) fn suits_server(&mut self, tag: u8) -> bool {
        let unfit = self.server.is_some()
            && self.on_standby
            && self.session.begins_batch(tag)
            && !self.session.only_reads(self.from_client.rest());
        if unfit {
            self.needs_primary = true;
            self.hand_back();
        }
        !unfit
    }

    pub(super) fn checked_out(&mut self, outcome: Result<Lease, ConnectError>) {
        self.wanting = false;
        match self.unless_called_off(outcome) {
            Ok(lease) => self.attach(lease, self.asks_standby),
            Err(error @ ConnectError::CalledOff) => self.refuse_next(&error),
            Err(error) if self.asks_standby => {
                tracing::debug!(%error, "no standby to read from");
                self.needs_primary = true;
                self.wanting = true;
            }
            Err(error) => {
                tracing::warn!(%error, "no server connection");
                self.refuse_next(&error);
            }
        }
    }

    /// The client may have called its wait off in the moment in which it was over.
    fn unless_called_off(
        &mut self,
        outcome: Result<Lease, ConnectError>,
    ) -> Result<Lease, ConnectError> {
        if !self.cancel.slot().is_called_off() {
            return outcome;
        }
        if let Ok(lease) = outcome {
            lease.hand_back(self.cancel.slot());
        }
        Err(ConnectError::CalledOff)
    }

    /// The message that waits for a server connection gets none.
    fn refuse_next(&mut self, error: &ConnectError) {
        self.cancel.slot().detach();
        let rest = self.from_client.rest();
        if let Ok(Some(header)) = frame::header(rest)
            && rest.len() >= header.frame()
        {
            self.session.no_server(header.tag, error);
            self.from_client.advance(header.frame());
        }
    }

    /// A host was retired. If it is that of the client's server connection, another is taken, where
    /// the client need not know, or the session ends.
    pub(super) fn leave_retired(&mut self) -> Option<Stop> {
        let lease = self.server.as_ref()?;
        if !lease.mark().is_retired() || self.swap() {
            return None;
        }
        let report = if self.session.is_idle() {
            let message =
                "terminating connection because its server does not serve the database any more";
            Report::fatal("57P01", message)
        } else {
            server_gone()
        };
        Some(Stop::Fatal(report))
    }

    /// Gives a lost server connection up, if the client need not know.
    pub(super) fn swap(&mut self) -> bool {
        if self.losses >= LOSSES_MAX || !self.session.can_swap() {
            return false;
        }
        self.losses += 1;
        if self.client_waits() {
            self.cancel.slot().move_on();
        } else {
            self.cancel.slot().detach();
        }
        self.session.lose();
        self.passing = 0;
        self.server = None;
        true
    }

    /// Whether a message of the client's is there that needs a server connection.
    fn client_waits(&self) -> bool {
        let rest = self.from_client.rest();
        let header = frame::header(rest).ok().flatten();
        let whole = header.filter(|header| rest.len() >= header.frame());
        whole.is_some_and(|header| self.session.needs_server(header.tag))
    }
}

/// The end of a wait.
pub(super) async fn arrival(checkout: &mut Option<Checkout>) -> Result<Lease, ConnectError> {
    match checkout {
        Some(checkout) => checkout.await,
        None => std::future::pending().await,
    }
}
