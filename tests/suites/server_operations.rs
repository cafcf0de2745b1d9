//! A running proxy with real sessions: limits, audit lines, metrics, drain, expiry, TLS.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pgwarden::server::{Inputs, Running};
use pgwarden_config::settings::{AuditStatements, AuditTarget, Settings};
use pgwarden_tests::audit::{audit_with, count};
use pgwarden_tests::certificates::certificates;
use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::patience::{until, until_some, within_a_life};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A proxy of its own, and a directory for its files.
struct Own {
    running: Running,
    directory: TempDir,
    arena: Arena,
}

impl Own {
    fn new(change: impl FnOnce(&mut Settings, &Path)) -> Self {
        let arena = Arena::take();
        let directory = tempfile::tempdir().unwrap();
        let mut settings = proxy::settings("");
        settings.audit.target = AuditTarget::File(directory.path().join("audit"));
        change(&mut settings, directory.path());
        Self {
            running: proxy::start(settings, proxy::policy()),
            directory,
            arena,
        }
    }

    fn address(&self) -> SocketAddr {
        self.running.addresses()[0]
    }

    fn log_in(&self, token: &str) -> Result<Client, String> {
        self.log_in_to(&self.arena.plain(), token)
    }

    fn log_in_to(&self, database: &str, token: &str) -> Result<Client, String> {
        let parameters = [("application_name", "the app")];
        let connected =
            Client::connect(self.address(), "anyone", database, &parameters, Some(token));
        connected.map_err(|error| error.code().to_owned())
    }

    fn session(&self) -> Client {
        self.log_in(&proxy::token(Tenant::A)).unwrap()
    }

    fn audit(&self, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        let file = self.directory.path().join("audit");
        let lines = audit_with(&file, holds);
        let text = fs::read_to_string(file).unwrap();
        assert!(!text.contains(proxy::SECRET));
        lines
    }

    fn metric(&self, name: &str) -> f64 {
        let text = self.running.proxy().render_metrics();
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{name} ")));
        let line = line.unwrap_or_else(|| panic!("no {name} in\n{text}"));
        line[name.len()..].trim().parse().unwrap()
    }

    fn drain(&self) -> impl Future<Output = ()> {
        self.running.shut_down(std::future::pending())
    }
}

/// The SQLSTATE of the FATAL error that ends the session.
fn last_words(client: &mut Client) -> String {
    let messages = client.read_to_end();
    let error = messages.iter().rev().find(|message| message.tag == b'E');
    error
        .expect("an error before the end")
        .error()
        .code()
        .to_owned()
}

#[test]
fn logins_are_counted_and_audited_without_the_token() {
    let own = Own::new(|_, _| {});
    let good = proxy::token(Tenant::A);
    drop(own.log_in(&good).unwrap());
    let (head, _) = good.rsplit_once('.').unwrap();
    for (token, code) in [
        (format!("{head}.AAAA"), "28P01"),
        ("nonsense".to_owned(), "28P01"),
        (String::new(), "28P01"),
        (
            proxy::sign(&json!({"exp": proxy::now() - 60, "sub": "x"})),
            "28P01",
        ),
        (
            proxy::sign(&json!({"exp": proxy::now() + 60, "sub": "x"})),
            "28000",
        ),
    ] {
        assert_eq!(own.log_in(&token).unwrap_err(), code);
    }
    assert_eq!(own.log_in_to("nobody's", &good).unwrap_err(), "3D000");
    assert_eq!(own.log_in_to("nobody's", "nonsense").unwrap_err(), "28P01");
    until("the end of all", || {
        own.metric("pgwarden_client_connections") == 0.0
    });
    assert_eq!(
        own.metric("pgwarden_auth_total{outcome=\"bad_token\"}"),
        5.0
    );
    assert_eq!(
        own.metric("pgwarden_auth_total{outcome=\"no_tenant\"}"),
        1.0
    );
    let lines =
        own.audit(|lines| count(lines, "disconnect") > 0 && count(lines, "auth_failure") >= 6);
    let all = serde_json::to_string(&lines).unwrap();
    assert!(!all.contains(head) && !all.contains("nonsense"), "{all}");
    assert_eq!(count(&lines, "connect"), 1);
    assert_eq!(count(&lines, "disconnect"), 1);
    let connect = lines
        .iter()
        .find(|line| line["event"] == "connect")
        .unwrap();
    assert_eq!(connect["org"], Tenant::A.org());
    assert_eq!(connect["sub"], Tenant::A.user());
    assert_eq!(connect["user"], "anyone");
    assert_eq!(connect["database"], own.arena.plain());
    assert_eq!(connect["application"], "the app");
    assert!(connect["client"].as_str().unwrap().starts_with("127.0.0.1"));
    assert!(connect["session"].is_number() && connect["ts"].is_string());
}

