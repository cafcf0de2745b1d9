//! Cancel keys: which client may cancel what on which server connection.
//!
//! A client gets a key of our own (the server's would let it talk to the server directly). Behind
//! the key is a [`CancelSlot`], which holds the server connection that the client has at the
//! moment, and nothing while it has none. A client that waits for one stops waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::startup::SecretKey;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;

use super::error::ConnectError;
use super::transport::{self, Way};
use super::upstream::Upstream;

/// A cancel takes no longer than this.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

/// A server connection as a CancelRequest names it.
#[derive(Clone)]
pub struct CancelTarget(Arc<Target>);

struct Target {
    upstream: Arc<Upstream>,
    way: Way,
    pid: i32,
    secret: Bytes,
}

impl std::fmt::Debug for CancelTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelTarget(pid {})", self.0.pid)
    }
}

impl CancelTarget {
    pub(super) fn new(upstream: Arc<Upstream>, way: Way, pid: i32, secret: Bytes) -> Self {
        Self(Arc::new(Target {
            upstream,
            way,
            pid,
            secret,
        }))
    }

    /// Asks the server to cancel what the connection runs. For the connection's holder only: a
    /// client's request goes through its [`CancelSlot`].
    ///
    /// # Errors
    /// When the server can't be reached.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let Target {
            upstream,
            way,
            pid,
            secret,
        } = &*self.0;
        let work = async {
            let mut stream =
                transport::by_attempts(upstream, way, |it| transport::open(upstream, way, it))
                    .await?;
            stream.write_all(&request(*pid, secret)?).await?;
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

/// A CancelRequest.
pub(crate) fn request(pid: i32, secret: &[u8]) -> std::io::Result<BytesMut> {
    let mut request = BytesMut::new();
    CancelRequest::new(pid, SecretKey::Bytes(Bytes::copy_from_slice(secret)))
        .encode(&mut request)
        .map_err(std::io::Error::other)?;
    Ok(request)
}

/// What a client's key leads to.
///
/// A request that is on its way when the client leaves its server connection must not hit the next
/// one to have it: [`CancelSlot::detach`] says whether there is one, and such a connection goes to
/// nobody before [`CancelSlot::quiet`].
#[derive(Debug, Default)]
pub struct CancelSlot {
    state: Mutex<SlotState>,
    quiet: Notify,
    called_off: Notify,
}

/// A server connection that several clients wait on.
pub(crate) trait Shared: std::fmt::Debug + Send + Sync {
    /// What a cancel can do for the client with this number on it.
    fn claim(&self, number: u64) -> Claim;
}

/// What a cancel can do on a server connection that others wait on, too.
#[derive(Debug)]
pub(crate) enum Claim {
    /// It would meet another's statement; the others are on their way out.
    Wait,
    /// There is nothing to cancel any more.
    Over,
    /// Nobody else waits there any more.
    Aim(CancelTarget),
}

/// Which server connection a client has.
#[derive(Debug, Clone)]
enum Aim {
    /// One for itself.
    Own(CancelTarget),
    /// A place on one that others wait on, too.
    Shared(Arc<dyn Shared>, u64),
}

/// How soon a place on a shared server connection is looked at again.
const CLAIM_AGAIN: Duration = Duration::from_millis(1);

/// Whether the client waits for a server connection.
#[derive(Debug, Default, PartialEq, Eq)]
enum Wait {
    #[default]
    No,
    /// Its statement goes from one to another; where to will be known at once.
    Moves,
    Yes,
    /// It was told to stop.
    CalledOff,
}

#[derive(Debug, Default)]
struct SlotState {
    target: Option<Aim>,
    wait: Wait,
    /// Whether a request is on its way.
    under_way: bool,
    /// How many were sent.
    sent: u64,
    /// How often clients have asked.
    asked: u64,
    /// How many of those the requests that are done with have answered.
    answered: u64,
}

impl SlotState {
    /// The client is there, or nowhere.
    fn arrive(&mut self, target: Option<Aim>) {
        (self.target, self.wait) = (target, Wait::No);
    }
}

impl CancelSlot {
    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client has this server connection from now on.
    pub fn attach(&self, target: CancelTarget) {
        self.state().arrive(Some(Aim::Own(target)));
    }

    /// The client waits, among others, on a server connection.
    pub(crate) fn share(&self, (line, number): (Arc<dyn Shared>, u64)) {
        self.state().arrive(Some(Aim::Shared(line, number)));
    }

    /// The client leaves its server connection: from now on no request reaches it that is not on
    /// its way already. Gives whether none is.
    pub fn detach(&self) -> bool {
        let mut state = self.state();
        state.arrive(None);
        !state.under_way
    }

    /// The client's statement leaves its server connection for another place: who asks to cancel it waits until that
    /// is known.
    pub(crate) fn move_on(&self) {
        let mut state = self.state();
        (state.target, state.wait) = (None, Wait::Moves);
    }

    /// The same, unless a request is on its way: then the client keeps its server connection. Gives
    /// whether it has left.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.state();
        if !state.under_way {
            (state.target, state.wait) = (None, Wait::Moves);
        }
        !state.under_way
    }

    /// The wait for a server connection is over. Gives whether the client has called it off.
    pub(crate) fn is_called_off(&self) -> bool {
        let mut state = self.state();
        let called_off = state.wait == Wait::CalledOff;
        if called_off {
            state.wait = Wait::No;
        }
        called_off
    }

    /// The client waits for a server connection while this is kept.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        self.state().wait = Wait::Yes;
        Waiting(Arc::clone(self))
    }

    /// Waits until the request that is on its way now has ended, if there is one. Those that follow
    /// are not waited for, or a client that cancels in a loop would keep connections from others.
    pub async fn quiet(&self) {
        let sent = self.state().sent;
        loop {
            let mut notified = std::pin::pin!(self.quiet.notified());
            notified.as_mut().enable();
            {
                let state = self.state();
                if !state.under_way || state.sent != sent {
                    return;
                }
            }
            notified.await;
        }
    }

    /// Cancels what the client's server connection runs, if it has one, or its wait for one.
    ///
    /// Each request is a connection and a process of the server, so one at a time is on its way. Another
    /// follows it, because what it is to end may have begun since: one for all who ask meanwhile.
    ///
    /// # Errors
    /// When the server can't be reached.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let ticket = {
            let mut state = self.state();
            state.asked += 1;
            state.asked
        };
        loop {
            self.quiet().await;
            let Some(aimed) = self.aim(ticket) else {
                return Ok(());
            };
            let Some((target, answers)) = aimed else {
                tokio::time::sleep(CLAIM_AGAIN).await;
                continue;
            };
            let _under_way = UnderWay(self);
            let result = target.cancel().await;
            self.state().answered = answers;
            return result;
        }
    }
}

