//! Real clients through the proxy: psql, tokio-postgres, psycopg 3, asyncpg, node-postgres.
//!
//! Python's and Node's packages are not installed from here: `make test` puts them into
//! `target/venv` and `target/node`, and without them these tests fail and say so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::proxy::{address, admin_token, runtime, token};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap()
        .to_owned()
}

/// Where `scripts/setup.sh` puts what the drivers need.
fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(given) => given.into(),
        None => root().join("target"),
    }
}

fn with_environment(mut command: Command, arena: &Arena) -> Command {
    command
        .env("PGHOST", address().ip().to_string())
        .env("PGPORT", address().port().to_string())
        .env("PGDATABASE", arena.plain())
        .env("PGUSER", "someone")
        .env("PGPASSWORD", token(Tenant::A))
        .env("PGSSLMODE", "disable")
        .env("PGCONNECT_TIMEOUT", "10")
        .env("TOKEN_A", token(Tenant::A))
        .env("TOKEN_B", token(Tenant::B))
        .env("TOKEN_ADMIN", admin_token())
        .env("NODE_MODULES", target().join("node/node_modules"));
    command
}

fn must_work(output: &Output) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        shown(&output.stdout),
        shown(&output.stderr)
    );
}

fn script(interpreter: &Path, file: &str) {
    assert!(
        interpreter.exists(),
        "{} is missing: run `make setup` (scripts/setup.sh) first",
        interpreter.display()
    );
    let arena = Arena::take();
    let mut command = Command::new(interpreter);
    command.arg(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("drivers")
            .join(file),
    );
    let output = with_environment(command, &arena)
        .output()
        .expect("the interpreter runs");
    arena.restore();
    must_work(&output);
}

#[test]
fn psycopg() {
    script(&target().join("venv/bin/python"), "python/psycopg_suite.py");
}

#[test]
fn asyncpg() {
    script(&target().join("venv/bin/python"), "python/asyncpg_suite.py");
}

#[test]
fn node_postgres() {
    let modules = target().join("node/node_modules/pg");
    assert!(
        modules.exists(),
        "{} is missing: run `make setup` (scripts/setup.sh) first",
        modules.display()
    );
    let node = ["/usr/bin/node", "/usr/local/bin/node"]
        .map(Path::new)
        .into_iter()
        .find(|path| path.exists());
    script(node.expect("node is installed"), "node/pg_suite.js");
}

/// psql, one command after the other; what it prints.
fn psql(arena: &Arena, commands: &[&str]) -> Output {
    let mut psql = Command::new("psql");
    psql.args([
        "--no-psqlrc",
        "--quiet",
        "--tuples-only",
        "--no-align",
        "--set=ON_ERROR_STOP=1",
    ]);
    for command in commands {
        psql.args(["--command", command]);
    }
    with_environment(psql, arena)
        .output()
        .expect("psql is installed")
}

