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
//! `checkout_timeout` at most. The only lock is that of the list of idle connections; it is never
//! held over an await.

mod carried;
mod statements;

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgwarden_config::settings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{
    self, Backend, BackendFacts, CancelSlot, ConnectError, StartupParameters, Upstream,
};
use crate::metrics::Metrics;

pub(crate) use carried::{Carried, Settings, Setup};
pub(crate) use statements::{Need, Prepared, name_of};

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
    /// Unused connections; the longest unused in front.
    idle: Mutex<VecDeque<Idle>>,
    /// What the server said at start-up, by start-up parameters: transaction mode greets with it.
    greetings: Mutex<Vec<(StartupParameters, Arc<BackendFacts>)>>,
    metrics: Arc<Metrics>,
}

/// A connection and what it takes to hand it out again.
#[derive(Debug)]
struct Held {
    backend: Backend,
    parameters: Arc<StartupParameters>,
    opened: Instant,
    carried: Carried,
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
        Arc::new(Self {
            upstream,
            settings,
            limit,
            in_use: Arc::new(Semaphore::new(limit)),
            idle: Mutex::default(),
            greetings: Mutex::default(),
            metrics,
        })
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
    ) -> Option<Lease> {
        // Free permits mean that nobody waits: who waits gets them first.
        let permit = Arc::clone(&self.in_use).try_acquire_owned().ok()?;
        let held = self.reuse(parameters, Some(setup))?;
        Some(self.lease(held, permit))
    }

    fn lease(self: &Arc<Self>, held: Box<Held>, permit: OwnedSemaphorePermit) -> Lease {
        self.metrics.server_active.add(1);
        Lease {
            held,
            pool: Arc::clone(self),
            in_use: InUse {
                metrics: Arc::clone(&self.metrics),
                _permit: permit,
            },
        }
    }

    /// What the server says at start-up to a session with these parameters, if it has been asked.
    pub(crate) fn greeting(&self, parameters: &StartupParameters) -> Option<Arc<BackendFacts>> {
        let greetings = self
            .greetings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
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
        let mut greetings = self
            .greetings
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        greetings.retain(|(known, _)| known != parameters);
        if greetings.len() >= GREETINGS_MAX {
            greetings.remove(0);
        }
        greetings.push((parameters.clone(), facts));
    }

    async fn connect(
        &self,
        parameters: &Arc<StartupParameters>,
    ) -> Result<Box<Held>, ConnectError> {
        let backend = backend::connect(&self.upstream, parameters).await?;
        if self.settings.mode == settings::PoolMode::Transaction {
            self.remember_greeting(parameters, backend.facts());
        }
        Ok(Box::new(Held {
            backend,
            parameters: Arc::clone(parameters),
            opened: Instant::now(),
            carried: Carried::default(),
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
        Arc::clone(self).checkout_for(parameters, None).await
    }

    /// A server connection for a session with these start-up parameters; one that carries the
    /// setup, if there is one.
    ///
    /// # Errors
    /// When none became free in time, or the server can't be reached.
    pub(crate) async fn checkout_for(
        self: Arc<Self>,
        parameters: Arc<StartupParameters>,
        setup: Option<Arc<Setup>>,
    ) -> Result<Lease, ConnectError> {
        let started = Instant::now();
        let waiting = Arc::clone(&self.in_use).acquire_owned();
        let permit = tokio::time::timeout(self.settings.checkout_timeout, waiting).await;
        self.metrics.pool_wait_seconds.observe(started.elapsed());
        let Ok(Ok(permit)) = permit else {
            return Err(ConnectError::PoolFull);
        };
        let held = match self.reuse(&parameters, setup.as_ref()) {
            Some(held) => held,
            None => {
                self.make_room();
                let patience = match setup {
                    Some(_) => self
                        .settings
                        .checkout_timeout
                        .saturating_sub(started.elapsed()),
                    None => Duration::ZERO,
                };
                self.connect_within(patience, &parameters).await?
            }
        };
        Ok(self.lease(held, permit))
    }

    /// A new connection. A server that is down is asked again for so long: who has a session
    /// already need not notice that the server was started anew.
    async fn connect_within(
        &self,
        patience: Duration,
        parameters: &Arc<StartupParameters>,
    ) -> Result<Box<Held>, ConnectError> {
        let started = Instant::now();
        loop {
            match self.connect(parameters).await {
                Err(error) if error.is_passing() && started.elapsed() < patience => {
                    tokio::time::sleep(CONNECT_AGAIN).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// A connection that is still alive: the freshest that carries the setup; else the one that
    /// was unused for longest, so that the others keep theirs for who comes back.
    fn reuse(
        &self,
        parameters: &Arc<StartupParameters>,
        setup: Option<&Arc<Setup>>,
    ) -> Option<Box<Held>> {
        loop {
            let mut held = {
                let mut idle = self.idle();
                let fits = |idle: &Idle| {
                    Arc::ptr_eq(&idle.held.parameters, parameters)
                        || idle.held.parameters == *parameters
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
            if held.opened.elapsed() < self.settings.max_lifetime && held.backend.is_quiet() {
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

    /// Takes a connection back after its reset.
    fn keep(&self, held: Box<Held>) {
        if held.opened.elapsed() >= self.settings.max_lifetime {
            tokio::spawn(held.backend.close());
            return;
        }
        self.metrics.server_idle.add(1);
        let since = Instant::now();
        self.idle().push_back(Idle { held, since });
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
                && it.held.opened.elapsed() < settings.max_lifetime
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
}

/// A server connection in the hands of one session. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    /// In a box: it passes from hand to hand.
    held: Box<Held>,
    pool: Arc<Pool>,
    in_use: InUse,
}

/// The place in the pool that a lease takes.
#[derive(Debug)]
struct InUse {
    metrics: Arc<Metrics>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.metrics.server_active.add(-1);
    }
}

impl Lease {
    /// What the connection carries.
    pub(crate) fn carried(&mut self) -> &mut Carried {
        &mut self.held.carried
    }

    /// The connection is free: no transaction is open on it, and no answer is owed. What it carries
    /// is kept. Returns at once.
    pub(crate) fn hand_back(self, cancels: &Arc<CancelSlot>) {
        if !cancels.detach() {
            return self.reset_when_quiet(Arc::clone(cancels));
        }
        let Self { held, pool, in_use } = self;
        pool.keep(held);
        drop(in_use);
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
    fn reset_when_quiet(self, cancels: Arc<CancelSlot>) {
        let Self {
            mut held,
            pool,
            in_use,
        } = self;
        tokio::spawn(async move {
            cancels.quiet().await;
            held.carried = Carried::default();
            match held.backend.reset().await {
                Ok(()) => pool.keep(held),
                Err(error) => {
                    tracing::debug!(%error, "a server connection was not reused");
                    held.backend.close().await;
                }
            }
            drop(in_use);
        });
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
