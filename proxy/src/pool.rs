//! Server connections of one database, in session mode: a client keeps its connection until it
//! leaves.
//!
//! A connection goes back to the pool only by [`Lease::give_back`], after a full reset whose
//! answers were verified, and is handed out again only to a session with the same start-up
//! parameters. A lease that is merely dropped closes its connection. Claims are never remembered:
//! the session sets them anew.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use pgwarden_config::settings;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::{self, Backend, ConnectError, StartupParameters, Upstream};
use crate::metrics::Metrics;

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
    metrics: Arc<Metrics>,
}

/// A connection and what it takes to hand it out again.
#[derive(Debug)]
struct Held {
    backend: Backend,
    parameters: StartupParameters,
    opened: Instant,
}

#[derive(Debug)]
struct Idle {
    held: Held,
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
            metrics,
        })
    }

    /// A server connection for a session with these start-up parameters.
    ///
    /// # Errors
    /// When none became free in time, or the server can't be reached.
    pub async fn checkout(
        self: &Arc<Self>,
        parameters: &StartupParameters,
    ) -> Result<Lease, ConnectError> {
        let started = Instant::now();
        let waiting = Arc::clone(&self.in_use).acquire_owned();
        let permit = tokio::time::timeout(self.settings.checkout_timeout, waiting).await;
        self.metrics.pool_wait_seconds.observe(started.elapsed());
        let Ok(Ok(permit)) = permit else {
            return Err(ConnectError::PoolFull);
        };
        let held = match self.reuse(parameters) {
            Some(held) => held,
            None => {
                self.make_room();
                Held {
                    backend: backend::connect(&self.upstream, parameters).await?,
                    parameters: parameters.clone(),
                    opened: Instant::now(),
                }
            }
        };
        self.metrics.server_active.add(1);
        Ok(Lease {
            held,
            pool: Arc::clone(self),
            in_use: InUse {
                metrics: Arc::clone(&self.metrics),
                _permit: permit,
            },
        })
    }

    /// The freshest fitting connection that is still alive.
    fn reuse(&self, parameters: &StartupParameters) -> Option<Held> {
        loop {
            let mut held = {
                let mut idle = self.idle();
                let fits = |idle: &Idle| idle.held.parameters == *parameters;
                let at = idle.iter().rposition(fits)?;
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
                Some(oldest) => closing.push(oldest.held),
                None => break,
            }
        }
        drop(idle);
        self.close_all(closing);
    }

    fn close_all(&self, closing: Vec<Held>) {
        for held in closing {
            self.metrics.server_idle.add(-1);
            tokio::spawn(held.backend.close());
        }
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a connection back after its reset.
    fn keep(&self, held: Held) {
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
                closing.push(it.held);
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
        let closing = self.idle().drain(..).map(|idle| idle.held).collect();
        self.close_all(closing);
    }
}

/// A server connection in the hands of one session. Dropping it closes the connection.
#[derive(Debug)]
pub struct Lease {
    held: Held,
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
    /// Ends the session on the server: resets it and, if that went well, puts the connection back
    /// into the pool. Only for a connection whose answers have all been read; its place in the
    /// pool stays taken meanwhile. Returns at once.
    pub fn give_back(self) {
        let Self {
            mut held,
            pool,
            in_use,
        } = self;
        tokio::spawn(async move {
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
