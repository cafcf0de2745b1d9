//! `pgwarden migrate claims` from outside: users in a real PostgreSQL, and behind an API that fails as
//! APIs do.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::Api;
use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::patience::patience;
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;
use serde_json::{Value, json};

#[path = "claims/api.rs"]
mod api;

const A: &str = "a0000000-0000-0000-0000-000000000001";
const B: &str = "b0000000-0000-0000-0000-000000000002";

/// 1000 users: 600 of A, 398 of B, one of both, one of none; one of A's says B already, one of B's
/// is right.
const USERS: &str = "
    CREATE SCHEMA auth;
    CREATE TABLE auth.users (id uuid PRIMARY KEY, raw_app_meta_data jsonb, raw_user_meta_data jsonb,
        updated_at timestamptz);
    INSERT INTO auth.users SELECT ('00000000-0000-0000-0000-' || lpad(i::text, 12, '0'))::uuid,
        CASE WHEN i % 7 = 0 THEN NULL ELSE '{\"provider\": \"email\"}'::jsonb END, '{\"org_id\": \"mine\"}'
        FROM generate_series(1, 1000) AS i;
    CREATE TABLE members (user_id uuid, org uuid);
    INSERT INTO members SELECT id, CASE WHEN right(id::text, 3)::int BETWEEN 1 AND 600
        THEN 'a0000000-0000-0000-0000-000000000001'::uuid ELSE 'b0000000-0000-0000-0000-000000000002'::uuid END
        FROM auth.users WHERE id <> '00000000-0000-0000-0000-000000000999';
    INSERT INTO members VALUES ('00000000-0000-0000-0000-000000000998', 'a0000000-0000-0000-0000-000000000001');
    UPDATE auth.users SET raw_app_meta_data = '{\"org_id\": \"b0000000-0000-0000-0000-000000000002\"}'
        WHERE id IN ('00000000-0000-0000-0000-000000000001', '00000000-0000-0000-0000-000000000700')";

const MAPPING: &str =
    "version = 1\n[users]\ntable = \"public.members\"\nuser = \"user_id\"\ntenant = \"org\"\n";

const COUNTS: &str = "SELECT left(raw_app_meta_data ->> 'org_id', 1) || ' ' || count(*) FROM auth.users \
    GROUP BY raw_app_meta_data ->> 'org_id' ORDER BY 1 NULLS FIRST";

fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let reply = script(client, sql);
    let rows = reply.results.last().unwrap().rows.iter();
    rows.map(|row| String::from_utf8(row[0].clone().unwrap_or_default()).unwrap())
        .collect()
}

const KEY: &str = "the-service-key";

fn command(folder: &std::path::Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
    command
        .args(["migrate", "claims", "--format", "json"])
        .args(arguments)
        .current_dir(folder)
        .env("SUPABASE_SERVICE_ROLE_KEY", KEY);
    command
}

/// The report, and standard error.
#[track_caller]
fn run(folder: &std::path::Path, arguments: &[&str], status: i32) -> (Value, String) {
    let output = command(folder, arguments).output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "\n{out}\n{err}");
    assert!(!out.contains(KEY) && !err.contains(KEY));
    (serde_json::from_str(&out).unwrap_or_default(), err)
}

/// Counts of a report.
fn counts(report: &Value) -> [u64; 7] {
    let count = |name: &str| {
        let it = &report[name];
        it.as_u64().unwrap_or_else(|| it["count"].as_u64().unwrap())
    };
    [
        "right",
        "set",
        "open",
        "other",
        "unmapped",
        "ambiguous",
        "failed",
    ]
    .map(count)
}

struct Users {
    server: Server,
    folder: tempfile::TempDir,
}

impl Users {
    fn new() -> Self {
        let server = Server::start();
        script(&mut superuser(server.address(), "postgres"), USERS);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("migrate.toml"), MAPPING).unwrap();
        Self { server, folder }
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], status: i32) -> Value {
        let dsn = self.dsn();
        let all = [&["--dsn", &dsn, "--batch", "37"], arguments].concat();
        run(self.folder.path(), &all, status).0
    }

    fn dsn(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.server.address())
    }
}

