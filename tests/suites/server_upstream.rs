//! Logging in to PostgreSQLs that demand one method or another, by every `sslmode`; and the pool on
//! top: what a connection leaves behind is gone before the next session gets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgwarden::backend::{
    Backend, CancelRegistry, CancelSlot, ConnectError, Upstream, connect, connect_control,
};
use pgwarden::metrics::Metrics;
use pgwarden::pool::Pool;
use pgwarden::refusal::Refusal;
use pgwarden_config::Secret;
use pgwarden_config::settings::{
    Database, Host, HostOrder, Pool as PoolSettings, PoolMode, RootCertificates, ServerAddress,
    SslMode, TargetSession,
};
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PASSWORD: &str = "pass\u{e9}word '\\ with everything";

const HBA: &str = "
local all all trust
host all postgres 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all cleartext 127.0.0.1/32 password
host all md5 127.0.0.1/32 md5
host all scram 127.0.0.1/32 scram-sha-256
hostssl all only_tls 127.0.0.1/32 scram-sha-256
hostnossl all only_plain 127.0.0.1/32 scram-sha-256
host all rejected 127.0.0.1/32 reject
";

/// A server with TLS, a server without, and certificates.
struct World {
    with_tls: Server,
    without_tls: Server,
    authority: PathBuf,
    other_authority: PathBuf,
    /// The server's own certificate.
    certificate: PathBuf,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let ours = authority("ours");
        let other = authority("other");
        let key = KeyPair::generate().unwrap();
        // A name that "127.0.0.1" does not match, but "localhost" does.
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ours).unwrap();
        let with_tls = Server::start_with(|directory| {
            write_hba(directory);
            fs::write(directory.join("server.crt"), certificate.pem()).unwrap();
            write_key(&directory.join("server.key"), &key);
            let file = directory.join("postgresql.conf");
            let settings = fs::read_to_string(&file).unwrap();
            fs::write(
                file,
                settings + "\nssl = on\nlisten_addresses = 'localhost'\n",
            )
            .unwrap();
        });
        let without_tls = Server::start_with(write_hba);
        for server in [&with_tls, &without_tls] {
            roles(server.address());
        }
        let place = with_tls.directory();
        let write = |name: &str, pem: String| {
            fs::write(place.join(name), pem).unwrap();
            place.join(name)
        };
        World {
            authority: write("ours.pem", ours.pem()),
            other_authority: write("other.pem", other.pem()),
            certificate: write("own.pem", certificate.pem()),
            with_tls,
            without_tls,
        }
    })
}

fn write_hba(directory: &Path) {
    fs::write(directory.join("pg_hba.conf"), HBA).unwrap();
}