#[test]
fn denied_statements_are_audited_without_their_literals() {
    let own = Own::new(|_, _| {});
    let mut client = own.session();
    client.query("SELECT 1").ok();
    let reply = client.query("SELECT pg_read_file('/etc/very-secret') /* a comment */");
    assert_eq!(reply.code(), "42501");
    let lines = own.audit(|lines| count(lines, "statement") > 0);
    let denied: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "statement")
        .collect();
    assert_eq!(denied.len(), 1, "{lines:?}");
    let line = denied[0];
    assert_eq!(line["verdict"], "deny");
    assert_eq!(line["reason"], "function_denied");
    assert_eq!(line["sqlstate"], "42501");
    assert_eq!(line["org"], Tenant::A.org());
    assert_eq!(line["kind"], "select");
    assert!(line["fingerprint"].is_string());
    assert!(line["policy"].is_string());
    let text = line.to_string();
    assert!(
        !text.contains("very-secret") && !text.contains("comment"),
        "{text}"
    );
    assert_eq!(
        own.metric("pgwarden_denials_total{reason=\"function_denied\"}"),
        1.0
    );
}

/// By the judge, at Bind, by the server where a row is only known when it is made, and by the parser.
#[test]
fn a_denial_is_audited_with_its_kind_shape_and_table_wherever_it_is_found() {
    let own = Own::new(|settings, _| settings.audit.statements = AuditStatements::All);
    let mut client = own.session();
    let foreign = Tenant::B.org();
    let written =
        format!("INSERT INTO campaigns (id, org_id, name) VALUES (901, '{foreign}', 'x')");
    assert_eq!(client.query(&written).code(), "42501");
    let bound = "INSERT INTO campaigns (id, org_id, name) VALUES (902, $1, 'x')";
    assert_eq!(client.extended(bound, &[Some(foreign)]).code(), "42501");
    let computed = format!(
        "INSERT INTO campaigns (id, org_id, name) SELECT 903, o, 'x' FROM unnest(ARRAY['{foreign}'::uuid]) AS u(o)"
    );
    assert_eq!(client.query(&computed).code(), "42501");
    assert_eq!(
        client.query("DELETE FROM nowhere.campaigns").code(),
        "42501"
    );
    assert_eq!(client.query("SELEC 1").code(), "42601");
    let lines = own.audit(|lines| count(lines, "statement") > 4);
    let denied: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "statement")
        .collect();
    assert_eq!(denied.len(), 5, "{lines:?}");
    for line in &denied {
        assert_eq!(line["verdict"], "deny", "{line}");
        assert!(line["reason"].is_string(), "{line}");
        assert!(line["fingerprint"].is_string(), "{line}");
        assert!(!line.to_string().contains(foreign), "{line}");
    }
    for line in &denied[..3] {
        assert_eq!(line["kind"], "insert");
        assert_eq!(line["tables"], json!(["public.campaigns"]));
    }
    assert_eq!(denied[3]["kind"], "delete");
    assert!(denied[4]["kind"].is_null());
    assert_eq!(
        own.metric("pgwarden_statements_total{verdict=\"deny\",kind=\"insert\"}"),
        2.0
    );
}

