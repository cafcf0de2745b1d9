//! `pgwarden orgs run` from outside: a real proxy, a real PostgreSQL, and jobs that must not meet.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pgwarden::server::{Inputs, Running};
use pgwarden_tests::fixture::{ROLE, script, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::proxy::{SECRET, runtime};
use pgwarden_tests::server::{Server, free_address};
use pgwarden_tests::wire::Client;
use serde_json::Value;
use tempfile::TempDir;

const ACME: &str = "a0000000-0000-0000-0000-000000000001";
const BOLT: &str = "b0000000-0000-0000-0000-000000000002";
const CORA: &str = "c0000000-0000-0000-0000-000000000003";
const GONE: &str = "d0000000-0000-0000-0000-000000000004";

const SCHEMA: &str = "
    CREATE TABLE organizations (id uuid PRIMARY KEY, name text, status text NOT NULL);
    INSERT INTO organizations VALUES
        ('a0000000-0000-0000-0000-000000000001', 'Acme', 'active'),
        ('b0000000-0000-0000-0000-000000000002', 'Bolt', 'active'),
        ('c0000000-0000-0000-0000-000000000003', 'Cora', 'active'),
        ('d0000000-0000-0000-0000-000000000004', 'Gone', 'suspended');
    CREATE TABLE leads (id bigint GENERATED ALWAYS AS IDENTITY, org_id uuid NOT NULL, calls int NOT NULL DEFAULT 0,
        note text NOT NULL DEFAULT '');
    INSERT INTO leads (org_id) SELECT id FROM organizations, generate_series(1, 3);
    INSERT INTO leads (org_id, note) VALUES ('b0000000-0000-0000-0000-000000000002', 'b-secret');
    CREATE TABLE totals (org_id uuid NOT NULL, leads bigint NOT NULL);
    GRANT SELECT, INSERT, UPDATE ON organizations, leads, totals TO pgwarden_app";

const POLICY: &str = "version = 1\n[[table]]\nname = \"public.organizations\"\ncolumn = \"id\"\n\
    [[role]]\nname = \"jobs\"\n";

/// A PostgreSQL, a proxy in front of it, and a folder with the proxy's files.
struct Place {
    server: Server,
    folder: TempDir,
    running: Running,
}

struct Ran {
    out: String,
    err: String,
}

impl Place {
    fn new() -> Self {
        let server = Server::start();
        let mut admin = superuser(server.address(), "postgres");
        script(&mut admin, &format!("CREATE ROLE {ROLE} LOGIN"));
        script(&mut admin, SCHEMA);
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("policy.toml", POLICY);
        write("secret", SECRET);
        write(
            "warden.toml",
            &format!(
                "[[listen]]\naddress = \"{}\"\n[databases.app]\n\
                 url = \"postgres://{ROLE}@{}/postgres?sslmode=disable\"\n\
                 [[auth.key]]\nalgorithm = \"HS256\"\nsecret_file = \"secret\"\n\
                 [policy]\nfile = \"policy.toml\"\n[audit]\ntarget = \"/dev/null\"\n\
                 [log]\nfilter = \"error\"\n",
                free_address(),
                server.address(),
            ),
        );
        let inputs = Inputs::read(&folder.path().join("warden.toml")).unwrap();
        let running = runtime().block_on(pgwarden::server::start(inputs)).unwrap();
        Self {
            server,
            folder,
            running,
        }
    }

    fn admin(&self) -> Client {
        superuser(self.server.address(), "postgres")
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command
            .args(["orgs", "run"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("OTHER_NAME", SECRET)
            .env_remove("PGWARDEN_JWT_SECRET");
        command
    }

    /// With the proxy's own settings.
    #[track_caller]
    fn run(&self, arguments: &[&str], status: i32) -> Ran {
        self.run_bare(&[&["--config", "warden.toml"], arguments].concat(), status)
    }

    #[track_caller]
    fn run_bare(&self, arguments: &[&str], status: i32) -> Ran {
        let output = self.command(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let ran = Ran {
            out: text(output.stdout),
            err: text(output.stderr),
        };
        let found = output.status.code();
        assert_eq!(found, Some(status), "\n{}\n{}", ran.out, ran.err);
        for secret in [SECRET, "eyJ"] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret));
        }
        ran
    }
}

impl Ran {
    /// Organisation, outcome and rows of each.
    fn records(&self) -> Vec<(String, String, Option<u64>)> {
        let report: Value = serde_json::from_str(&self.out).unwrap();
        let text = |it: &Value| it.as_str().unwrap().to_owned();
        let all = report["organisations"].as_array().unwrap().iter();
        all.map(|it| (text(&it["org"]), text(&it["outcome"]), it["rows"].as_u64()))
            .collect()
    }
}

fn done(org: &str, rows: Option<u64>) -> (String, String, Option<u64>) {
    (org.to_owned(), "done".to_owned(), rows)
}

/// What a query gives, a line for each row.
fn rows(client: &mut Client, sql: &str) -> Vec<String> {
    let reply = script(client, sql);
    let rows = reply.results.last().unwrap().rows.iter();
    rows.map(|row| {
        let values = row
            .iter()
            .map(|it| String::from_utf8(it.clone().unwrap_or_default()).unwrap());
        values.collect::<Vec<_>>().join(" ")
    })
    .collect()
}

const CALLS: &str = "SELECT left(org_id::text, 1), sum(calls) FROM leads GROUP BY 1 ORDER BY 1";

#[test]
fn each_organisation_sees_and_writes_its_own_rows() {
    let place = Place::new();
    place.write(
        "job.sql",
        "UPDATE leads SET calls = calls + 1;\n\
         INSERT INTO totals (leads) SELECT count(*) FROM leads;\n\
         SELECT id FROM organizations;\n",
    );
    let ran = place.run(&["--sql", "job.sql", "--format", "json"], 0);
    assert_eq!(
        ran.records(),
        [
            done(ACME, Some(5)),
            done(BOLT, Some(6)),
            done(CORA, Some(5))
        ]
    );
    let mut admin = place.admin();
    assert_eq!(rows(&mut admin, CALLS), ["a 3", "b 4", "c 3", "d 0"]);
    let totals = "SELECT left(org_id::text, 1), leads FROM totals ORDER BY 1";
    assert_eq!(rows(&mut admin, totals), ["a 3", "b 4", "c 3"]);
    // By names, without the database; in words.
    let ran = place.run(
        &["--sql", "job.sql", "--orgs", &format!("{GONE},{GONE}")],
        0,
    );
    assert!(
        ran.out.ends_with("\n1 organisation: 1 done\n"),
        "{}",
        ran.out
    );
    assert_eq!(rows(&mut admin, CALLS), ["a 3", "b 4", "c 3", "d 3"]);
}

#[test]
fn one_that_fails_does_not_stop_or_taint_the_others() {
    let place = Place::new();
    place.write(
        "job.sql",
        "UPDATE leads SET calls = calls + 1;\nUPDATE leads SET calls = 1 / (CASE note WHEN 'b-secret' THEN 0 ELSE 1 END);\n",
    );
    let report = place.path("report.json");
    let job = ["--sql", "job.sql", "--format", "json", "--report", &report];
    // One at a time, and the first that fails is the last.
    let ran = place.run(&[&job[..], &["--jobs", "1"]].concat(), 1);
    let outcomes: Vec<String> = ran.records().into_iter().map(|it| it.1).collect();
    assert_eq!(outcomes, ["done", "failed", "open"]);
    assert!(ran.out.contains("line 2: ERROR 22012"), "{}", ran.out);
    let mut admin = place.admin();
    assert_eq!(
        rows(&mut admin, CALLS),
        ["a 3", "b 0", "c 0", "d 0"],
        "all or nothing"
    );
    // The rest is run, whoever fails.
    let rest = ["--only-failed", &report, "--keep-going"];
    let ran = place.run(&[&job[..], &rest].concat(), 1);
    let outcomes: Vec<_> = ran.records().into_iter().map(|it| (it.0, it.1)).collect();
    let outcome = |org: &str, outcome: &str| (org.to_owned(), outcome.to_owned());
    assert_eq!(outcomes, [outcome(BOLT, "failed"), outcome(CORA, "done")]);
    assert_eq!(rows(&mut admin, CALLS), ["a 3", "b 0", "c 3", "d 0"]);
    // And what failed, once it can be done.
    script(&mut admin, "UPDATE leads SET note = '' WHERE note <> ''");
    let ran = place.run(&[&job[..], &rest].concat(), 0);
    assert_eq!(ran.records(), [done(BOLT, Some(8))]);
    let ran = place.run(&[&job[..], &rest].concat(), 0);
    assert_eq!(ran.records(), []);
    assert_eq!(rows(&mut admin, CALLS), ["a 3", "b 4", "c 3", "d 0"]);
}

#[test]
fn statements_may_stand_alone() {
    let place = Place::new();
    place.write(
        "job.sql",
        "UPDATE leads SET calls = 7;\nSELECT * FROM nothing;\n",
    );
    let only = ["--only", ACME, "--sql", "job.sql"];
    place.run(&only, 1);
    let mut admin = place.admin();
    assert_eq!(rows(&mut admin, CALLS)[0], "a 0");
    place.run(&[&only[..], &["--no-transaction"]].concat(), 1);
    assert_eq!(rows(&mut admin, CALLS), ["a 21", "b 0", "c 0", "d 0"]);
}

#[test]
fn a_command_finds_its_session_in_its_environment_and_no_secret() {
    let place = Place::new();
    let check = "test -z \"$OTHER_NAME\" && test \"$PGWARDEN_ORG_ID\" \
        && psql -XAt -c \"UPDATE leads SET calls = 1 RETURNING 'mine'\" >/dev/null \
        && psql -XAt \"$DATABASE_URL\" -c 'SELECT count(*) FROM leads' \
        && echo \"$PGPASSWORD\"";
    let ran = place.run(&["--each", check, "--format", "json"], 0);
    assert_eq!(
        ran.records(),
        [done(ACME, None), done(BOLT, None), done(CORA, None)]
    );
    for line in [
        format!("[{ACME}] 3\n"),
        format!("[{BOLT}] 4\n"),
        format!("[{CORA}] (token)\n"),
    ] {
        assert!(ran.err.contains(&line), "{line}{}", ran.err);
    }
    assert_eq!(
        rows(&mut place.admin(), CALLS),
        ["a 3", "b 4", "c 3", "d 0"]
    );
    // The last word on standard error is the reason.
    let ran = place.run(
        &["--each", "echo out of paper >&2; exit 3", "--only", CORA],
        1,
    );
    assert!(
        ran.out.contains("exit status: 3: out of paper"),
        "{}",
        ran.out
    );
}

#[test]
fn tokens_are_signed_or_exchanged() {
    let place = Place::new();
    place.write("job.sql", "UPDATE leads SET calls = 1");
    let proxy = format!(
        "postgres://jobs@{}/app?sslmode=disable",
        place.running.addresses()[0]
    );
    let dsn = format!("postgres://postgres@{}/postgres", place.server.address());
    let bare = [
        "--sql", "job.sql", "--proxy", &proxy, "--dsn", &dsn, "--format", "json",
    ];
    let all = [
        done(ACME, Some(3)),
        done(BOLT, Some(4)),
        done(CORA, Some(3)),
    ];
    let signed = [&bare[..], &["--secret-env", "OTHER_NAME", "--role", "jobs"]].concat();
    assert_eq!(place.run_bare(&signed, 0).records(), all);
    let binary = env!("CARGO_BIN_EXE_pgwarden");
    let exchange = format!("{binary} token mint --secret-file secret --org $PGWARDEN_ORG_ID");
    let exchanged = [&bare[..], &["--token-command", &exchange]].concat();
    assert_eq!(place.run_bare(&exchanged, 0).records(), all);
    // A token of somebody's own gives nobody else's session.
    let wrong = ["--token-command", "echo x.y.z", "--only", ACME];
    let ran = place.run_bare(&[&bare[..], &wrong].concat(), 1);
    assert!(ran.out.contains("28P01"), "{}", ran.out);
    let ran = place.run_bare(&bare, 2);
    assert!(ran.err.contains("nothing signs tokens"), "{}", ran.err);
}

#[test]
fn who_takes_too_long_is_ended() {
    let place = Place::new();
    let mut admin = place.admin();
    let held = format!("BEGIN; SELECT FROM leads WHERE org_id = '{BOLT}' FOR UPDATE");
    script(&mut admin, &held);
    place.write("job.sql", "UPDATE leads SET calls = 1");
    let job = [
        "--sql",
        "job.sql",
        "--timeout",
        "6s",
        "--keep-going",
        "--format",
        "json",
    ];
    let ran = place.run(&job, 1);
    let outcomes: Vec<String> = ran.records().into_iter().map(|it| it.1).collect();
    assert_eq!(outcomes, ["done", "timed_out", "done"]);
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    // A cancelled statement takes a moment to end. In a transaction its reader would see it for ever.
    let mut beside = superuser(place.server.address(), "postgres");
    until("the end of what has waited", || {
        rows(&mut beside, waiting) == ["0"]
    });
    script(&mut admin, "ROLLBACK");
    assert_eq!(rows(&mut admin, CALLS), ["a 3", "b 0", "c 3", "d 0"]);
    // A command goes with all that it has started.
    let mark = place.path("alive");
    let sleeping = format!("(sleep 5; touch {mark}) & wait");
    let job = [
        "--each",
        &sleeping,
        "--timeout",
        "1s",
        "--only",
        ACME,
        "--format",
        "json",
    ];
    assert_eq!(place.run(&job, 1).records()[0].1, "timed_out");
    std::thread::sleep(Duration::from_secs(5));
    assert!(!Path::new(&mark).exists());
}

/// Ended with the test, whatever becomes of that.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interrupted_run_is_taken_up_again() {
    let place = Place::new();
    let report = place.path("report.json");
    let begun = place.path("begun");
    let job = format!("test -e {begun} || {{ touch {begun}; sleep 60; }}");
    let arguments = [
        "--config",
        "warden.toml",
        "--report",
        &report,
        "--jobs",
        "1",
        "--each",
        &job,
    ];
    let mut command = place.command(&arguments);
    let mut child = Ended(command.stdout(Stdio::null()).spawn().unwrap());
    until("its beginning", || Path::new(&begun).exists());
    // A shell's own kill: the command is not everywhere.
    let told = Command::new("sh")
        .args(["-c", &format!("kill -INT {}", child.0.id())])
        .status();
    assert!(told.unwrap().success());
    assert_eq!(child.0.wait().unwrap().code(), Some(1));
    let kept: Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
    assert_eq!(kept["organisations"][0]["outcome"], "interrupted");
    assert_eq!(kept["organisations"][1]["outcome"], "open");
    let again = ["--only-failed", &report, "--each", &job, "--format", "json"];
    let ran = place.run(&again, 0);
    assert_eq!(
        ran.records(),
        [done(ACME, None), done(BOLT, None), done(CORA, None)]
    );
}

