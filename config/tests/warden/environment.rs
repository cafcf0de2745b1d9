//! Variables of the environment instead of keys of the file.

use std::path::{Path, PathBuf};

use pgwarden_config::settings::{JwtAlgorithm, LogFormat};

use super::{FOLDER, MINIMAL, assert_shows, read};

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
