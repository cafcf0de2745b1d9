//! Getting a server connection, and giving it back.
//!
//! In transaction mode a client has one from its first message that needs it to the end of its
//! transaction. A connection that is lost while the client waits for nothing of it is replaced.

use std::pin::Pin;
use std::sync::Arc;

use super::{Relay, server_gone};
use crate::backend::{ConnectError, StartupParameters};
use crate::pool::{Lease, Pool};
use crate::session::Stop;
use crate::wire::{Report, frame};
use bytes::Buf;

/// How a session comes by a server connection.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) pool: Arc<Pool>,
    pub(crate) parameters: Arc<StartupParameters>,
}

/// A server connection on its way.
pub(super) type Checkout = Pin<Box<dyn Future<Output = Result<Lease, ConnectError>> + Send>>;

/// A message of the client is worth so many server connections that are lost at once.
const LOSSES_MAX: u32 = 3;

impl Relay {
    /// The client has this server connection from now on.
    pub(super) fn attach(&mut self, mut lease: Lease) {
        let target = lease.cancel_target().clone();
        self.cancel.slot().attach(target);
        self.session.attach(lease.carried());
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
        let Way { pool, parameters } = &self.way;
        let setup = self.session.setup();
        let at_once = setup.and_then(|setup| pool.try_checkout(parameters, setup));
        if let Some(lease) = at_once {
            self.wanting = false;
            self.attach(lease);
            return Ok(());
        }
        let checkout = Arc::clone(pool).checkout_for(Arc::clone(parameters), setup.cloned());
        Err(Box::pin(checkout))
    }

    pub(super) fn checked_out(&mut self, outcome: Result<Lease, ConnectError>) {
        self.wanting = false;
        match outcome {
            Ok(lease) => self.attach(lease),
            Err(error) => {
                tracing::warn!(%error, "no server connection");
                self.refuse_next(&error);
            }
        }
    }

    /// The message that waits for a server connection gets none.
    fn refuse_next(&mut self, error: &ConnectError) {
        if let Ok(Some(header)) = frame::header(&self.from_client)
            && self.from_client.len() >= header.frame()
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
        self.cancel.slot().detach();
        self.session.lose();
        self.passing = 0;
        self.server = None;
        true
    }
}

/// The end of a wait.
pub(super) async fn arrival(checkout: &mut Option<Checkout>) -> Result<Lease, ConnectError> {
    match checkout {
        Some(checkout) => checkout.await,
        None => std::future::pending().await,
    }
}
