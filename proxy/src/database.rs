//! One database that clients ask for: its engine (the policy bound to its catalogue), its pool, and
//! the control connection that keeps the catalogue fresh.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use pgwarden_config::Settings;
use pgwarden_config::settings;
use pgwarden_policy::engine::{BindingProblem, Limits};
use pgwarden_policy::{CacheStats, Catalog, Engine, Policy};
use tokio::sync::Notify;

use crate::backend::{self, ConnectError, Upstream};
use crate::metrics::Metrics;
use crate::pool::Pool;
use crate::tls::TlsError;

/// The catalogue is read again after this time, and after a reload.
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// A refresh that was asked for because a statement named an unknown relation comes no sooner than
/// this after the last one.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);

/// Reading the catalogue takes no longer than this.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the login role could do beyond reading and writing rows.
const ROLE: &str = "SELECT rolsuper AS superuser, rolbypassrls AS bypassrls, \
    rolcreaterole AS createrole, rolreplication AS replication, \
    EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relowner OPERATOR(pg_catalog.=) r.oid \
        AND c.relkind IN ('r', 'p')) AS owner \
    FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user";

/// Why a database can't be served.
#[derive(Debug)]
pub enum OpenError {
    /// The server can't be reached, or refuses.
    Connect(ConnectError),
    /// The TLS settings are not usable.
    Tls(TlsError),
    /// The policy does not fit the catalogue.
    Policy(Vec<BindingProblem>),
}

/// A database that clients ask for.
#[derive(Debug)]
pub struct Database {
    name: String,
    upstream: Arc<Upstream>,
    limits: Limits,
    engine: ArcSwap<Engine>,
    /// What the plan caches of former engines did.
    retired: Mutex<CacheStats>,
    pool: Arc<Pool>,
    /// Whether the catalogue could be read, and bound, the last time.
    fresh: AtomicBool,
    refresh: Notify,
}

impl Database {
    /// Connects, reads the catalogue and binds the policy to it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        name: &str,
        at: &settings::Database,
        settings: &Settings,
        policy: Arc<Policy>,
        metrics: &Arc<Metrics>,
    ) -> Result<Arc<Self>, OpenError> {
        let upstream = Arc::new(Upstream::new(at, name).map_err(OpenError::Tls)?);
        let control = Control::connect(&upstream)
            .await
            .map_err(OpenError::Connect)?;
        let catalog = control.read_catalog().await.map_err(OpenError::Connect)?;
        control.warn_about_role(name).await;
        let limits = Limits {
            statement_bytes: settings.limits.statement_bytes,
            plan_cache_bytes: settings.limits.plan_cache_bytes,
        };
        let engine = Engine::new(policy, Arc::new(catalog), limits).map_err(OpenError::Policy)?;
        let pool = Pool::new(
            Arc::clone(&upstream),
            settings.pool.clone(),
            at.max_server_connections,
            Arc::clone(metrics),
        );
        pool.spawn_sweeper();
        let database = Arc::new(Self {
            name: name.to_owned(),
            upstream,
            limits,
            engine: ArcSwap::from_pointee(engine),
            retired: Mutex::default(),
            pool,
            fresh: AtomicBool::new(true),
            refresh: Notify::new(),
        });
        tokio::spawn(keep_fresh(Arc::downgrade(&database), control));
        Ok(database)
    }

    /// The name that clients ask for.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The engine as of now. Ask for each statement anew, so that a reload is obeyed from the next
    /// statement on; don't keep the guard across an await.
    pub fn engine(&self) -> Guard<Arc<Engine>> {
        self.engine.load()
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// Whether the catalogue is what the server last had.
    pub fn is_fresh(&self) -> bool {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Has the catalogue read again soon, because a statement named a relation that it doesn't
    /// hold. Costs nothing; asking often does not make it happen often.
    pub fn wants_refresh(&self) {
        self.refresh.notify_one();
    }

    /// The engine that another policy gives with the catalogue as it is. Nothing changes yet.
    ///
    /// # Errors
    /// What in the policy does not fit the catalogue.
    pub fn bind(&self, policy: Arc<Policy>) -> Result<Engine, Vec<BindingProblem>> {
        let catalog = Arc::clone(self.engine().catalog());
        Engine::new(policy, catalog, self.limits)
    }

    /// Puts an engine of [`Database::bind`] in force, and has the catalogue read again.
    pub fn put_in_force(&self, engine: Engine) {
        let former = self.engine.swap(Arc::new(engine));
        self.retire(&former);
        self.refresh.notify_one();
    }

    /// What the plan caches of this database did so far.
    pub fn cache_stats(&self) -> CacheStats {
        let mut stats = *self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut stats, &self.engine().cache_stats());
        stats
    }

    fn retire(&self, former: &Engine) {
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut retired, &former.cache_stats());
    }

    /// Takes a catalogue over if it differs from the one in use.
    fn update(&self, catalog: Catalog) {
        let current = self.engine.load_full();
        if current.catalog().parts() == catalog.parts() {
            self.fresh.store(true, Ordering::Relaxed);
            return;
        }
        let policy = Arc::clone(current.policy());
        match Engine::new(policy, Arc::new(catalog), self.limits) {
            Ok(engine) => {
                // A reload may have come between: its engine stays, and its own refresh follows.
                let former = self.engine.compare_and_swap(&current, Arc::new(engine));
                if Arc::ptr_eq(&former, &current) {
                    self.retire(&current);
                }
                self.fresh.store(true, Ordering::Relaxed);
                tracing::info!(database = self.name, "the catalogue has changed");
            }
            Err(problems) => {
                self.fresh.store(false, Ordering::Relaxed);
                for problem in problems {
                    tracing::error!(
                        database = self.name,
                        object = problem.object,
                        problem = problem.message,
                        "the policy does not fit the changed catalogue; the old one stays in use"
                    );
                }
            }
        }
    }
}

