//! `warden.toml`: what it resolves to, and how its problems read.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

mod environment;
mod problems;
mod secrets;

use std::path::Path;
use std::time::Duration;

use pgwarden_config::settings::{
    AuditStatements, AuditTarget, Host, JwtAlgorithm, KeyMaterial, ListenerAuth, LogFormat,
    PoolMode, ServerAddress, SslMode,
};
use pgwarden_config::{Environment, File, Settings, load_settings, read_settings};

const MINIMAL: &str = r#"
[[listen]]
address = "127.0.0.1:6432"
[databases.app]
url = "postgres://pgwarden@127.0.0.1/app"
[[auth.key]]
algorithm = "HS256"
secret_env = "PGWARDEN_JWT_SECRET"
"#;

/// What paths are relative to.
const FOLDER: &str = env!("CARGO_MANIFEST_DIR");

fn environment(variables: &[(&str, &str)]) -> Environment {
    let secret = (
        "PGWARDEN_JWT_SECRET",
        "a secret of the tests, long enough for HMAC",
    );
    let all = variables.iter().chain([&secret]);
    all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn read(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let file = File::new("warden.toml", text);
    let settings = read_settings(&file, Path::new(FOLDER), &environment(variables));
    settings.map_err(|problems| problems.to_string())
}

/// The problems of the minimal file with something added.
fn problems_of(addition: &str) -> String {
    read(&format!("{MINIMAL}{addition}"), &[]).expect_err("there is a problem")
}

#[track_caller]
fn assert_shows(shown: &str, expected: &str) {
    let expected = expected.trim_start_matches('\n');
    assert!(shown == expected, "shown:\n{shown}\nexpected:\n{expected}");
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let settings = read(MINIMAL, &[]).unwrap();
    assert_eq!(settings.listen.len(), 1);
    assert_eq!(settings.listen[0].auth, ListenerAuth::Password);
    assert_eq!(settings.listen[0].tls, None);
    assert_eq!(settings.admin, None);
    assert_eq!(settings.pool.mode, PoolMode::Session);
    assert_eq!(settings.pool.checkout_timeout, Duration::from_secs(5));
    assert_eq!(settings.pool.pause_timeout, Duration::from_secs(300));
    assert_eq!(settings.auth.leeway, Duration::from_secs(30));
    assert!(settings.auth.require_tls);
    assert_eq!(settings.limits.message_bytes, 64 << 20);
    assert_eq!(settings.limits.total_message_bytes, 1 << 30);
    assert_eq!(settings.audit.target, AuditTarget::Stdout);
    assert_eq!(settings.audit.statements, AuditStatements::Denied);
    assert_eq!(settings.policy_file, Path::new(FOLDER).join("policy.toml"));
    assert_eq!(settings.log.format, LogFormat::Text);
    let database = settings.databases.get("app").unwrap();
    let address = ServerAddress {
        host: Host::Tcp("127.0.0.1".into()),
        port: 5432,
    };
    assert_eq!(database.hosts, [address]);
    assert_eq!(database.ssl_mode, SslMode::Prefer);
    assert_eq!(database.max_server_connections, 20);
    assert_eq!(database.catalog_interval, Duration::from_secs(5));
    assert!(settings.databases.get("other").is_none());
}

#[test]
fn all_messages_may_hold_what_one_needs() {
    let limits = |lines: &str| read(&format!("{MINIMAL}\n[limits]\n{lines}\n"), &[]);
    let raised = limits("message_bytes = \"512MiB\"").unwrap();
    assert_eq!(raised.limits.total_message_bytes, 3 * (512 << 20));
    let problem = limits("total_message_bytes = \"100MiB\"").unwrap_err();
    assert!(
        problem.contains("must be at least 201326592 bytes"),
        "{problem}"
    );
}

#[test]
fn sessions_look_for_bytes_for_a_short_while_only() {
    let limits = |lines: &str| read(&format!("{MINIMAL}\n[limits]\n{lines}\n"), &[]);
    for (lines, expected) in [
        ("busy_poll = \"0s\"", Duration::ZERO),
        ("worker_threads = 2", Duration::ZERO),
        (
            "worker_threads = 2\nbusy_poll = \"50us\"",
            Duration::from_micros(50),
        ),
    ] {
        assert_eq!(limits(lines).unwrap().limits.busy_poll, expected, "{lines}");
    }
    let problem = limits("busy_poll = \"1s\"").unwrap_err();
    assert!(problem.contains("must be at most 10ms"), "{problem}");
}

#[test]
fn the_sample_is_loadable_and_shows_the_defaults() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("samples/warden.toml");
    let sample = load_settings(&path, &environment(&[])).unwrap();
    let minimal = read(MINIMAL, &[]).unwrap();
    assert_eq!(format!("{:?}", sample.pool), format!("{:?}", minimal.pool));
    assert_eq!(
        format!("{:?}", sample.limits),
        format!("{:?}", minimal.limits)
    );
    assert_eq!(sample.audit, minimal.audit);
    assert_eq!(sample.log, minimal.log);
    assert_eq!(sample.listen, minimal.listen);
    assert_eq!(sample.auth.leeway, minimal.auth.leeway);
    assert_eq!(sample.auth.audience, ["authenticated"]);
    assert_eq!(sample.auth.keys[0].algorithm, JwtAlgorithm::Hs256);
}

