//! The command line against a real PostgreSQL: what `--dsn` reads, and `serve` from start to end.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output};

use pgwarden_tests::patience::until;
use pgwarden_tests::server::{Server, free_address};
use tempfile::TempDir;

const SECRET: &str = "a secret of the tests, long enough for HMAC";

struct Place {
    server: Server,
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self {
            server: Server::start(),
            folder: tempfile::tempdir().unwrap(),
        };
        place.sql("CREATE TABLE leads (id bigint PRIMARY KEY, org_id uuid, name text)");
        place.sql("CREATE TABLE plans (id int)");
        place
    }

    fn dsn(&self) -> String {
        format!("postgres://postgres@{}/postgres", self.server.address())
    }

    fn sql(&self, sql: &str) {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let connected = tokio_postgres::connect(&self.dsn(), tokio_postgres::NoTls).await;
            let (client, connection) = connected.unwrap();
            let connection = tokio::spawn(connection);
            client.batch_execute(sql).await.unwrap();
            drop(client);
            connection.await.unwrap().unwrap();
        });
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.args(arguments).current_dir(self.folder.path());
        command.env("JWT_SECRET", SECRET);
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str], status: i32) -> String {
        let Output {
            status: found,
            stdout,
            stderr,
        } = self.command(arguments).output().unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr),
        );
        assert_eq!(found.code(), Some(status), "\n{out}\n{err}");
        out.into_owned()
    }
}

#[test]
fn a_policy_is_compared_with_the_database() {
    let place = Place::new();
    place.write(
        "policy.toml",
        "version = 1\n[[table]]\nname = \"public.plans\"\nscope = \"global\"\n",
    );
    let shown = place.run(&["policy", "check", "--dsn", &place.dsn()], 0);
    assert!(
        shown.starts_with("policy.toml is valid and fits the database"),
        "{shown}"
    );
}

#[test]
fn a_policy_that_does_not_fit_is_shown_with_its_lines() {
    let place = Place::new();
    place.sql("CREATE TABLE \"Mixed\" (id int)");
    place.write(
        "policy.toml",
        "version = 1\n[[table]]\nname = \"public.lead\"\ncolumn = \"id\"\n\
         [[table]]\nname = \"public.leads\"\ncolumn = \"org\"\n\
         [[table]]\nname = \"public.plans\"\nmissing_filter = \"reject\"\n\
         [[table]]\nname = \"public.Mixed\"\n",
    );
    let shown = place.run(&["policy", "check", "--dsn", &place.dsn()], 1);
    for (line, name) in [(3, "public.lead"), (6, "public.leads"), (9, "public.plans")] {
        assert!(
            shown.contains(&format!("policy.toml:{line}:8: ")),
            "{shown}"
        );
        assert!(
            shown.contains(&format!("{line} | name = \"{name}\"\n")),
            "{shown}"
        );
    }
    for meant in ["\"public.leads\"?", "'public.\"Mixed\"', with its quotes?"] {
        let meant = format!("did you mean {meant}");
        assert!(shown.contains(&meant), "{shown}");
    }
}

#[test]
fn a_snapshot_says_the_same_as_the_database() {
    let place = Place::new();
    place.write("policy.toml", "version = 1\n");
    let snapshot = place.run(&["catalog", "--dsn", &place.dsn()], 0);
    assert!(snapshot.starts_with("{\n  \"format\": \"pgwarden catalog\",\n  \"version\": 2,\n"));
    assert_eq!(snapshot, place.run(&["catalog", "--dsn", &place.dsn()], 0));
    place.write("catalog.json", &snapshot);
    let claims = r#"{"app_metadata":{"org_id":"a0000000-0000-0000-0000-000000000001"}}"#;
    let dsn = place.dsn();
    for sql in [
        "SELECT name FROM leads",
        "SELECT * FROM plans",
        "SELECT * FROM nothing",
    ] {
        let ask = ["explain", "--claims", claims, sql];
        let live = place.run(&[&ask[..], &["--dsn", &dsn]].concat(), 0);
        let offline = place.run(&[&ask[..], &["--catalog", "catalog.json"]].concat(), 0);
        assert_eq!(live, offline);
    }
}

/// A running `pgwarden serve`, killed if a test fails.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Serving {
    fn signal(&self, name: &str) {
        // The shell's own kill: a small system has no other.
        let command = format!("kill {name} {}", self.0.id());
        let sent = Command::new("sh").args(["-c", &command]).status().unwrap();
        assert!(sent.success());
    }
}

#[test]
fn serve_runs_until_it_is_told_to_end() {
    let place = Place::new();
    let (clients, admin) = (free_address(), free_address());
    write_settings(&place, clients, admin);
    place.write("policy.toml", "version = 1\n");
    let mut serving = Serving(place.command(&["serve"]).spawn().unwrap());
    until("readiness", || get(admin, "/readyz").contains("200 OK"));
    assert!(TcpStream::connect(clients).is_ok());

    // A bad file keeps the old policy.
    let reloads = |outcome: &str, count: u32| {
        let line = format!("pgwarden_policy_reloads_total{{outcome=\"{outcome}\"}} {count}\n");
        get(admin, "/metrics").contains(&line)
    };
    place.write("policy.toml", "version = 2\n");
    serving.signal("-HUP");
    until("the refusal of the bad policy", || reloads("failed", 1));
    place.write("policy.toml", "version = 1\nmode = \"enforce\"\n");
    serving.signal("-HUP");
    until("the good policy", || reloads("ok", 1));
    assert!(get(admin, "/readyz").contains("200 OK"));

    serving.signal("-TERM");
    let ended = serving.0.wait().unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn serve_ends_with_3_when_the_database_is_not_there() {
    let place = Place::new();
    write_settings(&place, free_address(), free_address());
    place.write("policy.toml", "version = 1\n");
    let command = place
        .command(&["serve"])
        .env("PGWARDEN_DATABASES__APP__URL", "postgres://u@127.0.0.1:1/x")
        .output();
    assert_eq!(command.unwrap().status.code(), Some(3));
}

fn write_settings(place: &Place, clients: SocketAddr, admin: SocketAddr) {
    let url = place.dsn();
    place.write(
        "warden.toml",
        &format!(
            "[[listen]]\naddress = \"{clients}\"\n[admin]\naddress = \"{admin}\"\n\
             [databases.app]\nurl = \"{url}\"\n\
             [[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"JWT_SECRET\"\n"
        ),
    );
}

/// The whole answer, or nothing when nobody answers.
fn get(address: SocketAddr, path: &str) -> String {
    let mut answer = String::new();
    if let Ok(mut stream) = TcpStream::connect(address) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = stream.write_all(request.as_bytes());
        let _ = stream.read_to_string(&mut answer);
    }
    answer
}
