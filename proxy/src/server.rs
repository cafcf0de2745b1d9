//! The process from start to end: listeners, signals, reloads, shutdown.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pgwarden_config::{Environment, LoadedPolicy, Settings, load_policy, load_settings};
use pgwarden_policy::Policy;
use pgwarden_policy::rules::{Mode, TableRule};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::AbortHandle;

use crate::admin;
use crate::audit::{Event, EventKind};
use crate::descriptors;
use crate::listener::{Inherited, Listener};
use crate::log;
use crate::proxy::{Drain, Proxy, StartError};

/// libpg_query recurses in C. The engine bounds what it gives it, and this is what that needs.
pub(crate) const STACK_BYTES: usize = 16 << 20;

/// Sessions that were told to end get this long to say so to their clients.
const CLOSING_TIME: Duration = Duration::from_secs(2);

/// The audit's last lines get this long to reach their target.
const FLUSHING_TIME: Duration = Duration::from_secs(2);

/// What the two files say.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// `warden.toml`.
    pub settings: Settings,
    /// `policy.toml`.
    pub policy: LoadedPolicy,
}

impl Inputs {
    /// Reads `warden.toml`, the environment's overrides, and the policy file that it names.
    ///
    /// # Errors
    /// All problems of the first file that has any, as the text to show.
    pub fn read(config: &Path) -> Result<Self, String> {
        let settings = load_settings(config, &Environment::of_process());
        let settings = settings.map_err(|problems| problems.to_string())?;
        let policy = load_policy(&settings.policy_file);
        let policy = policy.map_err(|problems| problems.to_string())?;
        Ok(Self { settings, policy })
    }
}

/// Reads the two files: at the start, and again at each HUP. An error is the text to show.
pub type Load = dyn Fn() -> Result<Inputs, String> + Send + Sync;

/// A proxy that runs.
#[derive(Debug)]
pub struct Running {
    proxy: Arc<Proxy>,
    listeners: Vec<Arc<Listener>>,
    addresses: Vec<SocketAddr>,
    admin: Option<Admin>,
    /// Another process may take new clients in when this one is told to end.
    shared: bool,
    open: Arc<AtomicUsize>,
    /// The tasks that take clients in, until they have left their sockets.
    doors: Vec<AbortHandle>,
}

/// The admin server: it answers until the end, also while the proxy drains.
#[derive(Debug)]
struct Admin {
    address: SocketAddr,
    task: AbortHandle,
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Runs the proxy until a signal ends it.
///
/// # Errors
/// When it can't start.
pub fn serve(load: &Load) -> Result<(), StartError> {
    let inherited = Inherited::from_process();
    let inherited =
        inherited.map_err(|error| StartError::Settings(format!("LISTEN_FDS: {error}")))?;
    let inputs = load().map_err(StartError::Settings)?;
    let log = log::install(&inputs.settings.log).map_err(StartError::Settings)?;
    log::install_panic_hook();
    descriptors::raise(&inputs.settings);
    let threads = inputs.settings.limits.worker_threads;
    let runtime = runtime(threads).map_err(|error| StartError::Settings(error.to_string()))?;
    let served = runtime.block_on(async {
        let signals = Signals::new().map_err(|error| StartError::Settings(error.to_string()))?;
        let running = start_with(inputs, inherited).await?;
        running.announce();
        signals.obey(&running, load).await;
        Ok(())
    });
    // Tasks that still hang on a socket end with the runtime, and the log is last.
    runtime.shutdown_background();
    drop(log);
    served
}

/// The runtime that sessions need: its threads have the stack for the parser. A session that is
/// judging a long text hands its thread's other sessions to another thread.
///
/// # Errors
/// When the system gives no threads.
pub fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads.max(1))
        .enable_all()
        .thread_name("pgwarden")
        .thread_stack_size(STACK_BYTES)
        .build()
}

/// Starts the proxy in the runtime of the caller.
///
/// # Errors
/// When an address, key, file, database or the policy is not usable.
pub async fn start(inputs: Inputs) -> Result<Running, StartError> {
    start_with(inputs, Inherited::default()).await
}

