//! `warden.toml`: what it resolves to, and how its problems read.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::path::{Path, PathBuf};
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
    let text = include_str!("contract/warden.toml");
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
fn all_problems_are_shown_at_once() {
    let text = r#"
[[listen]]
address = "localhost:6432"
aut = "password"

[pol]
mode = "session"

[pool]
mode = "sesion"
checkout_timeout = 5
idle_timeout = "soon"

[databases.app]
url = "postgres://bob:hunter2@a,b/app?target_session_attrs=primar"

[auth]
require_tls = "true"
[[auth.key]]
algorithm = "HS265"
secret_env = "PGWARDEN_JWT_SECRET"
[[auth.key]]
algorithm = "RS256"
secret_env = "PGWARDEN_JWT_SECRET"

[limits]
message_bytes = "64MB"
client_connections = 0
"#;
    assert_shows(
        &read(text, &[]).unwrap_err(),
        r#"
warden.toml:3:11: expected an IP address and a port
  |
3 | address = "localhost:6432"
  |           ^^^^^^^^^^^^^^^^
  = help: write "127.0.0.1:6432"

warden.toml:4:1: unknown key "aut" in [[listen]]
  |
4 | aut =…
  | ^^^
  = help: did you mean "auth"?

warden.toml:6:2: unknown key "pol"
  |
6 | [pol]
  |  ^^^
  = help: did you mean "pool"?

warden.toml:10:8: unknown value "sesion"
   |
10 | mode = "sesion"
   |        ^^^^^^^^
   = help: did you mean "session"?

warden.toml:11:20: duration has no unit
   |
11 | checkout_timeout = 5
   |                    ^
   = help: write "5s" for seconds

warden.toml:12:16: not a duration
   |
12 | idle_timeout = "soon"
   |                ^^^^^^
   = help: write a number with ms, s, m, h or d, such as "30s"

warden.toml:15:7: unknown target_session_attrs
   |
15 | url = "postgres://bob:…@a,b/app?target_session_attrs=primar"
   |       ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = help: did you mean "primary"?

warden.toml:18:15: expected a boolean, found a string
   |
18 | require_tls = "true"
   |               ^^^^^^
   = help: write true without quotes

warden.toml:20:13: unknown algorithm "HS265"
   |
20 | algorithm = "HS265"
   |             ^^^^^^^
   = help: did you mean "HS256"?

warden.toml:24:1: RS256 has a public key, not a secret
   |
24 | secret_env = "PGWARDEN_JWT_SECRET"
   | ^^^^^^^^^^
   = help: write public_key_file

warden.toml:27:17: not a size in bytes
   |
27 | message_bytes = "64MB"
   |                 ^^^^^^
   = help: did you mean "MiB"?

warden.toml:28:22: expected an integer greater than 0
   |
28 | client_connections = 0
   |                      ^
"#,
    );
}

#[test]
fn syntax_errors_do_not_hide_other_problems() {
    let shown = problems_of("[pool]\nmode = \nidle_timeout = \"soon\"\n[log]\nformat = text\n");
    assert_shows(
        &shown,
        r#"
warden.toml:10:8: string values must be quoted, expected literal string
   |
10 | mode =
   |        ^

warden.toml:11:16: not a duration
   |
11 | idle_timeout = "soon"
   |                ^^^^^^
   = help: write a number with ms, s, m, h or d, such as "30s"

warden.toml:13:10: invalid boolean, expected `true`
   |
13 | format = text
   |          ^^^^
"#,
    );
}

