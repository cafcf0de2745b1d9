//! What the process says in its log when the database loses a guarantee: once, with the SQL that
//! mends it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::patience::patience;
use pgwarden_tests::server::{Server, free_address};
use serde_json::Value;

const GUARDED: &str = "
    CREATE TABLE leads (id int, org_id uuid NOT NULL);
    ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenant ON leads USING (org_id = (SELECT nullif(nullif(current_setting(
        'request.jwt.claims', true), '')::jsonb #>> '{app_metadata,org_id}', '')::uuid))";

/// The process, ended with the test.
struct Served(Child, Receiver<Value>);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Served {
    fn start(server: &Server, folder: &std::path::Path) -> Self {
        let text = format!(
            "[[listen]]\naddress = \"{}\"\n[databases.app]\n\
             url = \"postgres://postgres@{}/postgres?sslmode=disable\"\ncatalog_interval = \"100ms\"\n\
             [[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"JWT_SECRET\"\n\
             [policy]\nfile = \"policy.toml\"\n[log]\nformat = \"json\"\n",
            free_address(),
            server.address()
        );
        std::fs::write(folder.join("warden.toml"), text).unwrap();
        std::fs::write(folder.join("policy.toml"), "version = 1\n").unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
            .args(["serve", "--config", "warden.toml"])
            .current_dir(folder)
            .env("JWT_SECRET", "a secret of the tests, long enough for HMAC")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Ok(line) = serde_json::from_str(&line) {
                    let _ = lines.send(line);
                }
            }
        });
        Self(child, log)
    }

    /// The log's lines until one with this message, without it.
    fn until(&self, message: &str) -> Vec<Value> {
        let mut before = Vec::new();
        loop {
            let line: Value = self.1.recv_timeout(patience()).unwrap();
            if line["message"] == message {
                return before;
            }
            before.push(line);
        }
    }
}

#[test]
fn a_lost_guarantee_is_told_once_with_the_sql_that_mends_it() {
    let server = Server::start();
    let mut owner = superuser(server.address(), "postgres");
    script(&mut owner, GUARDED);
    let folder = tempfile::tempdir().unwrap();
    let served = Served::start(&server, folder.path());
    served.until("listening");
    script(&mut owner, "ALTER TABLE leads DISABLE ROW LEVEL SECURITY");
    served.until("the catalogue has changed");
    // A change of something else does not tell it again.
    script(&mut owner, "CREATE TABLE places (id int)");
    let told = served.until("the catalogue has changed");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["level"], "WARN");
    assert_eq!(told[0]["code"], "rls_disabled");
    assert_eq!(told[0]["object"], "public.leads");
    let fix = told[0]["fix"].as_str().unwrap();
    assert!(!fix.contains('\n'), "{fix}");
    script(&mut owner, fix);
    let before = served.until("mended");
    assert!(before.iter().all(|it| it["level"] == "INFO"), "{before:?}");
    // Nor is a policy without a wall overlooked.
    script(&mut owner, "ALTER POLICY tenant ON leads USING (true)");
    let line = served.1.recv_timeout(patience()).unwrap();
    assert_eq!(line["code"], "policy_always_true");
    script(&mut owner, line["fix"].as_str().unwrap());
    served.until("mended");
}