#[test]
fn users_of_a_database_get_their_organisation() {
    let users = Users::new();
    let mut admin = superuser(users.server.address(), "postgres");
    let before = rows(&mut admin, COUNTS);
    let mapping = ["--mapping", "migrate.toml"];
    // Without --apply it is only shown.
    let report = users.run(&mapping, 1);
    assert_eq!(counts(&report), [1, 0, 996, 1, 1, 1, 0]);
    assert_eq!(rows(&mut admin, COUNTS), before);
    let apply = [&mapping[..], &["--apply"]].concat();
    let report = users.run(&apply, 1);
    assert_eq!(counts(&report), [997, 996, 0, 1, 1, 1, 0]);
    let other = report["other"]["users"][0].as_str().unwrap();
    assert_eq!(
        other,
        format!("00000000-0000-0000-0000-000000000001 is of {B}, not {A}")
    );
    assert_eq!(rows(&mut admin, COUNTS), ["", "a 599", "b 399"]);
    let kept = "SELECT count(*)::text FROM auth.users WHERE raw_app_meta_data ->> 'provider' = 'email' \
        UNION ALL SELECT count(*)::text FROM auth.users WHERE raw_user_meta_data = '{\"org_id\": \"mine\"}'";
    assert_eq!(
        rows(&mut admin, kept)[1],
        "1000",
        "what users write is left alone"
    );
    // Again: nothing is left to do. What was left to people they decide.
    assert_eq!(counts(&users.run(&apply, 1)), [997, 0, 0, 1, 1, 1, 0]);
    let moved = [&apply[..], &["--overwrite", "--default", A]].concat();
    script(
        &mut admin,
        "DELETE FROM members WHERE user_id::text LIKE '%998' AND org::text LIKE 'b%'",
    );
    assert_eq!(counts(&users.run(&moved, 0)), [1000, 3, 0, 0, 0, 0, 0]);
    assert_eq!(rows(&mut admin, COUNTS), ["a 602", "b 398"]);
}

#[test]
fn the_policy_says_where_the_claim_is() {
    let users = Users::new();
    let write = |text: &str| std::fs::write(users.folder.path().join("policy.toml"), text).unwrap();
    write("version = 1\n[tenant]\nclaim = \"app_metadata.tenant.number\"\ntype = \"bigint\"\n");
    let asked = [
        "--policy",
        "policy.toml",
        "--apply",
        "--query",
        "SELECT id, 42 FROM auth.users",
    ];
    assert_eq!(counts(&users.run(&asked, 0)), [1000, 1000, 0, 0, 0, 0, 0]);
    let mut admin = superuser(users.server.address(), "postgres");
    let wrong = "SELECT count(*)::text FROM auth.users WHERE raw_app_meta_data -> 'tenant' <> '{\"number\": 42}'";
    assert_eq!(rows(&mut admin, wrong), ["0"]);
    write("version = 1\n[tenant]\nclaim = \"org_id\"\n");
    users.run(&asked, 2);
    // The mapping's query only reads.
    users.run(
        &["--query", "DELETE FROM members RETURNING user_id, org"],
        2,
    );
    assert_eq!(
        rows(&mut admin, "SELECT count(*)::text FROM members"),
        ["1000"]
    );
}