#[test]
fn nobody_is_left_out_in_silence() {
    let place = Place::new();
    place.write("job.sql", "UPDATE leads SET calls = 1");
    let ran = place.run(&["--sql", "job.sql", "--dry-run", "--except", BOLT], 0);
    assert!(
        ran.out.contains("Acme") && !ran.out.contains("Bolt"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.ends_with("\n2 organisations: 2 open\n"),
        "{}",
        ran.out
    );
    let mut admin = place.admin();
    assert_eq!(rows(&mut admin, CALLS), ["a 0", "b 0", "c 0", "d 0"]);
    let ran = place.run(&["--sql", "job.sql", "--only", GONE], 2);
    assert!(ran.err.contains("no active organisation"), "{}", ran.err);
    let ran = place.run(&["--sql", "job.sql", "--active", "state=on"], 2);
    assert!(ran.err.contains("no column \"state\""), "{}", ran.err);
    // The proxy's own role is bound by policies: it would find nobody, and all would seem done.
    script(
        &mut admin,
        "ALTER TABLE organizations ENABLE ROW LEVEL SECURITY",
    );
    let ran = place.run(&["--sql", "job.sql"], 2);
    assert!(ran.err.contains("row level security"), "{}", ran.err);
    place.write("job.sql", "UPDATE leads SET calls = 1;\nCOMMIT;");
    let ran = place.run(&["--sql", "job.sql", "--orgs", ACME], 2);
    assert!(ran.err.contains("job.sql:2: "), "{}", ran.err);
}