fn write_key(path: &Path, key: &KeyPair) {
    fs::write(path, key.serialize_pem()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn roles(address: SocketAddr) {
    let mut admin = Client::connect(address, "postgres", "postgres", &[], None).unwrap();
    let quoted = PASSWORD.replace('\'', "''");
    let mut run = |sql: &str| {
        let reply = admin.query(sql);
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
    };
    run("CREATE ROLE trusted LOGIN");
    for role in ["cleartext", "scram", "only_tls", "only_plain", "rejected"] {
        run(&format!("CREATE ROLE {role} LOGIN PASSWORD '{quoted}'"));
    }
    run("SET password_encryption = 'md5'");
    run(&format!("CREATE ROLE md5 LOGIN PASSWORD '{quoted}'"));
    run("CREATE ROLE low NOLOGIN");
    run("GRANT low TO trusted");
}

fn database(address: SocketAddr, user: &str, ssl_mode: SslMode) -> Database {
    Database {
        hosts: vec![ServerAddress {
            host: Host::Tcp(address.ip().to_string()),
            port: address.port(),
        }],
        target: TargetSession::Any,
        order: HostOrder::AsWritten,
        user: user.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        dbname: Some("postgres".to_owned()),
        ssl_mode,
        ssl_root: None,
        max_server_connections: 2,
        catalog_interval: Database::CATALOG_INTERVAL,
        max_replica_lag: None,
    }
}

async fn login(settings: &Database) -> Result<Backend, ConnectError> {
    let upstream = Arc::new(Upstream::new(settings, "postgres").unwrap());
    let backend = connect(&upstream, &Vec::new()).await;
    // The control connection takes the same way.
    match (&backend, connect_control(&upstream).await) {
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        (one, other) => panic!("{one:?}, but {:?}", other.map(|_| ())),
    }
    backend
}

/// The first column of the one row of a constant query.
async fn ask(backend: &mut Backend, sql: &'static str) -> String {
    backend.outbox().own_query(sql);
    backend.flush().await.unwrap();
    let mut value = String::new();
    loop {
        while let Some((tag, body)) = frame(backend) {
            match tag {
                b'D' => value = String::from_utf8(body[6..].to_vec()).unwrap(),
                b'E' => panic!("{}", body.escape_ascii()),
                b'Z' => return value,
                _ => {}
            }
        }
        assert_ne!(backend.fill().await.unwrap(), 0, "the server closed");
    }
}

fn frame(backend: &mut Backend) -> Option<(u8, Vec<u8>)> {
    let inbox = backend.inbox();
    let length = inbox.get(1..5)?.try_into().unwrap();
    let length = u32::from_be_bytes(length) as usize;
    if inbox.len() <= length {
        return None;
    }
    let frame = inbox.split_to(length + 1);
    Some((frame[0], frame[5..].to_vec()))
}

const USES_TLS: &str = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";

async fn uses_tls(settings: &Database) -> Option<bool> {
    let mut backend = login(settings).await.ok()?;
    Some(ask(&mut backend, USES_TLS).await == "t")
}

#[tokio::test]
async fn every_password_method() {
    for (role, mode) in [
        ("trusted", SslMode::Disable),
        ("cleartext", SslMode::Disable),
        ("md5", SslMode::Disable),
        ("scram", SslMode::Disable),
        ("cleartext", SslMode::Require),
        ("md5", SslMode::Require),
        ("scram", SslMode::Require),
    ] {
        let settings = database(world().with_tls.address(), role, mode);
        let mut backend = login(&settings)
            .await
            .unwrap_or_else(|e| panic!("{role}: {e}"));
        assert_eq!(ask(&mut backend, "SELECT current_user").await, role);
        let pid = backend.facts().pid.to_string();
        assert_eq!(ask(&mut backend, "SELECT pg_backend_pid()").await, pid);
        let parameters = &backend.facts().parameters;
        for (name, value) in [
            ("client_encoding", "UTF8"),
            ("standard_conforming_strings", "on"),
        ] {
            let parameter = (name.to_owned(), value.to_owned());
            assert!(parameters.contains(&parameter), "{parameters:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_or_missing_password_is_our_secret() {
    for role in ["cleartext", "md5", "scram"] {
        let mut settings = database(world().with_tls.address(), role, SslMode::Prefer);
        settings.password = Some(Secret::new("not the password"));
        let error = login(&settings).await.expect_err(role);
        match &error {
            ConnectError::Server(server) => assert_eq!(server.sqlstate, "28P01"),
            other => panic!("{other}"),
        }
        assert_eq!(
            sqlstate(&error),
            "57P03",
            "the client can do nothing about it"
        );
        settings.password = None;
        let error = login(&settings).await.expect_err(role);
        assert!(matches!(error, ConnectError::NoPassword));
    }
}

fn sqlstate(error: &ConnectError) -> String {
    match error.refusal() {
        Refusal::Own { sqlstate, .. } => sqlstate.to_owned(),
        Refusal::Server(frame) => {
            let at = frame.windows(2).position(|two| two == b"\0C").unwrap();
            String::from_utf8(frame[at + 2..at + 7].to_vec()).unwrap()
        }
    }
}

#[tokio::test]
async fn errors_of_the_server_that_concern_the_client_are_relayed() {
    let mut settings = database(world().with_tls.address(), "scram", SslMode::Prefer);
    settings.dbname = Some("nobody's".to_owned());
    assert_eq!(sqlstate(&login(&settings).await.unwrap_err()), "3D000");
    settings.dbname = Some("postgres".to_owned());
    let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
    let odd = vec![("work_mem".to_owned(), "a lot".to_owned())];
    assert_eq!(
        sqlstate(&connect(&upstream, &odd).await.unwrap_err()),
        "22023"
    );
    settings.hosts[0].port = 1;
    assert_eq!(sqlstate(&login(&settings).await.unwrap_err()), "57P03");
}

#[tokio::test]
async fn start_up_parameters_arrive_and_the_fixed_ones_win() {
    let settings = database(world().with_tls.address(), "scram", SslMode::Prefer);
    let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
    let parameters = [
        ("application_name", "the app"),
        ("client_encoding", "SJIS"),
        ("standard_conforming_strings", "off"),
    ];
    let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut backend = connect(&upstream, &parameters.to_vec()).await.unwrap();
    assert_eq!(ask(&mut backend, "SHOW application_name").await, "the app");
    assert_eq!(ask(&mut backend, "SHOW client_encoding").await, "UTF8");
    assert_eq!(
        ask(&mut backend, "SHOW standard_conforming_strings").await,
        "on"
    );
}

#[tokio::test]
async fn sslmodes_without_a_check_of_the_certificate() {
    let with = world().with_tls.address();
    let without = world().without_tls.address();
    for (mode, role, address, expected) in [
        (SslMode::Disable, "scram", with, Some(false)),
        (SslMode::Disable, "only_plain", with, Some(false)),
        (SslMode::Disable, "only_tls", with, None),
        (SslMode::Disable, "scram", without, Some(false)),
        (SslMode::Allow, "scram", with, Some(false)),
        (SslMode::Allow, "only_plain", with, Some(false)),
        (SslMode::Allow, "only_tls", with, Some(true)),
        (SslMode::Allow, "scram", without, Some(false)),
        (SslMode::Allow, "only_tls", without, None),
        (SslMode::Prefer, "scram", with, Some(true)),
        (SslMode::Prefer, "only_plain", with, Some(false)),
        (SslMode::Prefer, "only_tls", with, Some(true)),
        (SslMode::Prefer, "scram", without, Some(false)),
        (SslMode::Prefer, "rejected", with, None),
        (SslMode::Require, "scram", with, Some(true)),
        (SslMode::Require, "only_tls", with, Some(true)),
        (SslMode::Require, "only_plain", with, None),
        (SslMode::Require, "scram", without, None),
    ] {
        let settings = database(address, role, mode);
        assert_eq!(uses_tls(&settings).await, expected, "{mode:?} as {role}");
    }
}

#[tokio::test]
async fn sslmodes_with_a_check_of_the_certificate() {
    let world = world();
    let (ours, other, own) = (&world.authority, &world.other_authority, &world.certificate);
    for (mode, host, root, good) in [
        (SslMode::VerifyCa, "127.0.0.1", ours, true),
        (SslMode::VerifyCa, "localhost", ours, true),
        (SslMode::VerifyCa, "127.0.0.1", other, false),
        (SslMode::VerifyCa, "127.0.0.1", own, true),
        (SslMode::VerifyFull, "localhost", ours, true),
        (SslMode::VerifyFull, "127.0.0.1", ours, false),
        (SslMode::VerifyFull, "localhost", other, false),
        (SslMode::VerifyFull, "localhost", own, true),
        (SslMode::VerifyFull, "127.0.0.1", own, false),
    ] {
        let mut settings = database(world.with_tls.address(), "only_tls", mode);
        settings.hosts[0].host = Host::Tcp(host.to_owned());
        settings.ssl_root = Some(RootCertificates::File(root.clone()));
        let expected = good.then_some(true);
        assert_eq!(
            uses_tls(&settings).await,
            expected,
            "{mode:?} {host} {}",
            root.display()
        );
    }
    // A server without TLS is no way around the check.
    for mode in [SslMode::VerifyCa, SslMode::VerifyFull] {
        let mut settings = database(world.without_tls.address(), "scram", mode);
        settings.ssl_root = Some(RootCertificates::File(ours.clone()));
        assert!(matches!(login(&settings).await, Err(ConnectError::NoTls)));
        settings.ssl_root = None;
        assert!(Upstream::new(&settings, "postgres").is_err());
    }
}

#[tokio::test]
async fn a_unix_socket() {
    let server = &world().with_tls;
    for mode in [SslMode::Disable, SslMode::Prefer, SslMode::Require] {
        let mut settings = database(server.address(), "scram", mode);
        settings.hosts[0].host = Host::Unix(server.directory().to_owned());
        assert_eq!(uses_tls(&settings).await, Some(false), "{mode:?}");
    }
}

#[tokio::test]
async fn cancel_reaches_its_own_connection_only() {
    for mode in [SslMode::Disable, SslMode::Require] {
        let settings = database(world().with_tls.address(), "scram", mode);
        let mut one = login(&settings).await.unwrap();
        let registry = Arc::new(CancelRegistry::default());
        let registration = registry.register(Some(one.facts().pid), 4).unwrap();
        registration.slot().attach(one.cancel_target().clone());
        assert_eq!(registration.pid(), one.facts().pid);
        assert_eq!(registration.secret().len(), 4);
        let (pid, secret) = (registration.pid(), registration.secret().to_vec());
        assert!(registry.find(pid, &[0; 4]).is_none() || secret == [0; 4]);
        assert!(registry.find(pid + 1, &secret).is_none());
        assert!(registry.find(pid, &secret[..3]).is_none());
        one.outbox().own_query("SELECT pg_sleep(20)");
        one.flush().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
        registry.find(pid, &secret).unwrap().cancel().await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), async {
            loop {
                if let Some((b'E', body)) = frame(&mut one) {
                    return body;
                }
                if frame_is_missing(&mut one) {
                    assert_ne!(one.fill().await.unwrap(), 0);
                }
            }
        });
        let body = answer.await.expect("the statement was cancelled");
        assert!(body.windows(5).any(|five| five == b"57014"));
        drop(registration);
        assert!(registry.find(pid, &secret).is_none());
    }
}

#[tokio::test]
async fn h_a_late_cancel_does_not_hit_the_next_session() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let late = Arc::new(CancelSlot::default());
    late.attach(lease.cancel_target().clone());
    let pid = lease.facts().pid;
    lease.give_back(&late);
    until("the reset", || metrics.server_idle.value() == 1).await;
    let mut next = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(next.facts().pid, pid);
    let answer = ask(&mut next, "SELECT 'done' FROM pg_sleep(0.5)");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.cancel().await.unwrap();
    };
    let (answer, ()) = tokio::join!(answer, cancel);
    assert_eq!(answer, "done");
    // The next session's own cancel works.
    next.outbox().own_query("SELECT pg_sleep(20)");
    next.flush().await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    next.cancel_target().cancel().await.unwrap();
    let answered = tokio::time::timeout(Duration::from_secs(5), next.fill()).await;
    assert_ne!(answered.expect("an answer at once").unwrap(), 0);
}

fn frame_is_missing(backend: &mut Backend) -> bool {
    let inbox = backend.inbox();
    let length = |four: &[u8]| u32::from_be_bytes(four.try_into().unwrap()) as usize;
    inbox
        .get(1..5)
        .is_none_or(|four| inbox.len() <= length(four))
}

// === the pool

fn pool_with(change: impl FnOnce(&mut PoolSettings)) -> (Arc<Pool>, Arc<Metrics>) {
    let database = database(world().with_tls.address(), "trusted", SslMode::Disable);
    let upstream = Arc::new(Upstream::new(&database, "postgres").unwrap());
    let metrics = Arc::new(Metrics::default());
    let mut settings = PoolSettings {
        mode: PoolMode::Session,
        checkout_timeout: Duration::from_secs(2),
        ..PoolSettings::default()
    };
    change(&mut settings);
    let limit = database.max_server_connections;
    (
        Pool::new(upstream, settings, limit, Arc::clone(&metrics)),
        metrics,
    )
}

fn named(name: &str) -> Vec<(String, String)> {
    vec![("application_name".to_owned(), name.to_owned())]
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come");
}

#[tokio::test]
async fn h_a_connection_comes_back_clean_or_not_at_all() {
    let (pool, metrics) = pool_with(|_| {});
    let mut lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    for sql in [
        "SET ROLE low",
        "RESET ROLE",
        "SET search_path = pg_catalog",
        "SET statement_timeout = '1h'",
        "SET application_name = 'other'",
        "SELECT set_config('request.jwt.claims', '{\"org\":1}', false)",
        "SELECT set_config('my.secret', 'x', false)",
        "CREATE TEMP TABLE leftover (a int)",
        "CREATE TEMP SEQUENCE numbers",
        "SELECT nextval('numbers')",
        "PREPARE leftover AS SELECT 1",
        "LISTEN leftover",
        "SELECT pg_advisory_lock(7)",
        "DECLARE leftover CURSOR WITH HOLD FOR SELECT 1",
        "SET ROLE low",
        "BEGIN",
        "SET LOCAL work_mem = '1GB'",
    ] {
        ask(&mut lease, sql).await;
    }
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    assert_eq!(metrics.server_active.value(), 0);
    let mut again = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(again.facts().pid, pid, "the connection is reused");
    for (sql, expected) in [
        ("SELECT current_user || session_user", "trustedtrusted"),
        ("SHOW search_path", "\"$user\", public"),
        ("SHOW statement_timeout", "0"),
        ("SHOW application_name", "a"),
        (
            "SELECT coalesce(current_setting('request.jwt.claims', true), '')",
            "",
        ),
        (
            "SELECT coalesce(current_setting('my.secret', true), '')",
            "",
        ),
        (
            "SELECT count(*) FROM pg_class WHERE relname IN ('leftover', 'numbers')",
            "0",
        ),
        ("SELECT count(*) FROM pg_prepared_statements", "0"),
        ("SELECT count(*) FROM pg_cursors", "0"),
        ("SELECT count(*) FROM pg_listening_channels()", "0"),
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            "0",
        ),
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "0",
        ),
        ("SHOW work_mem", "4MB"),
        ("SELECT pg_current_xact_id_if_assigned() IS NULL", "t"),
    ] {
        assert_eq!(ask(&mut again, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn h_other_start_up_parameters_get_another_connection() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let other = pool.checkout(&named("b")).await.unwrap();
    assert_ne!(other.facts().pid, pid);
    let same = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(same.facts().pid, pid);
    // Unused connections make room for others before the limit counts them.
    same.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let third = pool.checkout(&named("c")).await.unwrap();
    assert_ne!(third.facts().pid, pid);
    assert_eq!(metrics.server_idle.value(), 0);
    assert_eq!(metrics.server_active.value(), 2);
}

#[tokio::test]
async fn h_a_dropped_lease_and_unread_answers_close_the_connection() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    drop(lease);
    let mut next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
    let pid = next.facts().pid;
    // An answer that nobody read must not be the next session's.
    next.outbox().own_query("SELECT 'secret'");
    next.flush().await.unwrap();
    next.fill().await.unwrap();
    next.give_back(&Arc::default());
    until("the end of the reset", || {
        metrics.server_active.value() == 0
    })
    .await;
    assert_eq!(metrics.server_idle.value(), 0);
    let next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
}

#[tokio::test]
async fn h_an_answer_still_on_its_way_is_no_clean_end() {
    let (pool, metrics) = pool_with(|_| {});
    let mut lease = pool.checkout(&named("a")).await.unwrap();
    lease.outbox().own_query("SELECT pg_sleep(0.2), 'secret'");
    lease.flush().await.unwrap();
    lease.give_back(&Arc::default());
    until("the end of the reset", || {
        metrics.server_active.value() == 0
    })
    .await;
    assert_eq!(
        metrics.server_idle.value(),
        0,
        "the reset saw a tag that it did not ask for"
    );
}

#[tokio::test]
async fn a_full_pool_is_53300_after_the_checkout_timeout() {
    let (pool, _) = pool_with(|settings| settings.checkout_timeout = Duration::from_millis(100));
    let one = pool.checkout(&named("a")).await.unwrap();
    let _two = pool.checkout(&named("a")).await.unwrap();
    let error = pool.checkout(&named("a")).await.unwrap_err();
    assert_eq!(sqlstate(&error), "53300");
    drop(one);
    pool.checkout(&named("a")).await.unwrap();
}

#[tokio::test]
async fn h_a_connection_that_the_server_ended_is_not_handed_out() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let address = world().with_tls.address();
    tokio::task::spawn_blocking(move || {
        let mut admin = Client::connect(address, "postgres", "postgres", &[], None).unwrap();
        let reply = admin.query(&format!("SELECT pg_terminate_backend({pid}, 5000)"));
        assert!(reply.error.is_none());
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
    assert_eq!(metrics.server_idle.value(), 0);
}

#[tokio::test]
async fn lifetime_and_idle_time_end() {
    let (pool, metrics) = pool_with(|settings| settings.max_lifetime = Duration::from_millis(1));
    let lease = pool.checkout(&named("a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_active.value() == 0).await;
    assert_eq!(metrics.server_idle.value(), 0);
    let (pool, metrics) = pool_with(|settings| settings.idle_timeout = Duration::from_millis(1));
    pool.spawn_sweeper();
    pool.checkout(&named("a"))
        .await
        .unwrap()
        .give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(metrics.server_idle.value(), 0, "swept");
}

// === servers that are not PostgreSQL

/// A listener that reads whatever comes and says these bytes one after the other.
async fn impostor(says: Vec<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for bytes in &says {
                let mut input = [0; 1024];
                if stream.read(&mut input).await.unwrap_or(0) == 0 {
                    break;
                }
                let _ = stream.write_all(bytes).await;
            }
            // Not closed at once: whoever waits for more must give up by itself.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    address
}

const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const SASL: &[u8] = b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0";
const KEY_AND_READY: &[u8] = b"K\0\0\0\x0c\0\0\0\x01\0\0\0\x02Z\0\0\0\x05I";

#[tokio::test]
async fn a_server_that_does_not_know_the_password_is_not_believed() {
    for says in [
        // AuthenticationOk in the middle of SCRAM.
        vec![SASL, OK],
        // A final message without a first one, and nonsense for a first one.
        vec![SASL, b"R\0\0\0\x0c\0\0\0\x0cv=AA"],
        vec![SASL, b"R\0\0\0\x0c\0\0\0\x0bnope"],
        // A nonce that is not ours.
        vec![SASL, b"R\0\0\0\x1f\0\0\0\x0br=stranger,s=AAAA,i=4096"],
        // Mechanisms and methods that don't exist here.
        vec![b"R\0\0\0\x0e\0\0\0\x0aPLAIN\0\0"],
        vec![b"R\0\0\0\x08\0\0\0\x07"],
        vec![b"R\0\0\0\x08\0\0\0\x02"],
        vec![b"R\0\0\0\x0a\0\0\0\x05ab"],
        vec![b"R\0\0\0\x06\0\0"],
        // Lengths and messages that can't be.
        vec![b"R\xff\xff\xff\xff\0\0\0\0"],
        vec![b"R\0\0\0\0\0\0\0\0"],
        vec![b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        vec![b"T\0\0\0\x06\0\0"],
    ] {
        let shown = says.concat().escape_ascii().to_string();
        let settings = database(impostor(says).await, "scram", SslMode::Disable);
        let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
        let parameters = Vec::new();
        let connecting = connect(&upstream, &parameters);
        let answer = tokio::time::timeout(Duration::from_secs(5), connecting).await;
        let error = answer.expect("an answer in time").expect_err(&shown);
        assert_eq!(sqlstate(&error), "57P03", "{shown}");
    }
}

#[tokio::test]
async fn bytes_behind_the_answer_to_sslrequest_are_not_taken_for_tls() {
    let after = [&b"S"[..], OK, KEY_AND_READY].concat().leak();
    for mode in [SslMode::Require, SslMode::Prefer] {
        let settings = database(impostor(vec![after]).await, "trusted", mode);
        let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
        let parameters = Vec::new();
        let connecting = connect(&upstream, &parameters);
        let answer = tokio::time::timeout(Duration::from_secs(15), connecting).await;
        assert!(answer.expect("an answer in time").is_err(), "{mode:?}");
    }
}

#[tokio::test]
async fn a_server_that_trusts_is_taken_at_its_word() {
    let all = [
        OK,
        b"S\0\0\0\x0bTest\0x\0",
        b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0",
        KEY_AND_READY,
    ];
    let all = all.concat().leak();
    let settings = database(impostor(vec![all]).await, "trusted", SslMode::Disable);
    let upstream = Arc::new(Upstream::new(&settings, "postgres").unwrap());
    let backend = connect(&upstream, &Vec::new()).await.unwrap();
    assert_eq!(backend.facts().pid, 1);
    assert_eq!(
        backend.facts().parameters,
        [("Test".to_owned(), "x".to_owned())]
    );
}