#[test]
fn a_migration_of_a_database_goes_on_where_it_was_killed() {
    let users = Users::new();
    let dsn = users.dsn();
    // A user that somebody holds stops the run in the middle.
    let mut holder = superuser(users.server.address(), "postgres");
    script(
        &mut holder,
        "BEGIN; SELECT FROM auth.users WHERE id::text LIKE '%500' FOR UPDATE",
    );
    let arguments = [
        "--dsn",
        &dsn,
        "--batch",
        "37",
        "--mapping",
        "migrate.toml",
        "--apply",
    ];
    let mut child = Ended(
        command(users.folder.path(), &arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let mut admin = superuser(users.server.address(), "postgres");
    let waits = "SELECT count(*)::text FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    until(|| rows(&mut admin, waits) == ["1"]);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    script(&mut holder, "ROLLBACK");
    until(|| rows(&mut admin, waits) == ["0"]);
    let report = users.run(&arguments[4..], 1);
    let [right, set, rest @ ..] = counts(&report);
    assert_eq!((right, rest), (997, [0, 1, 1, 1, 0]));
    assert!((300..=996 - 300).contains(&set), "{set}");
}

/// Ended with the test, whatever becomes of that.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < patience());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn users_behind_an_api_get_their_organisation_whatever_fails() {
    let api = Api::start(230, KEY);
    let folder = tempfile::tempdir().unwrap();
    let url = api.url();
    let asked = [
        "--gotrue",
        &url,
        "--default",
        A,
        "--rate",
        "1000",
        "--timeout",
        "1s",
        "--batch",
        "50",
    ];
    let (report, _) = run(folder.path(), &asked, 1);
    assert_eq!(counts(&report), [1, 0, 228, 1, 0, 0, 0]);
    assert_eq!(api.changes(), 0);
    api.fail_now_and_then();
    let apply = [&asked[..], &["--apply"]].concat();
    let (report, _) = run(folder.path(), &apply, 1);
    assert_eq!(counts(&report), [229, 228, 0, 1, 0, 0, 0]);
    assert!(api.failures() > 10, "{}", api.failures());
    for user in api.users() {
        assert_eq!(user["app_metadata"]["provider"], "email");
    }
    let (report, _) = run(folder.path(), &[&apply[..], &["--overwrite"]].concat(), 0);
    assert_eq!(counts(&report), [230, 1, 0, 0, 0, 0, 0]);
    assert!(
        api.users()
            .iter()
            .all(|it| it["app_metadata"]["org_id"] == json!(A))
    );
}

#[test]
fn a_migration_behind_an_api_goes_on_where_it_was_killed() {
    let api = Api::start(150, KEY);
    let folder = tempfile::tempdir().unwrap();
    let url = api.url();
    let asked = [
        "--gotrue",
        &url,
        "--default",
        A,
        "--overwrite",
        "--apply",
        "--timeout",
        "2s",
    ];
    let slowly = [&asked[..], &["--rate", "100"]].concat();
    let mut child = Ended(
        command(folder.path(), &slowly)
            .stdout(Stdio::null())
            .spawn()
            .unwrap(),
    );
    until(|| api.changes() >= 40);
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    let before = api.changes();
    assert!(before < 149, "{before}");
    let (report, _) = run(
        folder.path(),
        &[&asked[..], &["--rate", "1000"]].concat(),
        0,
    );
    let [right, set, rest @ ..] = counts(&report);
    assert_eq!((right, rest), (150, [0, 0, 0, 0, 0]));
    // One may have been changed while nobody waited for the answer any more.
    assert!((149 - before - 1..=149 - before).contains(&usize::try_from(set).unwrap()));
}

#[test]
fn an_api_that_refuses_is_not_asked_again_and_again() {
    let api = Api::start(30, "another-key");
    let folder = tempfile::tempdir().unwrap();
    let url = api.url();
    let asked = [
        "--gotrue",
        &url,
        "--default",
        A,
        "--apply",
        "--rate",
        "1000",
    ];
    let (_, err) = run(folder.path(), &asked, 2);
    assert!(
        err.contains("does not take the service key: HTTP 401"),
        "{err}"
    );
    let api = Api::start(30, KEY);
    api.refuse_changes();
    let url = api.url();
    let asked = [
        "--gotrue",
        &url,
        "--default",
        A,
        "--apply",
        "--rate",
        "1000",
    ];
    let (report, _) = run(folder.path(), &asked, 1);
    assert_eq!(report["set"], 0);
    assert!(
        report["failed"]["users"][0]
            .as_str()
            .unwrap()
            .ends_with(": HTTP 422 no such thing")
    );
    let (_, err) = run(
        folder.path(),
        &["--gotrue", "http://example.com", "--default", A],
        2,
    );
    assert!(err.contains("not sent without TLS"), "{err}");
}

#[test]
fn the_key_goes_to_an_api_only_whose_certificate_is_known() {
    let (api, certificate) = Api::start_encrypted(60, KEY);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ca.pem"), certificate).unwrap();
    let url = api.url();
    let asked = [
        "--default",
        A,
        "--overwrite",
        "--apply",
        "--rate",
        "1000",
        "--gotrue",
    ];
    let known = [&asked[..], &[&url, "--ca-file", "ca.pem"]].concat();
    let (report, _) = run(folder.path(), &known, 0);
    assert_eq!(counts(&report), [60, 59, 0, 0, 0, 0, 0]);
    // Not the machine's, or not of that name: no request is made.
    let api = Api::start_encrypted(60, KEY).0;
    let (own, other) = (api.url(), url.replace("localhost", "127.0.0.1"));
    for (url, rest) in [
        (&own, &[][..]),
        (&own, &["--ca-file", "ca.pem"]),
        (&other, &["--ca-file", "ca.pem"]),
    ] {
        let (_, err) = run(folder.path(), &[&asked[..], &[url], rest].concat(), 3);
        assert!(err.contains("certificate"), "{err}");
    }
    assert_eq!(api.changes(), 0);
}