fn printed(arena: &Arena, commands: &[&str]) -> String {
    let output = psql(arena, commands);
    must_work(&output);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn refused(arena: &Arena, command: &str) -> String {
    let output = psql(arena, &[command]);
    assert!(!output.status.success(), "{command} was let through");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn psql_sees_its_own_rows() {
    let arena = Arena::take();
    assert_eq!(printed(&arena, &["SELECT count(*) FROM leads"]), "60\n");
    assert_eq!(
        printed(&arena, &["SELECT 1; SELECT count(*) FROM leads; SELECT 2"]),
        "1\n60\n2\n"
    );
    assert!(printed(&arena, &["SHOW request.jwt.claims"]).contains(Tenant::A.org()));
    let text = refused(
        &arena,
        "UPDATE leads SET org_id = 'b0000000-0000-0000-0000-000000000002'",
    );
    assert!(
        text.contains("pgwarden: ") && text.contains("DETAIL:  reason=foreign_tenant_value"),
        "{text}"
    );
}

#[test]
fn psql_describes() {
    let arena = Arena::take();
    for (command, expected) in [
        ("\\dt", "leads"),
        ("\\d", "cold_call_logs"),
        ("\\d leads", "campaign_id"),
        ("\\d+ leads", "campaign_id"),
        ("\\d+ events", "kind"),
        ("\\d notes", "txt"),
        ("\\d coupons", "percent"),
        ("\\di", "leads_pkey"),
        ("\\dv", "lead_overview"),
        ("\\ds", "made_ids"),
        ("\\dn", "app"),
        ("\\dT", "call_status"),
        ("\\df initials", "initials"),
        ("\\dx", "pg_trgm"),
        ("\\l", "plain_"),
        ("\\du", "pgwarden_app"),
        ("\\dp leads", "leads"),
    ] {
        let output = psql(&arena, &[command]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains(expected),
            "{command}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!text.contains("b-secret"), "{command}: {text}");
    }
}

#[test]
fn psql_copies() {
    let arena = Arena::take();
    let lines = |command: &str| printed(&arena, &[command]).lines().count();
    for plans in ["\\copy plans (id, name) TO STDOUT", "COPY plans TO STDOUT"] {
        assert_eq!(lines(plans), 3, "{plans}");
    }
    for leads in ["\\copy leads TO STDOUT", "COPY leads (id) TO STDOUT CSV"] {
        assert_eq!(lines(leads), 60, "{leads}");
    }
    for notes in ["notes", "notes (id, txt)"] {
        printed(&arena, &[&format!("\\copy {notes} FROM /dev/null")]);
    }
    for command in [
        "\\copy internal_secrets TO STDOUT",
        "COPY leads TO '/dev/null'",
    ] {
        let text = refused(&arena, command);
        assert!(text.contains("pgwarden: "), "{command}: {text}");
    }
}

#[test]
fn psql_sessions_go_on_after_errors() {
    let arena = Arena::take();
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
    for command in [
        "SELECT 1/0",
        "TRUNCATE leads",
        "SELECT nosuch FROM leads",
        "BEGIN",
        "SELECT * FROM internal_secrets",
        "SELECT 1",
        "ROLLBACK",
        "SELECT count(*) FROM leads",
    ] {
        psql.args(["--command", command]);
    }
    let output = with_environment(psql, &arena)
        .output()
        .expect("psql is installed");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "60\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("current transaction is aborted"));
}

#[test]
fn tokio_postgres() {
    let arena = Arena::take();
    runtime().block_on(async {
        let mut config = tokio_postgres::Config::new();
        config
            .host(address().ip().to_string())
            .port(address().port())
            .user("someone")
            .dbname(arena.plain())
            .password(token(Tenant::A));
        let (mut client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        let driver = tokio::spawn(connection);
        let count: i64 = client
            .query_one("SELECT count(*) FROM leads", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(count, 60);
        let foreign: uuid::Uuid = Tenant::B.org().parse().unwrap();
        let statement = client
            .prepare("SELECT id, full_name, org_id FROM leads WHERE score = $1 ORDER BY id")
            .await
            .unwrap();
        assert_eq!(
            statement.params().len(),
            1,
            "only the client's own parameter is shown"
        );
        for score in 0..10_i32 {
            client.query(&statement, &[&score]).await.unwrap();
        }
        let (one, two, three) = tokio::join!(
            client.query_one("SELECT count(*) FROM leads WHERE score > $1", &[&5_i32]),
            client.query_one("SELECT * FROM internal_secrets", &[]),
            client.query_one("SELECT count(*) FROM campaigns", &[]),
        );
        assert!(one.is_ok() && three.is_ok());
        assert_eq!(two.unwrap_err().code().unwrap().code(), "42501");
        let transaction = client.transaction().await.unwrap();
        assert_eq!(
            transaction
                .execute("UPDATE notes SET txt = $1", &[&"x"])
                .await
                .unwrap(),
            10
        );
        let portal = transaction
            .bind("SELECT id FROM calls ORDER BY id", &[])
            .await
            .unwrap();
        assert_eq!(
            transaction.query_portal(&portal, 50).await.unwrap().len(),
            50
        );
        assert_eq!(
            transaction.query_portal(&portal, 500).await.unwrap().len(),
            70
        );
        transaction.rollback().await.unwrap();
        let denied = client
            .execute(
                "INSERT INTO notes (id, org_id) VALUES ($1, $2::text::uuid)",
                &[&900_i32, &foreign.to_string()],
            )
            .await;
        assert_eq!(denied.unwrap_err().code().unwrap().code(), "42501");
        client
            .batch_execute("BEGIN; UPDATE notes SET txt = 'x'; ROLLBACK")
            .await
            .unwrap();
        drop(client);
        driver.await.unwrap().unwrap();
    });
}