impl CancelSlot {
    /// Begins a request, where none is on its way. `None` when it would have nothing to end;
    /// `Some(None)` when it must wait.
    #[allow(clippy::option_option, reason = "read right away, by one caller")]
    fn aim(&self, ticket: u64) -> Option<Option<(CancelTarget, u64)>> {
        let mut state = self.state();
        if state.under_way {
            return Some(None);
        }
        if state.answered >= ticket {
            return None;
        }
        let target = match state.target.as_ref() {
            None => match state.wait {
                Wait::Moves => return Some(None),
                Wait::Yes => {
                    state.wait = Wait::CalledOff;
                    self.called_off.notify_waiters();
                    return None;
                }
                Wait::No | Wait::CalledOff => return None,
            },
            Some(Aim::Own(target)) => target.clone(),
            Some(Aim::Shared(line, number)) => match line.claim(*number) {
                Claim::Aim(target) => target,
                Claim::Over => return None,
                Claim::Wait => return Some(None),
            },
        };
        state.under_way = true;
        state.sent += 1;
        Some(Some((target, state.asked)))
    }
}

/// A client that waits for a server connection.
pub(crate) struct Waiting(Arc<CancelSlot>);

impl Waiting {
    /// The client has asked to cancel what it waits for.
    pub(crate) async fn called_off(&self) {
        loop {
            let mut notified = std::pin::pin!(self.0.called_off.notified());
            notified.as_mut().enable();
            if self.0.state().wait == Wait::CalledOff {
                return;
            }
            notified.await;
        }
    }
}

/// What has come is taken next, and a request of the last moment is found by [`CancelSlot::is_called_off`].
impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if state.wait == Wait::Yes {
            state.wait = Wait::Moves;
        }
    }
}

/// The request on its way, also when its future is dropped.
struct UnderWay<'a>(&'a CancelSlot);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.state().under_way = false;
        self.0.quiet.notify_waiters();
    }
}

/// A pid and a secret, as BackendKeyData carries them.
type Key = (i32, Vec<u8>);

/// The keys that are out.
#[derive(Debug, Default)]
pub struct CancelRegistry {
    /// The first byte of every secret, where other proxies must know whose it is.
    mark: Option<u8>,
    keys: Mutex<HashMap<Key, Arc<CancelSlot>>>,
}

impl CancelRegistry {
    /// Of keys whose secrets begin with this byte, if there is one.
    pub fn marked(mark: Option<u8>) -> Self {
        Self {
            mark,
            keys: Mutex::default(),
        }
    }

