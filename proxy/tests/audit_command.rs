//! `pgwarden audit` from outside: its forms, its exit status, and accepted findings.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

use std::path::Path;
use std::process::Command;

use pgwarden_tests::server::Server;
use serde_json::Value;

mod sarif;

const SCHEMA: &str = "
    CREATE TABLE organizations (id uuid PRIMARY KEY);
    CREATE TABLE leads (id uuid PRIMARY KEY, org_id uuid NOT NULL REFERENCES organizations ON DELETE CASCADE);
    CREATE INDEX ON leads (org_id)";

async fn prepare(dsn: &str) {
    let connected = tokio_postgres::connect(dsn, tokio_postgres::NoTls).await;
    let (client, connection) = connected.unwrap();
    tokio::spawn(connection);
    client.batch_execute(SCHEMA).await.unwrap();
}

#[track_caller]
fn audit(folder: &Path, arguments: &[&str], status: i32) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
    command.arg("audit").args(arguments).current_dir(folder);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "\n{text}\n{errors}");
    format!("{text}{errors}")
}

#[test]
fn findings_are_shown_in_every_form() {
    let server = Server::start();
    let dsn = format!("postgres://postgres@{}/postgres", server.address());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(prepare(&dsn));
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();

    let text = audit(folder, &["--dsn", &dsn], 1);
    assert!(text.starts_with("note: no policy was given"), "{text}");
    assert!(text.contains("\nerror: rls_disabled (docs/lints/rls_disabled.md)\n  public.leads\n"));
    assert!(text.contains("    | ALTER TABLE public.leads FORCE ROW LEVEL SECURITY;\n"));
    assert!(
        text.contains("\nwarning  immutability_trigger_missing     1\n"),
        "{text}"
    );
    assert!(
        text.ends_with("1 of 2 tables are scoped: 1 errors, 1 warnings, 0 notes\n"),
        "{text}"
    );

    std::fs::write(
        folder.join("app.sql"),
        "SELECT 1;\nSELECT status FROM organizations;\n",
    )
    .unwrap();
    let json = audit(
        folder,
        &["--dsn", &dsn, "--sql", "app.sql", "--format", "json"],
        1,
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["findings"][0]["key"], "rls_disabled:public.leads");
    assert_eq!(json["findings"][1]["place"]["file"], "app.sql");
    assert_eq!(json["findings"][1]["place"]["line"], 2);

    let sarif = audit(folder, &["--dsn", &dsn, "--format", "sarif"], 1);
    let sarif: Value = serde_json::from_str(&sarif).unwrap();
    sarif::assert_valid(&sarif);
    let run = &sarif["runs"][0];
    let result = &run["results"][0];
    let rule = &run["tool"]["driver"]["rules"]
        [usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
    assert_eq!(rule["id"], "rls_disabled");
    assert_eq!(rule["defaultConfiguration"]["level"], "error");
    assert_eq!(
        result["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
        "public.leads"
    );

    let accepted = |key: &str| {
        format!("[[suppress]]\nkey = \"{key}\"\nreason = \"known\"\ndate = 2026-11-21\n")
    };
    let all = [
        "rls_disabled:public.leads",
        "immutability_trigger_missing:public.leads.org_id",
    ];
    std::fs::write(folder.join("accepted.toml"), all.map(accepted).concat()).unwrap();
    let text = audit(
        folder,
        &["--dsn", &dsn, "--suppressions", "accepted.toml"],
        0,
    );
    assert!(
        text.ends_with("0 errors, 0 warnings, 0 notes, 2 accepted\n"),
        "{text}"
    );
    let accepted = ["--suppressions", "accepted.toml", "--sql", "app.sql"];
    let arguments = [&["--dsn", &dsn, "--format", "sarif"], &accepted[..]].concat();
    let log: Value = serde_json::from_str(&audit(folder, &arguments, 1)).unwrap();
    sarif::assert_valid(&log);
    let results = log["runs"][0]["results"].as_array().unwrap();
    assert!(results.iter().any(|it| it["suppressions"].is_array()));
    let place = |it: &Value| it["locations"][0]["physicalLocation"]["region"]["startLine"] == 2;
    assert!(results.iter().any(place));

    std::fs::write(
        folder.join("accepted.toml"),
        "[[suppress]]\nkey = \"x\"\ndate = \"soon\"\n",
    )
    .unwrap();
    let text = audit(
        folder,
        &["--dsn", &dsn, "--suppressions", "accepted.toml"],
        2,
    );
    assert!(
        text.contains("reason") && text.contains("expected a day"),
        "{text}"
    );
    audit(folder, &["--dsn", "postgres://nobody@127.0.0.1:1/none"], 3);
}