#[test]
fn an_empty_file_lacks_everything() {
    let shown = read("", &[]).unwrap_err();
    for part in ["[[listen]]", "[databases.<name>]", "[[auth.key]]"] {
        assert!(shown.contains(&format!("there is no {part}")), "{shown}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let written = [
        "[databases.x]\nurl = \"postgres://bob:hunter2@h:0/x\"\n",
        "[databases.x]\nurl = \"postgres://h:0/x?password=hunter2\"\n",
        "[databases.x]\npassword = \"hunter2\"\n",
        "[databases.x]\npassword = hunter2\n",
        "[[auth.key]]\nsecret = \"hunter2\"\n",
        "[[auth.key]]\nkey = \"hunter2\"\n",
        "[auth]\nkeys = [{ secret = \"hunter2\" }]\n",
    ];
    for addition in written {
        let shown = problems_of(addition);
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let settings = read(
        MINIMAL,
        &[("PGWARDEN_DATABASES__APP__URL", "postgres://u:hunter2@h")],
    );
    assert!(!format!("{settings:?}").contains("hunter2"));
    let shown = read(
        MINIMAL,
        &[("PGWARDEN_DATABASES__APP__URL", "postgres://u:hunter2@h:0")],
    );
    assert!(!shown.unwrap_err().contains("hunter2"));
}

#[test]
fn a_short_secret_is_refused() {
    let shown = read(
        &MINIMAL.replace("PGWARDEN_JWT_SECRET", "SHORT"),
        &[("SHORT", "hunter2")],
    );
    assert_shows(
        &shown.unwrap_err(),
        r#"
warden.toml:8:1: the secret is shorter than 32 bytes
  |
8 | secret_env = "SHORT"
  | ^^^^^^^^^^
  = help: make one with: openssl rand -base64 48
"#,
    );
}

#[test]
fn a_private_key_is_not_taken_for_a_public_one() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("k.pem"), "-----BEGIN PRIVATE KEY-----\n").unwrap();
    let text = format!("{MINIMAL}[[auth.key]]\nalgorithm='ES256'\npublic_key_file='k.pem'\n");
    let file = File::new("warden.toml", text);
    let problems = read_settings(&file, folder.path(), &environment(&[])).unwrap_err();
    assert!(
        problems
            .to_string()
            .contains("the file holds a private key")
    );
}

#[test]
fn passwords_come_from_the_url_the_environment_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("pw"), "from the file\n").unwrap();
    let text = format!(
        "{MINIMAL}
[databases.url]
url = 'postgres://u:from%20the%20url@h'
[databases.variable]
url = 'postgres://u@h'
password_env = 'PGWARDEN_DB__PASSWORD'
[databases.file]
url = 'postgres://u@h'
password_file = 'pw'
[databases.'*']
url = 'postgres://u@h'
"
    );
    let file = File::new("warden.toml", text);
    let variables = environment(&[("PGWARDEN_DB__PASSWORD", "from the environment")]);
    let settings = read_settings(&file, folder.path(), &variables).unwrap();
    let password = |name: &str| {
        settings
            .databases
            .get(name)
            .unwrap()
            .password
            .clone()
            .unwrap()
    };
    assert_eq!(password("url").expose(), "from the url");
    assert_eq!(password("variable").expose(), "from the environment");
    assert_eq!(password("file").expose(), "from the file");
    let any = settings.databases.get("whatever").unwrap();
    assert_eq!(any.dbname_for("whatever"), "whatever");
    assert_eq!(
        settings.databases.get("url").unwrap().dbname_for("url"),
        "url"
    );
}

