//! Server connections of one database.
//!
//! A connection is in one of these states, and has one owner in each:
//!
//! ```text
//!            checkout                    client's message            ReadyForQuery I
//!  idle ────────────────▶ leased, unset ────────────────▶ leased, set ─────────────▶ idle
//!  (Pool)    same setup   (Relay)        claims, settings (Relay)       Lease::hand_back
//!    ▲     └──────────────────────────────────▶ ▲                │
//!    │                                                           │ the session ends
//!    └───────────────── verified reset ◀─────────────────────────┘ Lease::give_back
//! ```
//!
//! - In session mode a client keeps its connection until it leaves; it goes back by
//!   [`Lease::give_back`] only, after a full reset whose answers were verified.
//! - In transaction mode it goes back by [`Lease::hand_back`] whenever no transaction is open, no
//!   reply is owed and nothing pins it. It remembers what it [`Carried`]: the next session with the
//!   same setup goes on at once; any other sweeps it and sets its own before its first statement.
//!   A session that ends while it holds a connection gives it back by the full reset.
//! - A lease that is merely dropped closes its connection, and so does whatever goes wrong.
//! - A connection is handed out only to a session with the same start-up parameters.
//! - A cancel that is on its way when its client leaves the connection keeps it from being handed
//!   out until it was delivered; then it goes through the full reset.
//!
//! Who waits for a connection waits in the order of arrival (the semaphore is fair), for
//! `checkout_timeout` at most, and through a [`pause`] for `pause_timeout`. The only lock is that of
//! the list of idle connections; it is never held over an await.

mod carried;
mod holders;
mod lease;
mod line;
mod name;
mod paces;
mod pause;
mod ride;
mod statements;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgwarden_config::settings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::backend::{
    self, Backend, BackendFacts, ConnectError, Moment, StartupParameters, Upstream,
};
use crate::metrics::{Gauge, Metrics};

use holders::Holders;
use lease::{InUse, Out};
use line::{Line, Lines};
use pause::Pause;

pub(crate) use carried::{Carried, Settings, Setup, is_of_no_statement};
pub(crate) use holders::Holder;
pub use lease::Lease;
pub(crate) use name::{Name, name_of, name_under};
pub(crate) use ride::{Ride, Turn};
pub(crate) use statements::{Need, Prepared, Under};

/// Start-up parameters whose greeting is remembered, at most.
const GREETINGS_MAX: usize = 64;

/// How long to wait before a server that is down is asked again.
const CONNECT_AGAIN: Duration = Duration::from_millis(100);

/// How often unused connections are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// The pool of one database.
#[derive(Debug)]
pub struct Pool {
    upstream: Arc<Upstream>,
    settings: settings::Pool,
    /// The most connections, used and unused.
    limit: usize,
    /// One permit for each connection in use.
    in_use: Arc<Semaphore>,
    pause: Pause,
    /// Clients that wait for a connection.
    waiting: Gauge,
    /// Unused connections; the longest unused in front.
    idle: Mutex<VecDeque<Idle>>,
    /// Connections on which sessions wait for short reads.
    lines: Lines,
    /// What the server said at start-up, by start-up parameters: transaction mode greets with it.
    greetings: Mutex<Vec<(StartupParameters, Arc<BackendFacts>)>>,
    holders: Holders,
    metrics: Arc<Metrics>,
}

/// A connection and what it takes to hand it out again.
#[derive(Debug)]
struct Held {
    backend: Backend,
    parameters: Arc<StartupParameters>,
    opened: Instant,
    carried: Carried,
    /// Whose it was last.
    holder: Arc<holders::Last>,
    /// What it was a line by; kept for the next time.
    line: Option<Arc<Line>>,
}

impl Held {
    /// Whether it was opened with these start-up parameters.
    fn asked_for(&self, parameters: &Arc<StartupParameters>) -> bool {
        Arc::ptr_eq(&self.parameters, parameters) || self.parameters == *parameters
    }
}

#[derive(Debug)]
struct Idle {
    held: Box<Held>,
    since: Instant,
}