/// The format's own example with its files in place: all is read, and exactly what is not
/// built is refused.
#[test]
fn the_contract_is_read_but_for_what_is_not_built() {
    let folder = tempfile::tempdir().unwrap();
    let pem = "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n";
    for name in ["jwt.pem", "server.crt", "server.key"] {
        std::fs::write(folder.path().join(name), pem).unwrap();
    }
    let text = include_str!("../contract/warden.toml");
    let file = File::new("warden.toml", text);
    let problems = read_settings(&file, folder.path(), &environment(&[])).unwrap_err();
    assert_shows(
        &problems.to_string(),
        r#"
warden.toml:34:7: "jwks" is not supported yet
   |
34 | [auth.jwks]
   |       ^^^^
   = help: give the keys as [[auth.key]]
"#,
    );

    let (before, after) = text.split_once("[auth.jwks]").unwrap();
    let text = format!("{before}{}", &after[after.find("[limits]").unwrap()..]);
    let file = File::new("warden.toml", text);
    let settings = read_settings(&file, folder.path(), &environment(&[])).unwrap();
    let tls = settings.listen[0].tls.clone().unwrap();
    assert_eq!(tls.certificate, folder.path().join("server.crt"));
    assert!(tls.required);
    assert_eq!(settings.pool.mode, PoolMode::Transaction);
    assert_eq!(settings.auth.keys[1].id.as_deref(), Some("2026-01"));
    assert_eq!(
        settings.auth.keys[1].material,
        KeyMaterial::PublicKeyPem(pem.trim_end().into())
    );
}

#[test]
fn peers_know_their_own_number() {
    let list = "[peers]\naddresses = ['a:1', '[::1]:2']\n";
    let settings = read(&format!("{MINIMAL}{list}number = 2"), &[]).unwrap();
    assert_eq!(settings.peers.unwrap().number, 2);
    for (addition, what) in [
        (format!("{list}number = 3"), "there are 2 addresses"),
        (list.to_owned(), "key \"number\" is missing in [peers]"),
        (
            "[peers]\nnumber = 1\naddresses = ['a']".to_owned(),
            "expected hosts with ports",
        ),
        (
            "[peers]\nnumber = 1\naddresses = []".to_owned(),
            "expected 1 to 127 addresses",
        ),
    ] {
        let shown = problems_of(&addition);
        assert!(shown.contains(what), "{shown}");
    }
}

#[test]
fn standbys_are_read_from_where_there_can_be_some() {
    let with = |hosts: &str, mode: &str, more: &str| {
        let url = format!("postgres://u@{hosts}");
        format!("{MINIMAL}\n[databases.x]\nurl = '{url}'\n{more}\n[pool]\nmode = '{mode}'\n")
    };
    let (reads, target) = ("reads = 'prefer_replica'", "?target_session_attrs=primary");
    let good = with(&format!("a,b/x{target}"), "transaction", reads);
    let lag = |settings: Settings| settings.databases.named["x"].max_replica_lag;
    assert_eq!(lag(read(&good, &[]).unwrap()), Some(Duration::from_secs(5)));
    let plain = with("a/x", "session", "reads = 'primary'");
    assert_eq!(lag(read(&plain, &[]).unwrap()), None);
    for (hosts, mode, what) in [
        (
            &*format!("a/x{target}"),
            "transaction",
            "needs several hosts",
        ),
        ("a,b/x", "transaction", "needs several hosts"),
        (
            &format!("a,b/x{target}"),
            "session",
            "needs transaction pooling",
        ),
    ] {
        let shown = read(&with(hosts, mode, reads), &[]).unwrap_err();
        assert!(shown.contains(what), "{shown}");
    }
}