#[test]
fn the_environment_overrides_every_scalar() {
    let settings = read(
        MINIMAL,
        &[
            ("PGWARDEN_LISTEN__0__ADDRESS", "0.0.0.0:7000"),
            ("PGWARDEN_LISTEN__1__ADDRESS", "[::1]:7001"),
            ("PGWARDEN_LISTEN__1__TLS__CERTIFICATE", "Cargo.toml"),
            ("PGWARDEN_LISTEN__1__TLS__KEY", "/dev/null"),
            ("PGWARDEN_LISTEN__1__TLS__REQUIRED", "false"),
            ("PGWARDEN_DATABASES__APP__URL", "postgres://bob@db/other"),
            ("PGWARDEN_DATABASES__APP__MAX_SERVER_CONNECTIONS", "3"),
            ("PGWARDEN_DATABASES__SECOND__URL", "postgres://bob@db"),
            ("PGWARDEN_POOL__MODE", "session"),
            ("PGWARDEN_AUTH__AUDIENCE", "a, b"),
            ("PGWARDEN_AUTH__REQUIRE_TLS", "false"),
            ("PGWARDEN_AUTH__KEY__0__ALGORITHM", "HS512"),
            ("PGWARDEN_LIMITS__STATEMENT_BYTES", "2MiB"),
            ("PGWARDEN_LOG__FORMAT", "json"),
        ],
    )
    .unwrap();
    assert_eq!(settings.listen[0].address.to_string(), "0.0.0.0:7000");
    assert_eq!(settings.listen[1].address.to_string(), "[::1]:7001");
    let tls = settings.listen[1].tls.clone().unwrap();
    assert_eq!(tls.certificate, Path::new(FOLDER).join("Cargo.toml"));
    assert_eq!(tls.key, PathBuf::from("/dev/null"));
    assert!(!tls.required);
    let database = settings.databases.get("app").unwrap();
    assert_eq!(database.dbname.as_deref(), Some("other"));
    assert_eq!(database.max_server_connections, 3);
    assert!(settings.databases.get("second").is_some());
    assert_eq!(settings.auth.audience, ["a", "b"]);
    assert!(!settings.auth.require_tls);
    assert_eq!(settings.auth.keys[0].algorithm, JwtAlgorithm::Hs512);
    assert_eq!(settings.limits.statement_bytes, 2 << 20);
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn variables_that_override_nothing_are_problems() {
    let shown = read(
        MINIMAL,
        &[
            ("PGWARDEN_POOL__MOD", "session"),
            ("PGWARDEN_POOL__MODE", "transaction"),
            ("PGWARDEN_POL__MODE", "session"),
            ("PGWARDEN_LISTEN__3__ADDRESS", "127.0.0.1:1"),
            ("PGWARDEN_LISTEN__0", "127.0.0.1:1"),
            ("PGWARDEN_LOG_FORMAT", "json"),
            ("PGWARDEN_LISTEN_0_ADDRESS", "127.0.0.1:1"),
            (
                "PGWARDEN_DATABASES__APP__PASSWORD_ENV",
                "PGWARDEN_SOME__PASSWORD",
            ),
            ("PGWARDEN_SOME__PASSWORD", "is named by another"),
            ("PGWARDEN_UNRELATED", "is left alone"),
        ],
    )
    .unwrap_err();
    assert_shows(
        &shown,
        r#"
environment variable PGWARDEN_LISTEN__0: names a table, not a value

environment variable PGWARDEN_LISTEN__3__ADDRESS: has the index 3, but the next one is 1

environment variable PGWARDEN_POOL__MOD: unknown key "mod" in [pool]
  = help: did you mean "mode"?

environment variable PGWARDEN_POL__MODE: unknown key "pol"
  = help: did you mean "pool"?

environment variable PGWARDEN_LISTEN_0_ADDRESS: overrides nothing
  = help: write PGWARDEN_LISTEN__0__ADDRESS, with two underscores

environment variable PGWARDEN_LOG_FORMAT: overrides nothing
  = help: write PGWARDEN_LOG__FORMAT, with two underscores
"#,
    );
}

#[test]
fn what_is_not_built_is_refused() {
    let cases = [
        (
            "[[listen]]\naddress = '[::1]:1'\nauth = 'oauthbearer'",
            "auth = \"oauthbearer\"",
        ),
        ("[auth.jwks]\nfile = 'keys.json'", "\"jwks\""),
        (
            "[databases.x]\nurl = 'postgres://u@h/?connect_timeout=5'",
            "parameter \"connect_timeout\"",
        ),
    ];
    for (addition, what) in cases {
        let shown = problems_of(addition);
        assert!(
            shown.contains(&format!("{what} is not supported yet")),
            "{shown}"
        );
    }
}

#[test]
fn a_missing_file_is_a_problem() {
    let problems = load_settings(Path::new("/nowhere/warden.toml"), &environment(&[]));
    let shown = problems.unwrap_err().to_string();
    assert!(
        shown.starts_with("/nowhere/warden.toml: can't be read: "),
        "{shown}"
    );
}

#[test]
fn files_that_are_not_there_are_problems() {
    let addition = "[databases.x]\nurl = 'postgres://u@h/?sslmode=verify-ca&sslrootcert=no.pem'
[[listen]]\naddress = '[::1]:1'\n[listen.tls]\ncertificate = 'no.crt'\nkey = 'no.key'\n
[databases.y]\nurl = 'postgres://u@h/'\npassword_file = 'no.password'\n";
    let shown = problems_of(addition);
    for name in ["no.pem", "no.crt", "no.key", "no.password"] {
        assert!(
            shown.contains(&format!("{name} can't be read: ")),
            "{shown}"
        );
    }
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
