//! A proxy in front of the suites' server, with few server connections: what one session leaves on
//! one, the next would find.

use std::net::SocketAddr;
use std::time::Duration;

use pgwarden::server::{Inputs, Running};
use pgwarden_config::LoadedPolicy;
use pgwarden_config::settings::{PoolMode, Settings};

use crate::fixture::{Arena, Tenant};
use crate::proxy;
use crate::wire::Client;

/// The proxy, and the database that it serves.
#[allow(missing_debug_implementations)]
pub struct Pooled {
    running: Running,
    arena: Arena,
}

impl Pooled {
    /// In transaction mode, with so many server connections.
    pub fn new(server_connections: usize) -> Self {
        Self::with(server_connections, |_| {})
    }

    /// The same with other settings.
    pub fn with(server_connections: usize, change: impl FnOnce(&mut Settings)) -> Self {
        Self::under(proxy::policy(), server_connections, change)
    }

    /// The same under another policy.
    pub fn under(
        policy: LoadedPolicy,
        server_connections: usize,
        change: impl FnOnce(&mut Settings),
    ) -> Self {
        let arena = Arena::take();
        let mut settings = proxy::settings("");
        settings.pool.mode = PoolMode::Transaction;
        // A login waits as others do.
        settings.limits.handshake_timeout = Duration::from_secs(60);
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = server_connections;
        }
        change(&mut settings);
        Self {
            running: proxy::start(settings, policy),
            arena,
        }
    }

    /// From now on another policy holds.
    pub fn reload(&self, policy: LoadedPolicy) {
        let settings = self.running.proxy().settings().clone();
        let _inside = proxy::runtime().enter();
        let reloaded = self.running.reload(Ok(Inputs { settings, policy }));
        reloaded.expect("a good policy is taken");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    /// The database behind it.
    pub fn arena(&self) -> &Arena {
        &self.arena
    }

    /// A session of a tenant.
    pub fn session(&self, tenant: Tenant) -> Client {
        proxy::session_at(self.address(), &self.arena.plain(), tenant)
    }

    /// A session with this token and these start-up parameters.
    pub fn session_of(&self, token: &str, parameters: &[(&str, &str)]) -> Client {
        let database = self.arena.plain();
        Client::connect(self.address(), "anyone", &database, parameters, Some(token))
            .expect("the proxy lets a good token in")
    }

    /// The value of a metric, labels and all.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.running.proxy().render_metrics();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line.trim().parse().expect("a number")
    }

    /// How many sessions keep their server connection for this reason.
    pub fn pinned(&self, reason: &str) -> f64 {
        self.metric(&format!("pgwarden_pinned_sessions{{reason=\"{reason}\"}}"))
    }
}

/// The first column of a statement's first row.
pub fn value(client: &mut Client, sql: &str) -> String {
    let reply = client.query(sql).ok();
    reply.value().unwrap_or_else(|| panic!("no value of {sql}"))
}