#[test]
fn all_statements_are_audited_when_asked_for() {
    let own = Own::new(|settings, _| settings.audit.statements = AuditStatements::All);
    let mut client = own.session();
    client
        .query("SELECT full_name FROM leads WHERE full_name = 'a very secret name'")
        .ok();
    client
        .extended(
            "SELECT count(*) FROM leads WHERE full_name <> $1",
            &[Some("a very secret value")],
        )
        .ok();
    let lines = own.audit(|lines| count(lines, "statement") > 1);
    let statements: Vec<_> = lines
        .iter()
        .filter(|line| line["event"] == "statement")
        .collect();
    assert_eq!(statements.len(), 2, "{lines:?}");
    for line in statements {
        assert_eq!(line["verdict"], "rewrite");
        assert_eq!(line["kind"], "select");
        assert_eq!(line["tables"], json!(["public.leads"]));
        assert!(line["fingerprint"].is_string());
        assert!(line["duration_us"].is_number());
        assert!(!line.to_string().contains("very secret"), "{line}");
    }
    assert_eq!(
        own.metric("pgwarden_statements_total{verdict=\"rewrite\",kind=\"select\"}"),
        2.0
    );
    assert!(own.metric("pgwarden_judge_seconds_count") >= 2.0);
}

#[test]
fn too_many_clients_are_told_53300() {
    let own = Own::new(|settings, _| settings.limits.client_connections = 2);
    let one = own.session();
    let _two = own.session();
    assert_eq!(own.log_in(&proxy::token(Tenant::A)).unwrap_err(), "53300");
    drop(one);
    until("a free place", || {
        own.metric("pgwarden_client_connections") < 2.0
    });
    own.session().query("SELECT 1").ok();
}

#[test]
fn a_full_pool_is_53300_after_the_checkout_timeout() {
    let name = |own: &Own| own.arena.plain();
    let own = Own::new(|settings, _| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
        settings.pool.checkout_timeout = Duration::from_millis(200);
    });
    let one = own.session();
    assert_eq!(
        own.log_in_to(&name(&own), &proxy::token(Tenant::B))
            .unwrap_err(),
        "53300"
    );
    drop(one);
    until("the reset", || {
        own.metric("pgwarden_server_connections{state=\"active\"}") == 0.0
    });
    own.log_in_to(&name(&own), &proxy::token(Tenant::B))
        .unwrap();
}

#[test]
fn h_the_next_session_on_a_connection_has_its_own_claims() {
    let own = Own::new(|settings, _| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
    });
    let claims = |client: &mut Client| {
        let text = client
            .query("SHOW request.jwt.claims")
            .ok()
            .value()
            .unwrap();
        let claims: Value = serde_json::from_str(&text).unwrap();
        claims["app_metadata"]["org_id"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut pids = Vec::new();
    for tenant in [Tenant::A, Tenant::B, Tenant::A] {
        let mut client = own.log_in(&proxy::token(tenant)).unwrap();
        assert_eq!(claims(&mut client), tenant.org());
        client.query("SET statement_timeout = '1h'").ok();
        client.query("BEGIN").ok();
        pids.push(client.key.0);
        drop(client);
        until("the reset", || {
            own.metric("pgwarden_server_connections{state=\"active\"}") == 0.0
        });
        assert_eq!(
            own.metric("pgwarden_server_connections{state=\"idle\"}"),
            1.0
        );
    }
    pids.dedup();
    assert_eq!(pids.len(), 1, "one server connection served all");
    let mut client = own.session();
    assert_eq!(
        client.query("SHOW statement_timeout").value().as_deref(),
        Some("0")
    );
}

#[test]
fn a_drain_lets_transactions_finish_and_ends_the_rest() {
    let own = Own::new(|settings, _| settings.limits.drain_timeout = Duration::from_secs(20));
    let mut idle = own.session();
    let mut busy = own.session();
    busy.query("BEGIN").ok();
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| proxy::runtime().block_on(own.drain()));
        assert_eq!(last_words(&mut idle), "57P01");
        until("the end of the listener", || {
            Client::raw(own.address()).is_err()
        });
        busy.query("SELECT 1").ok();
        busy.query("COMMIT").ok();
        assert_eq!(last_words(&mut busy), "57P01");
        draining.join().unwrap();
    });
}

#[test]
fn a_drain_ends_transactions_after_its_time() {
    let own = Own::new(|settings, _| settings.limits.drain_timeout = Duration::from_millis(300));
    let mut busy = own.session();
    busy.query("BEGIN").ok();
    let started = Instant::now();
    std::thread::scope(|scope| {
        let draining = scope.spawn(|| proxy::runtime().block_on(own.drain()));
        assert_eq!(last_words(&mut busy), "57P01");
        assert!(started.elapsed() >= Duration::from_millis(250));
        draining.join().unwrap();
    });
    assert!(started.elapsed() < Duration::from_secs(60));
}

