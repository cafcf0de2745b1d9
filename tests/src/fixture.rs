//! The databases that suites attack, and who attacks them.
//!
//! An *arena* is a pair of databases with the same rows, object identifiers included: `plain` has
//! no row level security and stands behind the proxy, `oracle` has it forced and is asked
//! directly. Arenas are handed out one at a time, so that tests which write don't meet.

use std::net::SocketAddr;
use std::sync::{Condvar, Mutex, OnceLock};

use crate::patience::until;
use crate::server::Server;
use crate::wire::{Client, Reply};

/// The role that both the proxy and the oracle's client log in with. It owns nothing.
pub const ROLE: &str = "pgwarden_app";

/// The organisations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tenant {
    /// Most tests' session.
    A,
    /// The victim: its rows hold bombs and markers.
    B,
    /// Nearly empty.
    C,
}

impl Tenant {
    /// The organisation's id.
    pub fn org(self) -> &'static str {
        match self {
            Self::A => "a0000000-0000-0000-0000-000000000001",
            Self::B => "b0000000-0000-0000-0000-000000000002",
            Self::C => "c0000000-0000-0000-0000-000000000003",
        }
    }

    /// The user's id: the token's `sub`.
    pub fn user(self) -> &'static str {
        match self {
            Self::A => "0a000000-0000-0000-0000-00000000000a",
            Self::B => "0b000000-0000-0000-0000-00000000000b",
            Self::C => "0c000000-0000-0000-0000-00000000000c",
        }
    }

    /// In the second world tenants are numbers.
    pub fn number(self) -> i64 {
        match self {
            Self::A => 42,
            Self::B => 43,
            Self::C => 44,
        }
    }

    /// In the second world some tables are scoped by a region.
    pub fn region(self) -> &'static str {
        match self {
            Self::A => "north",
            Self::B => "o'south",
            Self::C => "west",
        }
    }

    /// The verified claims, as JSON.
    pub fn claims(self) -> String {
        format!(
            r#"{{"app_metadata":{{"org_id":"{}"}},"region":"{}","role":"authenticated","sub":"{}","tenant":{}}}"#,
            self.org(),
            self.region(),
            self.user(),
            self.number()
        )
    }

    /// What must never arrive in this tenant's session.
    pub fn markers(self) -> &'static [&'static str] {
        match self {
            Self::B => &[],
            Self::A | Self::C => &["b-secret", "777001"],
        }
    }
}

/// The server of this test binary.
pub fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start();
        let mut admin = superuser(server.address(), "postgres");
        script(&mut admin, &format!("CREATE ROLE {ROLE} LOGIN"));
        script(&mut admin, "CREATE ROLE platform_admin");
        script(&mut admin, &format!("GRANT platform_admin TO {ROLE}"));
        let first = include_str!("../fixtures/rls.sql");
        let mut base = build(
            &server,
            "base",
            [
                include_str!("../fixtures/schema.sql"),
                include_str!("../fixtures/data.sql"),
            ],
        );
        script(
            &mut base,
            "GRANT USAGE ON SCHEMA public, auth TO platform_admin; \
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO platform_admin; \
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO platform_admin",
        );
        drop(base);
        for arena in 0..ARENAS {
            pair(
                &server,
                "base",
                &plain_name(arena),
                &oracle_name(arena),
                first,
            );
        }
        let second = [
            include_str!("../fixtures/second/schema.sql"),
            include_str!("../fixtures/second/data.sql"),
        ];
        drop(build(&server, "base_second", second));
        let rules = include_str!("../fixtures/second/rls.sql");
        pair(
            &server,
            "base_second",
            &plain_name(SECOND),
            &oracle_name(SECOND),
            rules,
        );
        server
    })
}

/// Makes a database, fills it, and prepares it for `suite.restore()`.
fn build(server: &Server, name: &str, scripts: [&str; 2]) -> Client {
    script(
        &mut superuser(server.address(), "postgres"),
        &format!("CREATE DATABASE {name}"),
    );
    let mut client = superuser(server.address(), name);
    for text in scripts {
        script(&mut client, text);
    }
    script(&mut client, include_str!("../fixtures/after.sql"));
    script(&mut client, "VACUUM ANALYZE");
    client
}

/// Copies a database twice, and puts row level security on the second copy.
fn pair(server: &Server, template: &str, plain: &str, oracle: &str, rules: &str) {
    let mut admin = superuser(server.address(), "postgres");
    clone(&mut admin, template, plain);
    clone(&mut admin, template, oracle);
    script(&mut superuser(server.address(), oracle), rules);
}

/// How many arenas of the first world there are.
pub const ARENAS: usize = 2;

/// The number of the second world's only arena: another schema, another policy.
pub const SECOND: usize = ARENAS;

fn plain_name(arena: usize) -> String {
    format!("plain_{arena}")
}

fn oracle_name(arena: usize) -> String {
    format!("oracle_{arena}")
}

/// The suites' server's version: `15.20`.
pub fn server_version() -> String {
    let client = superuser(server().address(), "postgres");
    let version = client.parameter("server_version").unwrap_or_default();
    version.split(' ').next().unwrap_or_default().to_owned()
}

/// The major version of the suites' server.
pub fn server_major() -> u32 {
    static MAJOR: OnceLock<u32> = OnceLock::new();
    *MAJOR.get_or_init(|| major_version(&superuser(server().address(), "postgres")))
}

