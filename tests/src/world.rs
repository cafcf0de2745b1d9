//! A PostgreSQL and a proxy of their own, for suites that break one of them.
//!
//! Its tenants are numbers. Each has its own word to read and its own marks to write, and every
//! answer carries a number of the asker's: an answer that is another tenant's, or to another
//! question, is found where it arrives.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use pgwarden::server::Running;
use pgwarden_config::settings::Settings;
use serde_json::json;

use crate::fixture::{ROLE, script, superuser};
use crate::proxy;
use crate::server::Server;
use crate::wire::{Client, Reply, ServerError};

const SCHEMA: &str = "
CREATE TABLE public.words (org_id uuid PRIMARY KEY, word text NOT NULL);
CREATE TABLE public.marks (org_id uuid NOT NULL, writer int NOT NULL, n bigint NOT NULL,
  PRIMARY KEY (writer, n));
CREATE FUNCTION public.move_to(zone text) RETURNS text LANGUAGE plpgsql AS
  $$BEGIN RETURN set_config('TimeZone', zone, false); END$$;
CREATE TABLE public.moves (org_id uuid NOT NULL, zone text NOT NULL);
CREATE FUNCTION public.moved() RETURNS trigger LANGUAGE plpgsql AS
  $$BEGIN PERFORM set_config('TimeZone', NEW.zone, false); RETURN NEW; END$$;
CREATE TRIGGER moved AFTER INSERT ON public.moves FOR EACH ROW EXECUTE FUNCTION public.moved();
";

/// The policy of the proxy.
pub const POLICY: &str = "version = 1\n[tenant]\nclaim = \"app_metadata.org_id\"\ntype = \"uuid\"\n\
    column = \"org_id\"\n[defaults]\ndiscover = [\"public\"]\n\
    [settings]\nallow = [\"statement_timeout\", \"application_name\", \"TimeZone\", \"DateStyle\", \
    \"extra_float_digits\", \"client_min_messages\", \"search_path\", \"lock_timeout\"]\n\
    [functions]\nallow = [\"public.move_to\"]\n";

/// Tenants there are.
pub const TENANTS: usize = 20;

/// A server, and a proxy in front of it.
#[derive(Debug)]
pub struct World {
    server: Server,
    running: Running,
}

/// The organisation of a tenant.
pub fn org(tenant: usize) -> String {
    format!("d0000000-0000-0000-0000-{tenant:012}")
}

/// What no other tenant may ever see.
pub fn word(tenant: usize) -> String {
    format!("word-of-{tenant:03}.")
}

/// The settings of a proxy for these hosts.
fn text(mode: &str, hosts: &str, parameters: &str) -> String {
    format!(
        "{}[databases.world]\nurl = \"postgres://{ROLE}@{hosts}/postgres?sslmode=disable{parameters}\"\n\
         max_server_connections = 10\n",
        proxy::head(mode)
    )
}

impl World {
    /// Starts both; `change` has the last word on the settings.
    pub fn start(mode: &str, change: impl FnOnce(&mut Settings)) -> Self {
        Self::behind(mode, change, |server| server)
    }

    /// The same, with something between the two: `through` says what listens in the server's place.
    pub fn behind(
        mode: &str,
        change: impl FnOnce(&mut Settings),
        through: impl FnOnce(SocketAddr) -> SocketAddr,
    ) -> Self {
        Self::among(mode, "", change, |server| {
            through(server.address()).to_string()
        })
    }

    /// The same with hosts of the caller's in the database's URL, and further parameters of it.
    pub fn among(
        mode: &str,
        parameters: &str,
        change: impl FnOnce(&mut Settings),
        hosts: impl FnOnce(&Server) -> String,
    ) -> Self {
        let server = Server::start_with(|data| {
            // What a crash of the server alone must not lose; last in the file wins.
            let file = OpenOptions::new()
                .append(true)
                .open(data.join("postgresql.conf"));
            let written = file.and_then(|mut file| writeln!(file, "synchronous_commit = on"));
            written.expect("the settings can be written");
        });
        let mut admin = superuser(server.address(), "postgres");
        script(&mut admin, &format!("CREATE ROLE {ROLE} LOGIN"));
        script(&mut admin, SCHEMA);
        script(
            &mut admin,
            &format!("GRANT SELECT, INSERT ON words, marks, moves TO {ROLE}"),
        );
        for tenant in 0..TENANTS {
            let (org, word) = (org(tenant), word(tenant));
            script(
                &mut admin,
                &format!("INSERT INTO words VALUES ('{org}', '{word}')"),
            );
        }
        let at = hosts(&server);
        let running = another_proxy(mode, &at, parameters, change);
        Self { server, running }
    }

    /// The `warden.toml` of another proxy in front of the same server. Its secret is in
    /// `PGWARDEN_SUITES_SECRET`, its policy in `policy.toml` beside it.
    pub fn settings(&self, mode: &str) -> String {
        text(mode, &self.server.address().to_string(), "")
    }