#[test]
fn silent_clients_are_dropped_after_the_handshake_timeout() {
    let own = Own::new(|settings, _| {
        settings.limits.handshake_timeout = Duration::from_millis(300);
    });
    for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x30\0\x03\0\0user\0"] {
        let mut client = Client::raw(own.address()).unwrap();
        client.set_timeout(Duration::from_secs(60));
        client.send_bytes(bytes);
        let started = Instant::now();
        client.read_to_end();
        assert!(started.elapsed() < Duration::from_secs(59));
    }
    let mut client = Client::raw(own.address()).unwrap();
    client.set_timeout(Duration::from_secs(60));
    client.send_startup(&[("user", "anyone")]);
    let started = Instant::now();
    client.read_to_end();
    assert!(started.elapsed() < Duration::from_secs(59));
    // A session that has logged in is not hurried. On a busy machine a login may take too long.
    let token = proxy::token(Tenant::A);
    let mut client = until_some("a session", || own.log_in(&token).ok());
    std::thread::sleep(Duration::from_millis(600));
    client.query("SELECT 1").ok();
}

#[test]
fn f5_a_session_ends_with_its_token() {
    let own = Own::new(|settings, _| settings.auth.leeway = Duration::ZERO);
    let token = |seconds: u64| {
        let mut claims: Value = serde_json::from_str(&Tenant::A.claims()).unwrap();
        claims["exp"] = json!(proxy::now() + seconds);
        proxy::sign(&claims)
    };
    let mut idle = within_a_life(|seconds| {
        let mut idle = own.log_in(&token(seconds)).ok()?;
        (idle.query("SELECT 1").code() == "").then_some(idle)
    });
    assert_eq!(last_words(&mut idle), "57P01");
}

#[test]
fn a_reload_changes_open_sessions_from_their_next_statement() {
    let own = Own::new(|_, _| {});
    let mut client = own.session();
    client.query("SELECT count(*) FROM leads").ok();
    let settings = own.running.proxy().settings().clone();
    let policy = proxy::policy_with(&["missing_filter = \"reject\"".to_owned()]);
    let runtime = proxy::runtime();
    let _inside = runtime.enter();
    own.running.reload(Ok(Inputs { settings, policy })).unwrap();
    let reply = client.query("SELECT count(*) FROM leads");
    assert_eq!(reply.denied(), Some("missing_filter"));
}

// === TLS

/// What psql prints for `SELECT 'in'`, or what it says when it can't.
fn psql(own: &Own, options: &str) -> Result<String, String> {
    let port = own.address().port();
    let database = own.arena.plain();
    let output = Command::new("psql")
        .args([
            "--no-psqlrc",
            "--no-align",
            "--tuples-only",
            "--command",
            "SELECT 'in'",
        ])
        .arg(format!(
            "host=localhost hostaddr=127.0.0.1 port={port} user=anyone dbname={database} {options}"
        ))
        .env("PGPASSWORD", proxy::token(Tenant::A))
        .env("PGCONNECT_TIMEOUT", "120")
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().trim().to_owned();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

#[test]
fn tls_with_psql_and_a_certificate_that_is_renewed() {
    let own = Own::new(|settings, directory| {
        settings.listen[0].tls = Some(certificates(directory, "first").listener);
    });
    let first = own.directory.path().join("first.pem");
    let verified = |root: &Path| format!("sslmode=verify-full sslrootcert={}", root.display());
    assert_eq!(psql(&own, &verified(&first)).unwrap(), "in");
    assert_eq!(psql(&own, "sslmode=require").unwrap(), "in");
    let refused = psql(&own, "sslmode=disable").unwrap_err();
    assert!(
        refused.to_lowercase().contains("tls") || refused.contains("SSL"),
        "{refused}"
    );

    // Reload: a new certificate for new connections.
    let second = certificates(own.directory.path(), "second").authority;
    let settings = own.running.proxy().settings().clone();
    let policy = proxy::policy();
    let _inside = proxy::runtime().enter();
    own.running.reload(Ok(Inputs { settings, policy })).unwrap();
    assert_eq!(psql(&own, &verified(&second)).unwrap(), "in");
    psql(&own, &verified(&first)).unwrap_err();
}
