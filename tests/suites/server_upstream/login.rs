//! Logging in: every method of passwords, every `sslmode`, start-up parameters, errors.

use std::sync::Arc;

use pgwarden::backend::{ConnectError, Upstream, connect};
use pgwarden_config::Secret;
use pgwarden_config::settings::{Database, Host, RootCertificates, SslMode};

use super::{ask, database, login, sqlstate, world};

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
