//! A server connection in the hands of one session, and its ways back into the pool.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{Carried, Held, Holder, Pool};
use crate::backend::{Backend, CancelSlot, StartupParameters};

/// A server connection in the hands of one session. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    /// In a box: it passes from hand to hand.
    pub(super) held: Box<Held>,
    pub(super) in_use: InUse,
}

/// The place in the pool that a connection in use takes.
#[derive(Debug)]
pub(super) struct InUse {
    out: Out,
    permit: OwnedSemaphorePermit,
}

/// A connection is out of the pool: it is used, opened, reset or closed.
#[derive(Debug)]
pub(super) struct Out(Arc<Pool>);

impl Out {
    /// Of an unused connection that is closed.
    pub(super) fn closing(pool: &Arc<Pool>) -> Self {
        pool.pause.take_out();
        Self::counted(pool)
    }

    fn counted(pool: &Arc<Pool>) -> Self {
        pool.metrics.server_active.add(1);
        Self(Arc::clone(pool))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.metrics.server_active.add(-1);
        self.0.pause.take_back();
    }
}

impl InUse {
    /// A place for who has a permit. It is given back while the pool is paused.
    pub(super) fn take(
        pool: &Arc<Pool>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, OwnedSemaphorePermit> {
        if !pool.pause.lend() {
            return Err(permit);
        }
        let out = Out::counted(pool);
        Ok(Self { out, permit })
    }

    /// There is no connection for the place; who waits for one keeps its permit.
    pub(super) fn leave(self) -> OwnedSemaphorePermit {
        self.permit
    }

    fn pool(&self) -> &Arc<Pool> {
        &self.out.0
    }
}

impl Lease {
    /// What the connection carries.
    pub(crate) fn carried(&mut self) -> &mut Carried {
        &mut self.held.carried
    }

    /// Whose the connection is now.
    pub(crate) fn tell_holder(&self, holder: Holder) {
        self.held.holder.tell(holder);
    }

    /// Whether the connection was opened with these start-up parameters.
    pub(crate) fn asked_for(&self, parameters: &Arc<StartupParameters>) -> bool {
        self.held.asked_for(parameters)
    }

    /// The connection is free: no transaction is open on it, and no answer is owed. What it carries
    /// is kept, if that is known. Returns at once.
    pub(crate) fn hand_back(self, cancels: &Arc<CancelSlot>) {
        if !cancels.detach() || self.held.carried.soiled {
            return self.reset_when_quiet(Arc::clone(cancels));
        }
        self.keep();
    }

    /// Ends the session on the server: resets it and, if that went well, puts the connection back
    /// into the pool. Only for a connection whose answers have all been read; its place in the
    /// pool stays taken meanwhile. Returns at once.
    pub fn give_back(self, cancels: &Arc<CancelSlot>) {
        cancels.detach();
        self.reset_when_quiet(Arc::clone(cancels));
    }

    /// A cancel that the server still has in hand when the slot is quiet meets a statement of the
    /// reset, at worst.
    fn reset_when_quiet(mut self, cancels: Arc<CancelSlot>) {
        tokio::spawn(async move {
            cancels.quiet().await;
            self.held.carried = Carried::default();
            match self.held.backend.reset().await {
                Ok(()) => self.keep(),
                Err(error) => {
                    tracing::debug!(%error, "a server connection was not reused");
                    self.close().await;
                }
            }
        });
    }

    pub(super) fn keep(self) {
        let Self { held, in_use } = self;
        if let Err(held) = in_use.pool().keep(held) {
            // The place is free when the connection is closed: PAUSE waits for that.
            tokio::spawn(Self { held, in_use }.close());
        }
    }

    /// Says goodbye to the server and closes the connection.
    pub async fn close(self) {
        self.held.backend.close().await;
        drop(self.in_use);
    }
}

impl Deref for Lease {
    type Target = Backend;

    fn deref(&self) -> &Backend {
        &self.held.backend
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut Backend {
        &mut self.held.backend
    }
}
