//! One database that clients ask for: its engine (the policy bound to its catalogue), its pool, and
//! the control connection that keeps the catalogue fresh.

mod control;
pub(crate) mod drift;
mod follow;
mod pause;
mod replicas;
mod watch;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use pgwarden_config::Settings;
use pgwarden_config::settings;
use pgwarden_policy::catalog::{Oid, Relation};
use pgwarden_policy::engine::{BindingProblem, Limits};
use pgwarden_policy::{CacheStats, Catalog, Engine, Policy};
use pgwarden_schema::Error;
use pgwarden_schema::audit::{Assessment, Guarantees};

use crate::backend::{ConnectError, Site, Upstream};
use crate::metrics::{HostState, Metrics};
use crate::pool::Pool;
use crate::tls::TlsError;

use control::Control;
use drift::Drift;
use follow::Follower;
pub(crate) use replicas::Replicas;
use watch::{Watch, Watcher};

pub(crate) use pause::State;

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
    /// The standbys that are read from.
    replicas: Option<Arc<Replicas>>,
    metrics: Arc<Metrics>,
    watch: Watch,
    /// One for each host, where there are several.
    followers: Vec<Arc<Follower>>,
    /// Held while the server is asked for its catalogue, and while the database is resumed.
    watcher: tokio::sync::Mutex<Watcher>,
    /// Held while the engine is replaced, so that neither a reload nor a change of the catalogue can
    /// undo the other.
    ground: Mutex<Ground>,
}

/// What engines are bound to.
#[derive(Debug)]
struct Ground {
    catalog: Arc<Catalog>,
    /// What the database does by itself, as it was read with the catalogue.
    guarantees: Guarantees,
    drift: Drift,
}

impl Ground {
    fn assess(&self, policy: &Arc<Policy>) -> Assessment {
        self.guarantees.under(policy, &self.catalog)
    }
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
        let asked = Instant::now();
        let read = control.read_changed(None).await;
        let reading = read
            .map_err(OpenError::Connect)?
            .ok_or(OpenError::Connect(ConnectError::Protocol("no catalogue")))?;
        let guarantees = reading.guarantees.map_err(unreadable)?;
        let mut ground = Ground {
            catalog: Arc::new(reading.catalog),
            guarantees,
            drift: Drift::default(),
        };
        control.warn_about_role(name).await;
        let limits = Limits {
            statement_bytes: settings.limits.statement_bytes,
            plan_cache_bytes: settings.limits.plan_cache_bytes,
        };
        let assessment = ground.assess(&policy);
        let catalog = Arc::clone(&ground.catalog);
        let engine = Engine::doubting(policy, catalog, &assessment.doubted, limits)
            .map_err(OpenError::Policy)?;
        ground.drift.look(name, &engine, assessment);
        let pool = Pool::new(
            Arc::clone(&upstream),
            settings.pool.clone(),
            at.max_server_connections,
            Arc::clone(metrics),
        );
        pool.spawn_sweeper();
        if pool.has_lines() {
            pool.spawn_inspector();
        }
        let replicas = at.max_replica_lag.map(|max_lag| {
            let pool = settings.pool.clone();
            Replicas::new(&upstream, pool, at.max_server_connections, max_lag, metrics)
        });
        let followers = follow::all(upstream.hosts());
        let database = Arc::new(Self {
            name: name.to_owned(),
            upstream,
            limits,
            engine: ArcSwap::from_pointee(engine),
            retired: Mutex::default(),
            pool,
            replicas,
            metrics: Arc::clone(metrics),
            watch: Watch::since(asked),
            followers,
            watcher: tokio::sync::Mutex::new(Watcher::new(control, reading.fingerprint)),
            ground: Mutex::new(ground),
        });
        follow::spawn(&database);
        let weak = Arc::downgrade(&database);
        let urgent = database.watch.urgent();
        tokio::spawn(watch::watch(weak, urgent, at.catalog_interval));
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

    /// The standbys that are read from.
    pub(crate) fn replicas(&self) -> Option<&Arc<Replicas>> {
        self.replicas.as_ref()
    }