impl Pool {
    /// An empty pool.
    pub fn new(
        upstream: Arc<Upstream>,
        settings: settings::Pool,
        limit: usize,
        metrics: Arc<Metrics>,
    ) -> Arc<Self> {
        let lines = Lines::new(settings.multiplex_wait);
        Arc::new(Self {
            upstream,
            settings,
            limit,
            in_use: Arc::new(Semaphore::new(limit)),
            pause: Pause::default(),
            waiting: Gauge::default(),
            idle: Mutex::default(),
            lines,
            greetings: Mutex::default(),
            holders: Holders::default(),
            metrics,
        })
    }

    /// Tells that connections went to a host that is retired; `None` where that can't be.
    pub(crate) fn retirements(&self) -> Option<watch::Receiver<()>> {
        self.upstream.hosts().retirements()
    }

    /// The client of this tenant that had the connection of a server process last.
    pub(crate) fn holder(&self, process: i32, tenant: Option<&str>) -> Option<i32> {
        let holder = self.holders.of(process)?;
        (holder.tenant == self.holders.mark(tenant)).then_some(holder.pid)
    }

    /// A client, as it tells each connection that it has.
    pub(crate) fn as_holder(&self, pid: i32, tenant: Option<&str>) -> Holder {
        let tenant = self.holders.mark(tenant);
        Holder { pid, tenant }
    }

    /// When clients give their connections back.
    pub fn mode(&self) -> settings::PoolMode {
        self.settings.mode
    }

    /// A server connection that can be had at once.
    pub(crate) fn try_checkout(
        self: &Arc<Self>,
        parameters: &Arc<StartupParameters>,
        setup: &Arc<Setup>,
        since: Option<Moment>,
    ) -> Option<Lease> {
        // Free permits mean that nobody waits: who waits gets them first.
        let permit = Arc::clone(&self.in_use).try_acquire_owned().ok()?;
        let in_use = InUse::take(self, permit).ok()?;
        let held = self.reuse(parameters, Some(setup), since)?;
        Some(Lease { held, in_use })
    }

    /// Whether a connection can be had without waiting for somebody's.
    pub(crate) fn has_room(&self) -> bool {
        self.in_use.available_permits() > 0 && !self.pause.is_on()
    }

    /// What the server says at start-up to a session with these parameters, if it has been asked.
    pub(crate) fn greeting(&self, parameters: &StartupParameters) -> Option<Arc<BackendFacts>> {
        let greetings = self.greetings();
        let mut known = greetings.iter();
        known
            .find(|(known, _)| known == parameters)
            .map(|(_, facts)| Arc::clone(facts))
    }

    fn remember_greeting(&self, parameters: &StartupParameters, facts: &BackendFacts) {
        let facts = Arc::new(BackendFacts {
            notices: Vec::new(),
            ..facts.clone()
        });
        let mut greetings = self.greetings();
        greetings.retain(|(known, _)| known != parameters);
        if greetings.len() >= GREETINGS_MAX {
            greetings.remove(0);
        }
        greetings.push((parameters.clone(), facts));
    }

    fn greetings(&self) -> MutexGuard<'_, Vec<(StartupParameters, Arc<BackendFacts>)>> {
        let greetings = self.greetings.lock();
        greetings.unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(
        &self,
        parameters: &Arc<StartupParameters>,
        since: Option<Moment>,
    ) -> Result<Box<Held>, ConnectError> {
        let backend = backend::connect_since(&self.upstream, parameters, since).await?;
        if self.settings.mode == settings::PoolMode::Transaction {
            self.remember_greeting(parameters, backend.facts());
        }
        let holder = self.holders.open(backend.facts().pid);
        Ok(Box::new(Held {
            backend,
            parameters: Arc::clone(parameters),
            opened: Instant::now(),
            carried: Carried::default(),
            holder,
            line: None,
        }))
    }

    /// A server connection for a session with these start-up parameters.
    ///
    /// # Errors
    /// When none became free in time, or the server can't be reached.
    pub async fn checkout(
        self: &Arc<Self>,
        parameters: &StartupParameters,
    ) -> Result<Lease, ConnectError> {
        let parameters = Arc::new(parameters.clone());
        Arc::clone(self).checkout_for(parameters, None, None).await
    }