/// The last versions that look at the condition of ON CONFLICT DO UPDATE … WHERE before the policy, so that row
/// level security itself answers otherwise for a foreign row that the condition leaves alone.
const CONFLICTS_FIRST: &[(u32, u32)] = &[(13, 23), (14, 23), (15, 18), (16, 14), (17, 10), (18, 4)];

/// Whether the suites' server is one of them, or older.
pub fn looks_at_conflicts_first() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let version = server_version();
        let mut numbers = version.split('.').map(|it| it.parse().unwrap_or(0));
        let (major, minor) = (numbers.next(), numbers.next().unwrap_or(0));
        let last = CONFLICTS_FIRST.iter().find(|(of, _)| Some(*of) == major);
        last.is_some_and(|(_, last)| minor <= *last)
    })
}

/// The server's major version.
pub fn major_version(client: &Client) -> u32 {
    let version = client.parameter("server_version").unwrap_or_default();
    let digits = version.split(|it: char| !it.is_ascii_digit()).next();
    digits.and_then(|it| it.parse().ok()).unwrap_or(0)
}

fn clone(admin: &mut Client, template: &str, name: &str) {
    // Older servers know no other way to copy.
    let strategy = match major_version(admin) {
        15.. => "STRATEGY file_copy",
        _ => "",
    };
    // The template must be free of connections, and the one that built it takes a moment to go.
    copy_database(
        admin,
        &format!("CREATE DATABASE {name} TEMPLATE {template} {strategy}"),
    );
}

/// Makes a database, as soon as its template is not in use any more.
pub fn copy_database(admin: &mut Client, sql: &str) {
    until("the end of the template's use", || {
        let reply = admin.query(sql);
        assert!(["", "55006"].contains(&reply.code()), "{:?}", reply.error);
        reply.error.is_none()
    });
}

/// A superuser's connection, straight to PostgreSQL.
pub fn superuser(address: SocketAddr, database: &str) -> Client {
    Client::connect(address, "postgres", database, &[], None).expect("the superuser can connect")
}

/// Runs statements that must work.
pub fn script(client: &mut Client, sql: &str) -> Reply {
    let reply = client.query(sql);
    if let Some(error) = &reply.error {
        panic!("{error:?} in {}", &sql[..sql.len().min(400)]);
    }
    reply
}

/// A pair of databases, held until dropped.
#[derive(Debug)]
pub struct Arena {
    number: usize,
}

static FREE: (Mutex<Vec<usize>>, Condvar) = (Mutex::new(Vec::new()), Condvar::new());
static FILLED: OnceLock<()> = OnceLock::new();

impl Arena {
    /// Waits for a free one of the first world.
    pub fn take() -> Self {
        Self::take_where(|number| number != SECOND)
    }

    /// Waits for the second world's.
    pub fn take_second() -> Self {
        Self::take_where(|number| number == SECOND)
    }

    fn take_where(fits: impl Fn(usize) -> bool) -> Self {
        server();
        FILLED.get_or_init(|| FREE.0.lock().unwrap().extend(0..=SECOND));
        let mut free = FREE.0.lock().unwrap();
        loop {
            if let Some(at) = free.iter().position(|number| fits(*number)) {
                return Self {
                    number: free.swap_remove(at),
                };
            }
            free = FREE.1.wait(free).unwrap();
        }
    }

    /// Whether it is the second world's.
    pub fn is_second(&self) -> bool {
        self.number == SECOND
    }

    /// The database without row level security.
    pub fn plain(&self) -> String {
        plain_name(self.number)
    }

    /// The database with it.
    pub fn oracle(&self) -> String {
        oracle_name(self.number)
    }

    /// The oracle's session of a tenant.
    pub fn oracle_session(&self, tenant: Tenant) -> Client {
        let mut client = Client::connect(server().address(), ROLE, &self.oracle(), &[], None)
            .expect("the oracle answers");
        set_claims(&mut client, &tenant.claims());
        client.forbid(tenant.markers());
        client
    }

    /// Puts both databases back as they were.
    pub fn restore(&self) {
        for database in [self.plain(), self.oracle()] {
            let mut admin = superuser(server().address(), &database);
            script(&mut admin, "SELECT suite.restore()");
        }
    }

    /// The contents of all tables of a database, as one line for each.
    pub fn contents(database: &str) -> Vec<String> {
        let mut admin = superuser(server().address(), database);
        contents_of(&script(
            &mut admin,
            "SELECT name, sum FROM suite.contents()",
        ))
    }
}

/// The lines of `suite.contents()`.
pub fn contents_of(reply: &Reply) -> Vec<String> {
    let rows = reply.results.last().map_or(&[][..], |result| &result.rows);
    rows.iter()
        .map(|row| {
            let cell =
                |at: usize| String::from_utf8_lossy(row[at].as_deref().unwrap_or(b"")).into_owned();
            format!("{} {}", cell(0), cell(1))
        })
        .collect()
}

impl Drop for Arena {
    fn drop(&mut self) {
        if let Ok(mut free) = FREE.0.lock() {
            free.push(self.number);
        }
        FREE.1.notify_all();
    }
}

/// What the proxy does on its server connections, done by hand.
pub fn set_claims(client: &mut Client, claims: &str) {
    let reply = client.extended(
        "SELECT pg_catalog.set_config('request.jwt.claims', $1, false)",
        &[Some(claims)],
    );
    assert!(
        reply.error.is_none(),
        "claims can be set: {:?}",
        reply.error
    );
}
