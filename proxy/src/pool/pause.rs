//! PAUSE and RESUME of a pool.
//!
//! While it is paused no server connection is handed out, and each that comes back is closed, so that
//! the server can be restarted or replaced under clients that only wait. They keep their places in the
//! queue. `checkout_timeout` does not run meanwhile; `pause_timeout` does.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Whether the pool is paused, and how many connections are out all the same.
///
/// Who hands one out counts it before it looks whether the pool is paused, and who pauses does so
/// before it looks at the count: one of the two sees the other.
#[derive(Debug, Default)]
pub(super) struct Pause {
    on: AtomicBool,
    /// Connections in somebody's hands: a session's, or those of who opens, resets or closes one.
    out: AtomicUsize,
    /// The pool was paused or resumed, or the last connection of a paused one is closed.
    changed: Notify,
}

impl Pause {
    pub(super) fn is_on(&self) -> bool {
        self.on.load(Ordering::SeqCst)
    }

    pub(super) fn set(&self, on: bool) {
        self.on.store(on, Ordering::SeqCst);
        self.changed.notify_waiters();
    }

    /// How many connections are out.
    pub(super) fn out(&self) -> usize {
        self.out.load(Ordering::SeqCst)
    }

    /// Counts a connection as out, unless the pool is paused.
    pub(super) fn lend(&self) -> bool {
        self.take_out();
        if !self.is_on() {
            return true;
        }
        self.take_back();
        false
    }

    /// Counts a connection as out.
    pub(super) fn take_out(&self) {
        self.out.fetch_add(1, Ordering::SeqCst);
    }

    /// It is out no more.
    pub(super) fn take_back(&self) {
        if self.out.fetch_sub(1, Ordering::SeqCst) == 1 && self.is_on() {
            self.changed.notify_waiters();
        }
    }

    /// Waits until the pool is paused.
    pub(super) async fn begun(&self) {
        self.until(|| self.is_on()).await;
    }

    /// Waits until it is not paused.
    pub(super) async fn lifted(&self) {
        self.until(|| !self.is_on()).await;
    }

    /// Waits until no connection is out; gives whether that came before the pool was resumed.
    pub(super) async fn quiet(&self) -> bool {
        self.until(|| self.out() == 0 || !self.is_on()).await;
        self.is_on()
    }

    async fn until(&self, condition: impl Fn() -> bool) {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if condition() {
                return;
            }
            changed.await;
        }
    }
}