async fn start_with(inputs: Inputs, mut inherited: Inherited) -> Result<Running, StartError> {
    let mut bound = Vec::new();
    for settings in &inputs.settings.listen {
        bound.push(Listener::bind(settings, &mut inherited)?);
    }
    let admin = match inputs.settings.admin {
        Some(address) => Some(bind_admin(address, &mut inherited).await?),
        None => None,
    };
    if let Some(address) = inherited.left() {
        let message = format!("a socket for {address} was passed in, and no [[listen]] is there");
        return Err(StartError::Settings(message));
    }
    let LoadedPolicy { policy, source } = inputs.policy;
    let opened = Proxy::open(inputs.settings, Arc::clone(&policy)).await;
    let proxy = opened.map_err(|error| error.located(&source))?;
    warn_of_observing(&policy);
    let open = Arc::new(AtomicUsize::new(0));
    let (mut listeners, mut doors) = (Vec::new(), Vec::new());
    let shared = bound.iter().any(|(_, socket)| socket.is_shared());
    for (listener, socket) in bound {
        let accepting = Arc::clone(&listener).accept(socket, Arc::clone(&proxy), Arc::clone(&open));
        doors.push(tokio::spawn(accepting).abort_handle());
        listeners.push(listener);
    }
    let addresses = listeners.iter().map(|it| it.address()).collect();
    let admin = admin.and_then(|listener| {
        let address = listener.local_addr().ok()?;
        let task = tokio::spawn(admin::serve(listener, Arc::clone(&proxy))).abort_handle();
        Some(Admin { address, task })
    });
    Ok(Running {
        proxy,
        listeners,
        addresses,
        admin,
        shared,
        open,
        doors,
    })
}

/// Nobody should learn from a leak that a policy was only observed.
fn warn_of_observing(policy: &Policy) {
    if policy.mode == Mode::Observe {
        tracing::warn!("the policy is only observed: statements go on as they come");
    }
    let observed = |table: &&TableRule| table.mode == Some(Mode::Observe);
    for table in policy.tables.iter().filter(observed) {
        tracing::warn!(table = %table.name, "the table is only observed");
    }
}

async fn bind_admin(
    address: SocketAddr,
    inherited: &mut Inherited,
) -> Result<TcpListener, StartError> {
    let bound = match inherited.take(address) {
        Some(socket) => socket
            .set_nonblocking(true)
            .and_then(|()| TcpListener::from_std(socket)),
        None => TcpListener::bind(address).await,
    };
    bound.map_err(|error| {
        StartError::Settings(format!("can't listen on {address} (admin): {error}"))
    })
}

impl Running {
    /// What its sessions share.
    pub fn proxy(&self) -> &Arc<Proxy> {
        &self.proxy
    }