/// Sums what plan caches did.
pub(crate) fn add(sum: &mut CacheStats, stats: &CacheStats) {
    sum.hits += stats.hits;
    sum.misses += stats.misses;
    sum.evictions += stats.evictions;
}

/// A connection of pgwarden's own.
#[derive(Debug)]
struct Control {
    client: tokio_postgres::Client,
}

impl Control {
    async fn connect(upstream: &Arc<Upstream>) -> Result<Self, ConnectError> {
        let (client, connection) = backend::connect_control(upstream).await?;
        tokio::spawn(async move {
            // It ends when the client is dropped, or with an error that the client sees, too.
            let _ = connection.await;
        });
        Ok(Self { client })
    }

    /// Says so when the login role can do more than it needs: pgwarden's verdicts are all that
    /// stands before it.
    async fn warn_about_role(&self, database: &str) {
        let read = self.client.query_one(ROLE, &[]);
        let Ok(Ok(row)) = tokio::time::timeout(READ_TIMEOUT, read).await else {
            return;
        };
        for power in [
            "superuser",
            "bypassrls",
            "createrole",
            "replication",
            "owner",
        ] {
            if row.try_get(power).unwrap_or(false) {
                tracing::warn!(
                    database,
                    power,
                    "the login role can do more than pgwarden needs"
                );
            }
        }
    }

    async fn read_catalog(&self) -> Result<Catalog, ConnectError> {
        let reading = pgwarden_schema::read_catalog(&self.client);
        match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(read) => read.map_err(|error| ConnectError::Catalogue(error.to_string())),
            Err(_) => Err(ConnectError::Unreachable(io::ErrorKind::TimedOut.into())),
        }
    }
}

/// Reads the catalogue now and then, and when asked, until the database is gone.
async fn keep_fresh(database: std::sync::Weak<Database>, control: Control) {
    let mut control = Some(control);
    loop {
        tokio::time::sleep(REFRESH_PAUSE).await;
        let Some(database) = database.upgrade() else {
            return;
        };
        let patience = if database.is_fresh() {
            REFRESH_EVERY
        } else {
            Duration::ZERO
        };
        // Asked for or not, afterwards it is time.
        let _ = tokio::time::timeout(patience, database.refresh.notified()).await;
        match refresh(&database, control.take()).await {
            Ok(connected) => control = Some(connected),
            Err(error) => {
                database.fresh.store(false, Ordering::Relaxed);
                tracing::error!(database = database.name, %error, "the catalogue can't be read");
            }
        }
    }
}

async fn refresh(database: &Database, control: Option<Control>) -> Result<Control, ConnectError> {
    let control = match control {
        Some(control) if !control.client.is_closed() => control,
        _ => Control::connect(&database.upstream).await?,
    };
    let catalog = control.read_catalog().await?;
    database.update(catalog);
    Ok(control)
}
