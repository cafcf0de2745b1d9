//! What all sessions share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use pgwarden_config::{PolicySource, Settings};
use pgwarden_policy::Policy;
use tokio::sync::{OnceCell, watch};

use crate::audit::Audit;
use crate::auth::{AuthError, Identity, KeyError, Verifier};
use crate::backend::{CancelRegistry, ConnectError};
use crate::database::{Database, OpenError, State, add};
use crate::holdings::Holdings;
use crate::listener::Crowd;
use crate::metrics::{Gathered, Metrics};
use crate::peers::Peers;
use crate::refusal::Refusal;

/// Names served by `[databases."*"]` at once, at most: each costs a control connection.
const WILDCARD_NAMES_MAX: usize = 64;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// There is none.
    Running,
    /// Another process takes new clients in. Sessions go on until they have been idle for a while.
    HandingOver,
    /// Sessions end (57P01) as soon as they are not in a transaction.
    Draining,
    /// Sessions end now.
    Closing,
}

/// What all sessions share.
#[derive(Debug)]
pub struct Proxy {
    settings: Settings,
    policy: ArcSwap<Policy>,
    verifier: ArcSwap<Verifier>,
    metrics: Arc<Metrics>,
    audit: Audit,
    cancels: Arc<CancelRegistry>,
    peers: Option<Peers>,
    crowd: Arc<Crowd>,
    holdings: Arc<Holdings>,
    databases: RwLock<HashMap<String, Arc<OnceCell<Arc<Database>>>>>,
    drain: watch::Sender<Drain>,
    sessions: AtomicU64,
}

/// Why the process can't start.
#[derive(Debug)]
pub enum StartError {
    /// A setting, key, certificate or file is not usable.
    Settings(String),
    /// The policy does not fit a database's catalogue.
    Policy {
        /// The database.
        database: String,
        /// What does not fit.
        problems: Vec<pgwarden_policy::engine::BindingProblem>,
    },
    /// A database can't be reached.
    Connect {
        /// The database.
        database: String,
        /// Why.
        error: ConnectError,
    },
}

impl StartError {
    /// The same with the places in the policy's file that it is about.
    pub fn located(self, source: &PolicySource) -> Self {
        match self {
            Self::Policy { database, problems } => Self::Settings(format!(
                "the policy does not fit the database {database:?}\n{}",
                source.locate_all(&problems)
            )),
            error @ (Self::Settings(_) | Self::Connect { .. }) => error,
        }
    }