    /// A server connection for a session with these start-up parameters; one that carries the
    /// setup, if there is one. With a moment, it is to a standby that is current as of then, and who
    /// asks can do without.
    ///
    /// # Errors
    /// When none became free in time, or the server can't be reached.
    pub(crate) async fn checkout_for(
        self: Arc<Self>,
        parameters: Arc<StartupParameters>,
        setup: Option<Arc<Setup>>,
        since: Option<Moment>,
    ) -> Result<Lease, ConnectError> {
        let started = Instant::now();
        let mut deadline = tokio::time::Instant::now() + self.settings.checkout_timeout;
        let waiting = Waiting::new(&self.waiting);
        let permit = self.permit(&mut deadline).await;
        self.metrics.pool_wait_seconds.observe(started.elapsed());
        let mut permit = permit?;
        loop {
            self.lifted(&mut deadline).await?;
            let in_use = match InUse::take(&self, permit) {
                Ok(in_use) => in_use,
                Err(kept) => {
                    permit = kept;
                    continue;
                }
            };
            match self.fetch(&parameters, setup.as_ref(), since).await {
                Ok(held) => {
                    drop(waiting);
                    return Ok(Lease { held, in_use });
                }
                // The server is down. Who has a session already need not notice that it was started
                // anew, and nobody that it was paused.
                Err(error)
                    if error.is_passing()
                        && self.asks_again(setup.is_some() && since.is_none(), deadline) =>
                {
                    permit = in_use.leave();
                    tokio::time::sleep(CONNECT_AGAIN).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn asks_again(&self, in_session: bool, deadline: tokio::time::Instant) -> bool {
        self.pause.is_on() || (in_session && tokio::time::Instant::now() < deadline)
    }

    /// The right to a connection, in the order of arrival.
    async fn permit(
        &self,
        deadline: &mut tokio::time::Instant,
    ) -> Result<OwnedSemaphorePermit, ConnectError> {
        let mut turn = pin!(Arc::clone(&self.in_use).acquire_owned());
        loop {
            self.lifted(deadline).await?;
            tokio::select! {
                biased;
                permit = &mut turn => return permit.map_err(|_| ConnectError::PoolFull),
                () = tokio::time::sleep_until(*deadline) => return Err(ConnectError::PoolFull),
                () = self.pause.begun() => {}
            }
        }
    }

    /// Waits while the pool is paused; that time does not count.
    async fn lifted(&self, deadline: &mut tokio::time::Instant) -> Result<(), ConnectError> {
        if !self.pause.is_on() {
            return Ok(());
        }
        let started = Instant::now();
        let lifted = tokio::time::timeout(self.settings.pause_timeout, self.pause.lifted());
        lifted.await.map_err(|_| ConnectError::Paused)?;
        *deadline += started.elapsed();
        Ok(())
    }

    /// A connection for who has a place in the pool.
    async fn fetch(
        &self,
        parameters: &Arc<StartupParameters>,
        setup: Option<&Arc<Setup>>,
        since: Option<Moment>,
    ) -> Result<Box<Held>, ConnectError> {
        if let Some(held) = self.reuse(parameters, setup, since) {
            return Ok(held);
        }
        self.make_room();
        self.connect(parameters, since).await
    }

    /// A connection that is still alive: the freshest that carries the setup; else the one that
    /// was unused for longest, so that the others keep theirs for who comes back.
    fn reuse(
        &self,
        parameters: &Arc<StartupParameters>,
        setup: Option<&Arc<Setup>>,
        since: Option<Moment>,
    ) -> Option<Box<Held>> {
        loop {
            let mut held = {
                let mut idle = self.idle();
                let fits = |idle: &Idle| {
                    let held = &idle.held;
                    held.asked_for(parameters) && held.backend.mark().is_current(since)
                };
                let at = match setup {
                    None => idle.iter().rposition(fits)?,
                    Some(setup) => idle
                        .iter()
                        .rposition(|idle| idle.held.carried.carries(setup) && fits(idle))
                        .or_else(|| idle.iter().position(fits))?,
                };
                idle.remove(at)?.held
            };
            self.metrics.server_idle.add(-1);
            if self.may_stay(&held) && held.backend.is_quiet() {
                return Some(held);
            }
        }
    }

    /// Closes unused connections until one more may be opened.
    fn make_room(&self) {
        let mut closing = Vec::new();
        let mut idle = self.idle();
        // The caller's own permit is among those in use.
        let in_use = self.limit - self.in_use.available_permits().min(self.limit);
        while in_use + idle.len() > self.limit {
            match idle.pop_front() {
                Some(oldest) => closing.push(oldest),
                None => break,
            }
        }
        drop(idle);
        self.close_all(closing);
    }

    fn close_all(&self, closing: Vec<Idle>) {
        for idle in closing {
            self.metrics.server_idle.add(-1);
            tokio::spawn(idle.held.backend.close());
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a connection may be handed out again.
    fn may_stay(&self, held: &Held) -> bool {
        held.opened.elapsed() < self.settings.max_lifetime && !held.backend.mark().is_retired()
    }

    /// Takes a connection back, unless it is to be closed.
    fn keep(&self, held: Box<Held>) -> Result<(), Box<Held>> {
        let mut idle = self.idle();
        // Under the lock: who pauses closes all that is in the list after that.
        if self.pause.is_on() || !self.may_stay(&held) {
            return Err(held);
        }
        self.metrics.server_idle.add(1);
        let since = Instant::now();
        idle.push_back(Idle { held, since });
        Ok(())
    }

    /// Closes connections that were unused or lived too long, or that the server has ended.
    fn sweep(&self) {
        let settings = &self.settings;
        let mut closing = Vec::new();
        let mut idle = self.idle();
        for _ in 0..idle.len() {
            let Some(mut it) = idle.pop_front() else {
                break;
            };
            let good = it.since.elapsed() < settings.idle_timeout
                && self.may_stay(&it.held)
                && it.held.backend.is_quiet();
            if good {
                idle.push_back(it);
            } else {
                closing.push(it);
            }
        }
        drop(idle);
        self.close_all(closing);
    }

    /// Sweeps now and then until the pool is gone.
    pub fn spawn_sweeper(self: &Arc<Self>) {
        let pool = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                match pool.upgrade() {
                    Some(pool) => pool.sweep(),
                    None => return,
                }
            }
        });
    }

    /// Closes what is unused.
    pub fn clear(&self) {
        let closing = self.idle().drain(..).collect();
        self.close_all(closing);
    }

    /// Hands no connection out from now on, and closes the unused ones.
    pub(crate) fn pause(self: &Arc<Self>) {
        self.pause.set(true);
        let closing: Vec<Idle> = self.idle().drain(..).collect();
        for idle in closing {
            self.metrics.server_idle.add(-1);
            let out = Out::closing(self);
            tokio::spawn(async move {
                idle.held.backend.close().await;
                drop(out);
            });
        }
    }

    /// Hands connections out again.
    pub(crate) fn resume(&self) {
        // Another server may have another greeting.
        self.greetings().clear();
        self.pause.set(false);
    }

    /// Whether it is paused.
    pub(crate) fn is_paused(&self) -> bool {
        self.pause.is_on()
    }

    /// Waits until a paused pool has no connection: those in use are closed as their transactions
    /// end. False when it was resumed before that.
    pub(crate) async fn emptied(&self) -> bool {
        self.pause.quiet().await
    }

    /// Its connections: in use, unused; and the clients that wait for one.
    pub(crate) fn occupancy(&self) -> Occupancy {
        Occupancy {
            active: self.pause.out(),
            idle: self.idle().len(),
            waiting: usize::try_from(self.waiting.value()).unwrap_or(0),
        }
    }
}

/// What a pool does at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Occupancy {
    /// Connections in use, or being opened or closed.
    pub(crate) active: usize,
    /// Unused connections.
    pub(crate) idle: usize,
    /// Clients that wait for one.
    pub(crate) waiting: usize,
}

/// A client that waits for a connection.
struct Waiting<'a>(&'a Gauge);

impl<'a> Waiting<'a> {
    fn new(gauge: &'a Gauge) -> Self {
        gauge.add(1);
        Self(gauge)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
