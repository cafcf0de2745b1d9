//! Cancel keys: which client may cancel what on which server connection.
//!
//! A client gets a key of our own (the server's would let it talk to the server directly). The key
//! is known here only as long as the client holds its server connection.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use super::error::ConnectError;
use super::transport;
use super::upstream::Upstream;

/// A cancel takes no longer than this.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A server connection as a CancelRequest names it, for as long as one client has it.
///
/// A request that is on its way when the client leaves must not hit the next one: it holds the
/// gate, and [`CancelTarget::retire`] waits for it and closes the gate behind it.
#[derive(Clone)]
pub struct CancelTarget {
    upstream: Arc<Upstream>,
    pid: i32,
    secret: Bytes,
    gate: Arc<Mutex<Gate>>,
}

#[derive(Debug, PartialEq, Eq)]
enum Gate {
    Open,
    Closed,
}

impl std::fmt::Debug for CancelTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelTarget(pid {})", self.pid)
    }
}

impl CancelTarget {
    pub(super) fn new(upstream: Arc<Upstream>, pid: i32, secret: Bytes) -> Self {
        Self {
            upstream,
            pid,
            secret,
            gate: Arc::new(Mutex::new(Gate::Open)),
        }
    }

    /// Waits for requests that are on their way and lets no more pass: the connection leaves its
    /// client. Gives the target for the next one.
    pub(super) async fn retire(&self) -> Self {
        *self.gate.lock().await = Gate::Closed;
        Self::new(Arc::clone(&self.upstream), self.pid, self.secret.clone())
    }

    /// Asks the server to cancel what the connection runs, unless the client has left it.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let gate = self.gate.lock().await;
        if *gate == Gate::Closed {
            return Ok(());
        }
        let work = async {
            let mut stream = transport::by_attempts(&self.upstream, |attempt| {
                transport::open(&self.upstream, attempt)
            })
            .await?;
            let mut request = BytesMut::new();
            CancelRequest::new(self.pid, SecretKey::Bytes(self.secret.clone()))
                .encode(&mut request)
                .map_err(std::io::Error::other)?;
            stream.write_all(&request).await?;
            stream.flush().await?;
            // The server closes when it has passed the signal on: a client that waits for our
            // close can rely on that, as it can with PostgreSQL.
            let mut rest = [0; 16];
            let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut rest).await;
            Ok(())
        };
        match tokio::time::timeout(CANCEL_TIMEOUT, work).await {
            Ok(result) => result,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }
}

/// A pid and a secret, as BackendKeyData carries them.
type Key = (i32, Vec<u8>);

/// The keys that are out.
#[derive(Debug, Default)]
pub struct CancelRegistry {
    keys: std::sync::Mutex<HashMap<Key, CancelTarget>>,
}

impl CancelRegistry {
    /// Makes a key of `secret_bytes` bytes (4 under protocol 3.0, up to 256 under 3.2) for a
    /// server connection. It is good until the registration is dropped.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn register(
        self: &Arc<Self>,
        target: CancelTarget,
        secret_bytes: usize,
    ) -> std::io::Result<CancelRegistration> {
        let pid = target.pid;
        loop {
            let key = (pid, crate::random::bytes(secret_bytes.clamp(4, 256))?);
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if let std::collections::hash_map::Entry::Vacant(entry) = keys.entry(key.clone()) {
                entry.insert(target);
                let registry = Arc::clone(self);
                return Ok(CancelRegistration { registry, key });
            }
        }
    }

    /// The server connection of a key; `None` for a guess.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<CancelTarget> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(pid, secret.to_vec())).cloned()
    }
}

/// A key that is out; dropping it makes it void.
pub struct CancelRegistration {
    registry: Arc<CancelRegistry>,
    key: Key,
}

impl std::fmt::Debug for CancelRegistration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelRegistration(pid {})", self.key.0)
    }
}

impl CancelRegistration {
    /// The pid to tell the client: the server's own.
    pub fn pid(&self) -> i32 {
        self.key.0
    }

    /// The secret to tell the client.
    pub fn secret(&self) -> &[u8] {
        &self.key.1
    }
}

impl Drop for CancelRegistration {
    fn drop(&mut self) {
        let keys = self.registry.keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}