    /// The addresses that clients connect to, in the order of `[[listen]]`.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The admin server's address.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(|admin| admin.address)
    }

    fn announce(&self) {
        let version = env!("CARGO_PKG_VERSION");
        for address in &self.addresses {
            tracing::info!(%address, version, "listening");
        }
        if let Some(address) = self.admin_address() {
            tracing::info!(%address, "admin");
        }
    }

    /// Puts what the files say now in force: the policy, the keys and the certificates. On an
    /// error everything stays as it was.
    ///
    /// # Errors
    /// What is wrong, as it was logged.
    pub fn reload(&self, inputs: Result<Inputs, String>) -> Result<(), String> {
        let result = inputs.and_then(|inputs| self.put_in_force(inputs));
        let metrics = self.proxy.metrics();
        let mut event = Event::new(EventKind::Reload, None);
        match &result {
            Ok(revision) => {
                metrics.reloads_ok.increment();
                event.policy = Some(revision.clone());
                tracing::info!(policy = revision, "reloaded");
            }
            Err(why) => {
                metrics.reloads_failed.increment();
                event.reason = Some("reload_failed");
                tracing::error!("not reloaded, the old policy stays: {why}");
            }
        }
        self.proxy.audit().record(event);
        result.map(|_| ())
    }

    /// Gives the new policy's revision.
    fn put_in_force(&self, inputs: Inputs) -> Result<String, String> {
        let LoadedPolicy { policy, source } = inputs.policy;
        let mut certificates = Vec::new();
        for listener in &self.listeners {
            let renewed = listener.renew().map_err(|error| error.to_string())?;
            certificates.push((listener, renewed));
        }
        let reloaded = self.proxy.reload(&inputs.settings, Arc::clone(&policy));
        reloaded.map_err(|error| error.located(&source).to_string())?;
        for (listener, certificate) in certificates {
            listener.put_in_force(certificate);
        }
        for section in unreloadable(self.proxy.settings(), &inputs.settings) {
            tracing::warn!("[{section}] has changed; that takes a restart");
        }
        warn_of_observing(&policy);
        Ok(policy.revision.clone())
    }

    /// Stops accepting and lets transactions finish for as long as the settings say; then ends
    /// what is left. Where another process takes new clients in, sessions that are at work get half
    /// of that time to go on. `hurry` cuts the waiting short.
    pub async fn shut_down(&self, hurry: impl Future<Output = ()>) {
        tokio::select! {
            () = self.drained() => {}
            () = hurry => {}
        }
        self.proxy.set_drain(Drain::Closing);
        let _ = tokio::time::timeout(CLOSING_TIME, self.emptied()).await;
        for database in self.proxy.databases() {
            for pool in database.pools() {
                pool.clear();
            }
        }
        let audit = self.proxy.audit().clone();
        let flushed = tokio::task::spawn_blocking(move || audit.flush(FLUSHING_TIME));
        let _ = flushed.await;
    }

    async fn drained(&self) {
        let patience = self.proxy.settings().limits.drain_timeout;
        let ends = tokio::time::Instant::now() + patience;
        if self.shared {
            self.proxy.set_drain(Drain::HandingOver);
            let _ = tokio::time::timeout(patience / 2, self.emptied()).await;
        }
        self.proxy.set_drain(Drain::Draining);
        let _ = tokio::time::timeout_at(ends, self.emptied()).await;
    }

    /// Nobody is here, and nobody comes: clients that wait at a socket which is left are let in first.
    async fn emptied(&self) {
        let is_left = |door: &AbortHandle| door.is_finished();
        while !self.doors.iter().all(is_left) || self.open.load(Ordering::Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The sections that differ and that a reload does not put in force.
fn unreloadable(old: &Settings, new: &Settings) -> Vec<&'static str> {
    // Their debug output holds all but the secrets.
    let texts = |settings: &Settings| {
        [
            ("listen", format!("{:?}", settings.listen)),
            ("admin", format!("{:?}", settings.admin)),
            ("databases", format!("{:?}", settings.databases)),
            ("pool", format!("{:?}", settings.pool)),
            ("limits", format!("{:?}", settings.limits)),
            ("audit", format!("{:?}", settings.audit)),
            ("log", format!("{:?}", settings.log)),
            ("peers", format!("{:?}", settings.peers)),
        ]
    };
    let pairs = texts(old).into_iter().zip(texts(new));
    let differ = pairs.filter(|(old, new)| old != new);
    differ.map(|(old, _)| old.0).collect()
}

/// The signals that the process obeys: HUP, TERM, INT.
pub(crate) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// HUP reloads, the first TERM or INT drains, the second one ends the draining.
    pub(crate) async fn obey(mut self, running: &Running, load: &Load) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    let _ = running.reload(load());
                }
                () = Self::end(&mut self.terminate, &mut self.interrupt) => break,
            }
        }
        tracing::info!("shutting down");
        running
            .shut_down(Self::end(&mut self.terminate, &mut self.interrupt))
            .await;
    }

    async fn end(terminate: &mut Signal, interrupt: &mut Signal) {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
}
