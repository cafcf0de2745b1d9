//! What the messages of all clients hold in the process.
//!
//! A message is held whole until it is judged, and once more on its way to the server. Each is bounded
//! by `limits.message_bytes`; what all of them hold at once is bounded here, by
//! `limits.total_message_bytes`. A client that holds no more than [`FREE_BYTES`] is not asked: it
//! touches nothing that others share, and is never refused because of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So much each client may hold without being counted.
const FREE_BYTES: usize = 64 << 10;

/// The sum over all clients.
#[derive(Debug)]
pub(crate) struct Holdings {
    held: AtomicUsize,
    most: usize,
}

impl Holdings {
    /// Of nobody yet; never more than `most` bytes.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            held: AtomicUsize::new(0),
            most,
        })
    }

    /// What is held now.
    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Counts more, unless that is too much.
    fn take(&self, more: usize) -> bool {
        let fits = |held: usize| held.checked_add(more).filter(|sum| *sum <= self.most);
        self.held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }
}

/// What one client holds; nothing any more when it is dropped.
#[derive(Debug)]
pub(crate) struct Holding {
    all: Arc<Holdings>,
    counted: usize,
}

impl Holding {
    /// Of a client that holds nothing yet.
    pub(crate) fn new(all: &Arc<Holdings>) -> Self {
        Self {
            all: Arc::clone(all),
            counted: 0,
        }
    }

    /// The client holds so many bytes now. False when there is no room for what it holds more than
    /// before.
    pub(crate) fn hold(&mut self, bytes: usize) -> bool {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted <= self.counted {
            self.release(bytes);
            return true;
        }
        let fits = self.all.take(counted - self.counted);
        if fits {
            self.counted = counted;
        }
        fits
    }

    /// The client holds no more than so many bytes now.
    pub(crate) fn release(&mut self, bytes: usize) {
        let counted = bytes.saturating_sub(FREE_BYTES);
        if counted < self.counted {
            let less = self.counted - counted;
            self.all.held.fetch_sub(less, Ordering::Relaxed);
            self.counted = counted;
        }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.release(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn what_is_held_is_bounded_and_given_back() {
        let all = Holdings::new(4 * MIB);
        let (mut one, mut other) = (Holding::new(&all), Holding::new(&all));
        assert!(one.hold(3 * MIB + FREE_BYTES));
        assert_eq!(all.held(), 3 * MIB);
        assert!(!other.hold(2 * MIB));
        assert_eq!(all.held(), 3 * MIB);
        assert!(other.hold(MIB));
        assert!(one.hold(MIB + FREE_BYTES) && other.hold(2 * MIB));
        drop(one);
        other.release(MIB);
        assert_eq!(all.held(), MIB - FREE_BYTES);
        drop(other);
        assert_eq!(all.held(), 0);
    }

    #[test]
    fn who_holds_little_is_never_refused() {
        let all = Holdings::new(0);
        assert!(Holding::new(&all).hold(FREE_BYTES));
        assert!(!Holding::new(&all).hold(FREE_BYTES + 1));
        assert_eq!(all.held(), 0);
    }
}