    /// Makes a key of `secret_bytes` bytes (4 under protocol 3.0, up to 256 under 3.2), with the
    /// pid of a server process or one of nobody's. It is good until the registration is dropped.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn register(
        self: &Arc<Self>,
        pid: Option<i32>,
        secret_bytes: usize,
    ) -> std::io::Result<CancelRegistration> {
        loop {
            let pid = match pid {
                Some(pid) => pid,
                None => random_pid()?,
            };
            let mut secret = crate::random::bytes(secret_bytes.clamp(4, 256))?;
            if let (Some(first), Some(mark)) = (secret.first_mut(), self.mark) {
                *first = mark;
            }
            let key = (pid, secret);
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            if let std::collections::hash_map::Entry::Vacant(entry) = keys.entry(key.clone()) {
                let slot = Arc::default();
                entry.insert(Arc::clone(&slot));
                let registry = Arc::clone(self);
                return Ok(CancelRegistration {
                    registry,
                    key,
                    slot,
                });
            }
        }
    }

    /// What a key leads to; `None` for a guess.
    pub fn find(&self, pid: i32, secret: &[u8]) -> Option<Arc<CancelSlot>> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.get(&(pid, secret.to_vec())).map(Arc::clone)
    }
}

/// A pid that a client takes for one.
fn random_pid() -> std::io::Result<i32> {
    let bytes = crate::random::bytes(4)?;
    let pid = bytes
        .iter()
        .fold(0, |pid, byte| pid << 8 | i32::from(*byte));
    Ok((pid & i32::MAX).max(1))
}

/// A key that is out; dropping it makes it void.
pub struct CancelRegistration {
    registry: Arc<CancelRegistry>,
    key: Key,
    slot: Arc<CancelSlot>,
}

impl std::fmt::Debug for CancelRegistration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CancelRegistration(pid {})", self.key.0)
    }
}

impl CancelRegistration {
    /// The pid to tell the client.
    pub fn pid(&self) -> i32 {
        self.key.0
    }

    /// The secret to tell the client.
    pub fn secret(&self) -> &[u8] {
        &self.key.1
    }

    /// Where the key leads.
    pub fn slot(&self) -> &Arc<CancelSlot> {
        &self.slot
    }
}

impl Drop for CancelRegistration {
    fn drop(&mut self) {
        self.slot.detach();
        let keys = self.registry.keys.lock();
        keys.unwrap_or_else(PoisonError::into_inner)
            .remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::task::Poll;

    use super::*;

    #[tokio::test]
    async fn a_connection_is_kept_for_its_own_request_only() {
        let slot = CancelSlot::default();
        (slot.state().under_way, slot.state().sent) = (true, 1);
        let mut quiet = std::pin::pin!(slot.quiet());
        let waits = poll_fn(|cx| Poll::Ready(quiet.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "the request is on its way");
        // It has ended, and the next is on its way to another connection.
        slot.state().sent = 2;
        slot.quiet.notify_waiters();
        quiet.await;
    }

    /// A server connection where nothing is left to cancel; it counts who asks.
    #[derive(Debug, Default)]
    struct Asked(std::sync::atomic::AtomicUsize);

    impl Shared for Asked {
        fn claim(&self, _: u64) -> Claim {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            Claim::Over
        }
    }

    #[tokio::test]
    async fn a_request_finds_a_statement_that_changes_its_place() {
        let slot = CancelSlot::default();
        let (first, second) = (Arc::new(Asked::default()), Arc::new(Asked::default()));
        slot.share((Arc::<Asked>::clone(&first), 0));
        assert!(slot.leave(), "no request is on its way");
        let mut request = std::pin::pin!(slot.cancel());
        let waits = poll_fn(|cx| Poll::Ready(request.as_mut().poll(cx).is_pending())).await;
        assert!(waits, "where the statement goes is not known yet");
        slot.share((Arc::<Asked>::clone(&second), 1));
        request.await.unwrap();
        let asked = |it: &Asked| it.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!((asked(&first), asked(&second)), (0, 1));
    }

    #[tokio::test]
    async fn a_request_of_the_last_moment_calls_the_statement_off() {
        let slot = Arc::new(CancelSlot::default());
        let waiting = slot.wait();
        slot.cancel().await.unwrap();
        // The connection has come at the same time.
        drop(waiting);
        assert!(slot.is_called_off() && !slot.is_called_off());
    }

    #[tokio::test]
    async fn a_request_for_who_has_gone_ends() {
        let registry = Arc::new(CancelRegistry::default());
        let registration = registry.register(None, 4).unwrap();
        let slot = Arc::clone(registration.slot());
        slot.move_on();
        drop(registration);
        slot.cancel().await.unwrap();
    }
}