    /// The process's exit status.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Settings(_) | Self::Policy { .. } => 2,
            Self::Connect { .. } => 3,
        }
    }
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Settings(why) => f.write_str(why),
            Self::Connect { database, error } => {
                write!(f, "can't connect to the database {database:?}: {error}")
            }
            Self::Policy { database, problems } => {
                write!(f, "the policy does not fit the database {database:?}:")?;
                for problem in problems {
                    write!(f, "\n  {}: {}", problem.object, problem.message)?;
                    if let Some(suggestion) = &problem.suggestion {
                        write!(f, " (did you mean {suggestion:?}?)")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for StartError {}

impl From<KeyError> for StartError {
    fn from(error: KeyError) -> Self {
        Self::Settings(error.to_string())
    }
}

impl StartError {
    fn open(database: &str, error: OpenError) -> Self {
        let database = database.to_owned();
        match error {
            OpenError::Connect(error) => Self::Connect { database, error },
            OpenError::Tls(error) => Self::Settings(error.to_string()),
            OpenError::Policy(problems) => Self::Policy { database, problems },
        }
    }
}

impl Proxy {
    /// Reads keys, opens the audit's target, connects to every named database and binds the policy.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(settings: Settings, policy: Arc<Policy>) -> Result<Arc<Self>, StartError> {
        let verifier = Verifier::new(&settings.auth, settings.limits.token_bytes)?;
        let metrics = Arc::new(Metrics::default());
        let audit = Audit::open(&settings.audit, Arc::clone(&metrics))
            .map_err(|error| StartError::Settings(format!("audit.target: {error}")))?;
        let peers = settings.peers.clone().map(Peers::new);
        let proxy = Arc::new(Self {
            policy: ArcSwap::new(Arc::clone(&policy)),
            verifier: ArcSwap::from_pointee(verifier),
            metrics,
            audit,
            cancels: Arc::new(CancelRegistry::marked(peers.as_ref().map(Peers::mark))),
            peers,
            crowd: Crowd::new(&settings.limits),
            holdings: Holdings::new(settings.limits.total_message_bytes),
            databases: RwLock::default(),
            drain: watch::Sender::new(Drain::Running),
            sessions: AtomicU64::new(0),
            settings,
        });
        let names: Vec<_> = proxy.settings.databases.named.keys().cloned().collect();
        for name in names {
            let opened = proxy.open_database(&name).await;
            opened.map_err(|error| StartError::open(&name, error))?;
        }
        Ok(proxy)
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The numbers.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// All numbers in Prometheus' text format.
    pub fn render_metrics(&self) -> String {
        let mut gathered = Gathered {
            message_bytes: self.holdings.held(),
            ..Gathered::default()
        };
        for database in self.databases() {
            add(&mut gathered.cache, &database.cache_stats());
            gathered.hosts.extend(database.hosts());
            gathered.findings.extend(database.gaps());
            gathered.catalog_age = gathered.catalog_age.max(database.catalog_age());
            gathered.waiting += database.pool().occupancy().waiting;
            let paused = database.state() != State::Running;
            gathered.paused.push((database.name().to_owned(), paused));
        }
        self.metrics.render(&gathered)
    }

    /// The audit trail.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// The cancel keys that are out.
    pub fn cancels(&self) -> &Arc<CancelRegistry> {
        &self.cancels
    }

    /// The other proxies behind the same load balancer.
    pub(crate) fn peers(&self) -> Option<&Peers> {
        self.peers.as_ref()
    }

    /// The addresses that clients come from.
    pub(crate) fn crowd(&self) -> &Arc<Crowd> {
        &self.crowd
    }

    /// What clients' messages hold.
    pub(crate) fn holdings(&self) -> &Arc<Holdings> {
        &self.holdings
    }

    /// The shutdown as it goes on.
    pub fn drain(&self) -> watch::Receiver<Drain> {
        self.drain.subscribe()
    }

    pub(crate) fn set_drain(&self, drain: Drain) {
        self.drain.send_replace(drain);
    }

    /// A number for a session, for the audit.
    pub fn next_session(&self) -> u64 {
        self.sessions.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// See [`Verifier::verify`].
    pub fn authenticate(&self, token: &[u8]) -> Result<Identity, AuthError> {
        self.verifier.load().verify(token, SystemTime::now())
    }

    /// The database that serves a name. To be asked only for clients that have shown who they are.
    ///
    /// # Errors
    /// What the client is to be told: 3D000 for an unknown name, 57P03 when the server can't be
    /// reached.
    pub async fn database(&self, name: &str) -> Result<Arc<Database>, Refusal> {
        if let Some(database) = self.opened(name) {
            return Ok(database);
        }
        if self.settings.databases.get(name).is_none() {
            return Err(unknown_database(name));
        }
        self.open_database(name).await.map_err(|error| match error {
            OpenError::Connect(error) => {
                tracing::error!(database = name, %error, "can't open the database");
                error.refusal()
            }
            error @ (OpenError::Tls(_) | OpenError::Policy(_)) => {
                let error = StartError::open(name, error);
                tracing::error!(%error, "can't open the database");
                Refusal::new("57P03", "pgwarden: the database can't be served now")
            }
        })
    }

    /// The database that serves a name, if it is open.
    pub(crate) fn opened(&self, name: &str) -> Option<Arc<Database>> {
        let databases = self.databases.read();
        let databases = databases.unwrap_or_else(PoisonError::into_inner);
        databases.get(name)?.get().map(Arc::clone)
    }

    /// All databases that are open, by name.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        let databases = self.databases.read();
        let databases = databases.unwrap_or_else(PoisonError::into_inner);
        let opened = databases.values().filter_map(|cell| cell.get());
        let mut opened: Vec<_> = opened.map(Arc::clone).collect();
        opened.sort_unstable_by(|one, other| one.name().cmp(other.name()));
        opened
    }

    /// Opens a database once, however many sessions ask for it at the same time.
    async fn open_database(&self, name: &str) -> Result<Arc<Database>, OpenError> {
        let Some(at) = self.settings.databases.get(name) else {
            return Err(OpenError::Connect(ConnectError::Protocol(
                "no such database",
            )));
        };
        let cell = self
            .cell(name)
            .ok_or(OpenError::Connect(ConnectError::PoolFull))?;
        let open = || {
            let policy = self.policy.load_full();
            Database::open(name, at, &self.settings, policy, &self.metrics)
        };
        let opened = cell.get_or_try_init(open).await.map(Arc::clone);
        match &opened {
            Err(_) => self.forget(name),
            Ok(database) => self.catch_up(database)?,
        }
        opened
    }

    /// A reload may have come while the database was being opened with the old policy.
    fn catch_up(&self, database: &Database) -> Result<(), OpenError> {
        let policy = self.policy.load_full();
        if !Arc::ptr_eq(database.engine().policy(), &policy) {
            database.put_in_force(database.bind(policy).map_err(OpenError::Policy)?);
        }
        Ok(())
    }

    fn cell(&self, name: &str) -> Option<Arc<OnceCell<Arc<Database>>>> {
        let databases = self.databases.write();
        let mut databases = databases.unwrap_or_else(PoisonError::into_inner);
        if let Some(cell) = databases.get(name) {
            return Some(Arc::clone(cell));
        }
        if databases.len() >= WILDCARD_NAMES_MAX + self.settings.databases.named.len() {
            return None;
        }
        let cell = Arc::default();
        databases.insert(name.to_owned(), Arc::clone(&cell));
        Some(cell)
    }

    /// Forgets a name that could not be opened, so that names nobody serves don't add up.
    fn forget(&self, name: &str) {
        let databases = self.databases.write();
        let mut databases = databases.unwrap_or_else(PoisonError::into_inner);
        if databases.get(name).is_some_and(|cell| !cell.initialized()) {
            databases.remove(name);
        }
    }

    /// Puts a policy and keys in force, in all databases or in none.
    ///
    /// # Errors
    /// What is wrong with them; the old ones stay.
    pub fn reload(&self, settings: &Settings, policy: Arc<Policy>) -> Result<(), StartError> {
        let verifier = Verifier::new(&settings.auth, settings.limits.token_bytes)?;
        let mut bound = Vec::new();
        for database in self.databases() {
            match database.bind(Arc::clone(&policy)) {
                Ok(engine) => bound.push((database, engine)),
                Err(problems) => {
                    let database = database.name().to_owned();
                    return Err(StartError::Policy { database, problems });
                }
            }
        }
        self.policy.store(policy);
        self.verifier.store(Arc::new(verifier));
        for (database, engine) in bound {
            database.put_in_force(engine);
        }
        Ok(())
    }
}

fn unknown_database(name: &str) -> Refusal {
    Refusal::new("3D000", format!("database \"{name}\" does not exist"))
}