    /// The proxy.
    pub fn running(&self) -> &Running {
        &self.running
    }

    /// The server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Where clients connect to.
    pub fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    /// A superuser's session, past the proxy.
    pub fn superuser(&self) -> Client {
        superuser(self.server.address(), "postgres")
    }

    /// A session of a tenant.
    ///
    /// # Errors
    /// When the proxy does not let it in.
    pub fn session(&self, tenant: usize) -> Result<Client, ServerError> {
        session(self.address(), tenant, &[])
    }

    /// A value that the proxy shows of itself.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.running.proxy().render_metrics();
        let start = format!("{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        let value = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        value.trim().parse().expect("metrics are numbers")
    }

    /// Ends server processes of clients, all but one in `keep` (0: all). How many.
    pub fn terminate(&self, keep: u32) -> String {
        let sql = format!(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = '{ROLE}' \
             AND application_name <> 'pgwarden' AND ({keep} = 0 OR pid % greatest({keep}, 1) <> 0)"
        );
        let reply = self.superuser().query(&sql).ok();
        reply.value().expect("a count")
    }
}

impl World {
    /// Every mark whose writing was acknowledged (by writer) is there, none that was taken back
    /// (the negative ones), and each is its writer's: writer `n` is of tenant `n % TENANTS`.
    pub fn check_marks(&self, acknowledged: &[Vec<u64>]) {
        let mut admin = self.superuser();
        let mut none = |what: &str, sql: &str| {
            let count = admin.query(sql).ok().value();
            assert_eq!(count.as_deref(), Some("0"), "{what}");
        };
        for (writer, acknowledged) in acknowledged.iter().enumerate() {
            let numbers: Vec<String> = acknowledged.iter().map(u64::to_string).collect();
            let missing = format!(
                "SELECT count(*) FROM unnest('{{{}}}'::bigint[]) AS a (n) WHERE NOT EXISTS \
                 (SELECT FROM marks AS m WHERE m.writer = {writer} AND m.n = a.n)",
                numbers.join(",")
            );
            none(&format!("lost writes of {writer}"), &missing);
        }
        none("taken back", "SELECT count(*) FROM marks WHERE n < 0");
        let foreign = format!(
            "SELECT count(*) FROM marks WHERE right(org_id::text, 3)::int <> writer % {TENANTS}"
        );
        none("written for another tenant", &foreign);
    }
}

/// A proxy of its own in front of a world's hosts.
pub fn another_proxy(
    mode: &str,
    hosts: &str,
    parameters: &str,
    change: impl FnOnce(&mut Settings),
) -> Running {
    let mut settings = proxy::settings_of(&text(mode, hosts, parameters));
    // A login waits as others do.
    settings.limits.handshake_timeout = Duration::from_secs(60);
    change(&mut settings);
    proxy::start(settings, proxy::policy_of(POLICY))
}

/// A tenant's token.
pub fn token(tenant: usize) -> String {
    proxy::sign(&json!({
        "exp": proxy::now() + 3600,
        "role": "authenticated",
        "sub": org(tenant),
        "app_metadata": {"org_id": org(tenant)},
    }))
}

/// A session of a tenant through a proxy of a [`World`].
///
/// # Errors
/// When the proxy does not let it in.
pub fn session(
    address: SocketAddr,
    tenant: usize,
    parameters: &[(&str, &str)],
) -> Result<Client, ServerError> {
    let token = token(tenant);
    let mut client = Client::connect(address, "anyone", "world", parameters, Some(&token))?;
    let foreign: Vec<String> = (0..TENANTS).filter(|it| *it != tenant).map(word).collect();
    let foreign: Vec<&str> = foreign.iter().map(String::as_str).collect();
    client.forbid(&foreign);
    Ok(client)
}

/// What a fault in the server may look like to a client: its own words, the proxy's, or the end of
/// the connection.
pub fn is_fault(reply: &Reply) -> bool {
    match reply.code() {
        // The connection has ended without a word.
        "" => reply.status == 0,
        code => ["57P01", "57P02", "57P03", "08006", "53300"].contains(&code),
    }
}

/// Asks for the tenant's own word; `None` when a fault came between. Panics on any other answer.
pub fn read_word(client: &mut Client, tenant: usize, nonce: u64, extended: bool) -> Option<Reply> {
    let reply = if extended {
        let sql = "SELECT word || $1::text FROM words";
        client.extended(sql, &[Some(&nonce.to_string())])
    } else {
        client.query(&format!("SELECT word || '{nonce}' FROM words"))
    };
    check_word(&reply, tenant, nonce).then_some(reply)
}

/// Whether a reply is the tenant's own word and number; false when a fault came between.
pub fn check_word(reply: &Reply, tenant: usize, nonce: u64) -> bool {
    if is_fault(reply) {
        return false;
    }
    assert_eq!(reply.code(), "", "tenant {tenant}: {reply:?}");
    let expected = format!("{}{nonce}", word(tenant));
    assert_eq!(reply.value(), Some(expected), "tenant {tenant}: {reply:?}");
    true
}
