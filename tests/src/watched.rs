//! A database whose catalogue is changed behind the proxy's back.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pgwarden::server::Running;
use pgwarden_config::{Environment, File, read_settings};

use crate::fixture::{ROLE, Tenant, script, superuser};
use crate::patience::patience;
use crate::proxy::{self, SECRET};
use crate::server::Server;
use crate::wire::{Client, Reply};

/// What every test's database begins with. Rows of tenant B hold a marker.
const SCHEMA: &str = "
    CREATE SCHEMA app;
    CREATE SCHEMA hidden;
    CREATE TABLE leads (id int PRIMARY KEY, org_id uuid NOT NULL, note text);
    INSERT INTO leads VALUES (1, 'a0000000-0000-0000-0000-000000000001', 'a'),
                             (2, 'b0000000-0000-0000-0000-000000000002', 'b-secret');
    CREATE TABLE calls (id int PRIMARY KEY, org_id uuid NOT NULL, note text);
    INSERT INTO calls SELECT * FROM leads;
    CREATE TABLE places (id int, name text);
    INSERT INTO places VALUES (7, 'harbour');
    GRANT USAGE ON SCHEMA app, hidden TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC";

/// Its policy: every table with the column is scoped.
pub const POLICY: &str = r#"
    version = 1
    [tenant]
    claim = "app_metadata.org_id"
    type = "uuid"
    column = "org_id"
    [defaults]
    discover = ["public", "app"]
    unlisted = "read"
    [[table]]
    name = "public.calls"
    [[role]]
    name = "platform_admin"
    enforcement = "off"
"#;

/// Nobody waits as long as this.
pub const NEVER: &str = "1h";
/// Soon.
pub const OFTEN: &str = "100ms";

/// The server of this test binary.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start();
        let mut admin = superuser(server.address(), "postgres");
        script(&mut admin, &format!("CREATE ROLE {ROLE} LOGIN"));
        server
    })
}

/// A database of its own behind a proxy of its own.
#[derive(Debug)]
pub struct World {
    /// The database's name.
    pub name: String,
    owner: Client,
    /// The proxy.
    pub running: Running,
}

impl World {
    /// With the policy above.
    pub fn new(interval: &str) -> Self {
        Self::with(interval, POLICY)
    }

    /// With another policy.
    pub fn with(interval: &str, policy: &str) -> Self {
        Self::prepared(interval, policy, "")
    }

    /// With more in the database when the proxy first sees it.
    pub fn prepared(interval: &str, policy: &str, more: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("watched_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let address = server().address();
        let mut admin = superuser(address, "postgres");
        script(&mut admin, &format!("CREATE DATABASE {name}"));
        let mut owner = superuser(address, &name);
        script(&mut owner, SCHEMA);
        script(&mut owner, more);
        script(
            &mut owner,
            &format!(
                "GRANT CREATE ON DATABASE {name} TO {ROLE}; GRANT CREATE ON SCHEMA public TO {ROLE}"
            ),
        );
        let mode = proxy::pool_mode();
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[pool]\nmode = \"{mode}\"\ncheckout_timeout = \"60s\"\n\
             [[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"S\"\n\
             [audit]\ntarget = \"/dev/null\"\n[log]\nfilter = \"error\"\n[policy]\nfile = \"p\"\n\
             [databases.{name}]\nurl = \"postgres://{ROLE}@127.0.0.1:{}/{name}?sslmode=disable\"\n\
             catalog_interval = \"{interval}\"\n",
            address.port()
        );
        let environment = Environment::from_iter([("S".to_owned(), SECRET.to_owned())]);
        let file = File::new("warden.toml", text);
        let settings = match read_settings(&file, Path::new("."), &environment) {
            Ok(settings) => settings,
            Err(problems) => panic!("{problems}"),
        };
        Self {
            running: proxy::start(settings, proxy::policy_of(policy)),
            name,
            owner,
        }
    }

    /// A session of tenant A, which fails on a row of tenant B.
    pub fn session(&self) -> Client {
        proxy::session_at(self.running.addresses()[0], &self.name, Tenant::A)
    }

    /// A session that no table is kept from.
    pub fn break_glass(&self) -> Client {
        let address = self.running.addresses()[0];
        let token = proxy::admin_token();
        Client::connect(address, "anyone", &self.name, &[], Some(&token)).unwrap()
    }

    /// DDL behind the proxy's back.
    pub fn ddl(&mut self, sql: &str) {
        script(&mut self.owner, sql);
    }

    /// What the first metric that begins so says.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.running.proxy().render_metrics();
        let line = text.lines().find(|it| it.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// The superuser's session.
    pub fn owner(&mut self) -> &mut Client {
        &mut self.owner
    }

    /// How often the catalogue was seen to change.
    pub fn changes(&self) -> f64 {
        self.metric("pgwarden_catalog_checks_total{outcome=\"changed\"}")
    }
}

/// Asks until the answer is the wanted one.
#[track_caller]
pub fn until<T: std::fmt::Debug>(mut ask: impl FnMut() -> T, wanted: impl Fn(&T) -> bool) -> T {
    let started = Instant::now();
    loop {
        let answer = ask();
        if wanted(&answer) {
            return answer;
        }
        assert!(started.elapsed() < patience(), "still {answer:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The reason of the denial, or the SQLSTATE, or the first value.
pub fn outcome(reply: &Reply) -> String {
    let reason = reply.denied().map(str::to_owned);
    let code = reply.error.as_ref().map(|it| it.code().to_owned());
    reason
        .or(code)
        .or_else(|| reply.value())
        .unwrap_or_default()
}

/// The same of a statement.
pub fn ask(client: &mut Client, sql: &str) -> String {
    outcome(&client.query(sql))
}
