//! Which client each server process worked for last.
//!
//! In transaction mode a client is told a process number of its own, which is no server process's. A notification
//! carries that of the server process it comes from, and clients compare it with their own, to leave out what they have
//! sent themselves. So each connection remembers whose it was last. A client that has sent a notification is
//! told by its number to clients of its own tenant only: the number is half of a cancel key.
//!
//! For notifications of the session itself that is exact, because who listens keeps its connection. Those of others arrive
//! when their connection may be somebody else's already: then it is that one's number.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A client, as notifications tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holder {
    /// The number that it was told as its own.
    pub(crate) pid: i32,
    /// A mark of its tenant.
    pub(crate) tenant: u32,
}

impl Holder {
    fn pack(self) -> u64 {
        u64::from(self.pid.cast_unsigned()) << 32 | u64::from(self.tenant)
    }

    /// 0 is nobody: no client has the number 0.
    fn unpack(packed: u64) -> Option<Self> {
        let [a, b, c, d, tenant @ ..] = packed.to_be_bytes();
        let pid = i32::from_be_bytes([a, b, c, d]);
        let tenant = u32::from_be_bytes(tenant);
        (pid != 0).then_some(Self { pid, tenant })
    }
}

/// Whose a connection was last.
#[derive(Debug, Default)]
pub(super) struct Last(AtomicU64);

impl Last {
    pub(super) fn tell(&self, holder: Holder) {
        self.0.store(holder.pack(), Ordering::Relaxed);
    }
}

/// The connections of a pool, by the numbers of their server processes.
#[derive(Debug, Default)]
pub(super) struct Holders {
    connections: Mutex<HashMap<i32, Weak<Last>>>,
    marks: RandomState,
}

impl Holders {
    /// A connection was opened. Nobody has had it.
    pub(super) fn open(&self, process: i32) -> Arc<Last> {
        let held = Arc::new(Last::default());
        let connections = self.connections.lock();
        let mut connections = connections.unwrap_or_else(PoisonError::into_inner);
        connections.retain(|_, held| held.strong_count() > 0);
        connections.insert(process, Arc::downgrade(&held));
        held
    }

    /// Who had the connection last.
    pub(super) fn of(&self, process: i32) -> Option<Holder> {
        let connections = self.connections.lock();
        let connections = connections.unwrap_or_else(PoisonError::into_inner);
        let held = connections.get(&process)?.upgrade()?;
        Holder::unpack(held.0.load(Ordering::Relaxed))
    }

    /// The mark of a tenant.
    pub(super) fn mark(&self, tenant: Option<&str>) -> u32 {
        let [.., a, b, c, d] = self.marks.hash_one(tenant).to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::{Holder, Holders};

    #[test]
    fn a_connection_is_whose_it_was_last() {
        let holders = Holders::default();
        let (a, b) = (holders.mark(Some("a")), holders.mark(Some("b")));
        assert_ne!(a, b);
        assert_eq!(a, holders.mark(Some("a")));
        let held = holders.open(7);
        assert_eq!(holders.of(7), None);
        for holder in [
            Holder { pid: 1, tenant: a },
            Holder {
                pid: i32::MAX,
                tenant: b,
            },
        ] {
            held.tell(holder);
            assert_eq!(holders.of(7), Some(holder));
        }
        assert_eq!(holders.of(8), None);
        drop(held);
        assert_eq!(holders.of(7), None);
    }
}