    /// The pool and that of the standbys.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let replicas = self.replicas.iter().map(|replicas| replicas.pool());
        std::iter::once(&self.pool).chain(replicas)
    }

    /// The pool.
    pub fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// What is known of its hosts, where there are several.
    pub fn hosts(&self) -> Vec<HostState> {
        let hosts = self.upstream.hosts();
        if !hosts.are_several() {
            return Vec::new();
        }
        let serving = hosts.serving();
        let state = |site: &Arc<Site>| HostState {
            database: self.name.clone(),
            host: site.address().to_string(),
            state: site.seen().as_str(),
            serves: serving.iter().any(|it| Arc::ptr_eq(it, site)),
        };
        hosts.sites().iter().map(state).collect()
    }

    /// Whether the server could be asked for its catalogue the last time.
    pub fn is_fresh(&self) -> bool {
        self.watch.is_answered()
    }

    /// How long ago the catalogue in use was certainly the server's.
    pub fn catalog_age(&self) -> Duration {
        self.watch.age()
    }

    /// How often the server's catalogue was seen to be another than before. What a session has
    /// asked the server about its `search_path` holds for one generation only.
    pub fn generation(&self) -> u64 {
        self.watch.generation()
    }

    /// Something hints at a change of the catalogue: has it looked at soon. Costs nothing; hinting
    /// often does not make it happen often.
    pub fn suspect_change(&self) {
        self.watch.hint();
    }

    /// DDL of a client was committed. Gives when, for [`Database::catch_up`].
    pub fn note_ddl(&self) -> Instant {
        self.watch.note_ddl()
    }

    /// How much DDL of clients was committed.
    pub fn ddl_count(&self) -> u64 {
        self.watch.ddl_count()
    }

    /// When DDL of a client was committed that the catalogue does not show yet.
    pub fn unread_ddl(&self) -> Option<Instant> {
        self.watch.unread_ddl()
    }

    /// Has the catalogue looked at, and waits until what was committed before this moment is known,
    /// or can't be.
    pub async fn catch_up(&self, moment: Instant) {
        self.watch.until_asked_after(moment).await;
    }

    /// The engine that another policy gives with the catalogue as it is. Nothing changes yet.
    ///
    /// # Errors
    /// What in the policy does not fit the catalogue.
    pub fn bind(&self, policy: Arc<Policy>) -> Result<Engine, Vec<BindingProblem>> {
        let ground = self.ground();
        let doubted = ground.assess(&policy).doubted;
        Engine::doubting(policy, Arc::clone(&ground.catalog), &doubted, self.limits)
    }

    /// Puts an engine of [`Database::bind`] in force, and has the catalogue looked at. Should it have
    /// changed since, the engine is bound to the new one.
    pub fn put_in_force(&self, engine: Engine) {
        let mut ground = self.ground();
        let assessment = ground.assess(engine.policy());
        let engine = if Arc::ptr_eq(engine.catalog(), &ground.catalog) {
            engine
        } else {
            self.refit(&engine, &ground.catalog, &assessment)
        };
        ground.drift.look(&self.name, &engine, assessment);
        self.replace(engine);
        self.watch.hint();
    }

    /// Takes over what was read, where it differs from what is in use. Gives whether the catalogue
    /// does.
    fn take_over(&self, catalog: Arc<Catalog>, guarantees: Result<Guarantees, Error>) -> bool {
        let mut ground = self.ground();
        match guarantees {
            Ok(guarantees) => ground.guarantees = guarantees,
            Err(error) => {
                tracing::error!(database = self.name, %error, "the tables' own guards can't be read");
            }
        }
        let changed = ground.catalog.parts() != catalog.parts();
        if changed {
            ground.catalog = catalog;
            if let Some(replicas) = &self.replicas {
                replicas.note_change();
            }
            tracing::info!(database = self.name, "the catalogue has changed");
        }
        let engine = self.engine.load_full();
        let assessment = ground.assess(engine.policy());
        if changed || ground.drift.doubts_others(&assessment) {
            let engine = self.refit(&engine, &ground.catalog, &assessment);
            ground.drift.look(&self.name, &engine, assessment);
            self.replace(engine);
        } else {
            ground.drift.look(&self.name, &engine, assessment);
        }
        changed
    }

    /// The engine in force, bound to the catalogue as one transaction sees it. What its row level security is
    /// worth nobody has looked at yet, where it is not as it was.
    pub(crate) fn passing(&self, engine: &Engine, catalog: Catalog) -> Engine {
        let known = engine.catalog();
        let is_new = |relation: &&Relation| known.relation_by_oid(relation.oid) != Some(*relation);
        let changed = catalog.parts().relations.iter().filter(is_new);
        let mut doubted: HashSet<Oid> = changed.map(|relation| relation.oid).collect();
        doubted.extend(self.ground().drift.doubted());
        engine.passing(Arc::new(catalog), &doubted)
    }

    /// The same policy with another catalogue. What does not fit any more is denied.
    fn refit(&self, engine: &Engine, catalog: &Arc<Catalog>, assessment: &Assessment) -> Engine {
        let (engine, problems) = engine.refitted(Arc::clone(catalog), &assessment.doubted);
        for problem in problems {
            tracing::error!(
                database = self.name,
                object = problem.object,
                problem = problem.message,
                "the policy does not fit the changed catalogue; the table is denied"
            );
        }
        engine
    }

    /// The codes of what the database lacks to keep tenants apart by itself.
    pub fn gaps(&self) -> Vec<&'static str> {
        self.ground().drift.codes()
    }

    fn ground(&self) -> MutexGuard<'_, Ground> {
        self.ground.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(&self, engine: Engine) {
        let former = self.engine.swap(Arc::new(engine));
        let mut retired = self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut retired, &former.cache_stats());
    }

    /// What the plan caches of this database did so far.
    pub fn cache_stats(&self) -> CacheStats {
        let mut stats = *self.retired.lock().unwrap_or_else(PoisonError::into_inner);
        add(&mut stats, &self.engine().cache_stats());
        stats
    }
}

/// The database's own guards can't be read.
fn unreadable(error: Error) -> OpenError {
    OpenError::Connect(ConnectError::Catalogue(error.to_string()))
}

/// Sums what plan caches did.
pub(crate) fn add(sum: &mut CacheStats, stats: &CacheStats) {
    sum.hits += stats.hits;
    sum.misses += stats.misses;
    sum.evictions += stats.evictions;
}
