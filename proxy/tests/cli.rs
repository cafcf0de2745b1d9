//! The command line as people and scripts meet it: output, errors and exit status of the binary.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing
)]

use std::path::Path;

use place::{ORG, Place};

mod place;

#[test]
fn version_and_help_are_fine() {
    let place = Place::new();
    let version = place.run(&["version"]).with_status(0);
    assert_eq!(
        version.out,
        format!("pgwarden {}\n", env!("CARGO_PKG_VERSION"))
    );
    assert!(
        place
            .run(&["--help"])
            .with_status(0)
            .out
            .contains("Exit status")
    );
}

#[test]
fn wrong_usage_is_2() {
    let place = Place::new();
    let wrong: [&[&str]; 6] = [
        &[],
        &["bogus"],
        &["explain"],
        &["explain", "SELECT 1"],
        &["token", "mint"],
        &["serve", "--config", "nowhere.toml"],
    ];
    for arguments in wrong {
        let ran = place.run(arguments).with_status(2);
        assert!(ran.out.is_empty(), "{arguments:?}");
        assert!(!ran.err.is_empty(), "{arguments:?}");
    }
}

#[test]
fn serve_shows_the_problems_of_its_files() {
    let place = Place::new();
    place.write("warden.toml", "[auth.jwks]\nfile = \"keys.json\"\n");
    let ran = place.run(&["serve"]).with_status(2);
    assert!(
        ran.err.contains("\"jwks\" is not supported yet"),
        "{}",
        ran.err
    );
    assert!(ran.err.contains("there is no [[listen]]"), "{}", ran.err);
}

#[test]
fn a_database_that_is_not_there_is_3() {
    let place = Place::new();
    let dsn = "postgres://nobody:hunter2@127.0.0.1:1/nothing";
    for command in [&["policy", "check"][..], &["catalog"]] {
        let ran = place
            .run(&[command, &["--dsn", dsn]].concat())
            .with_status(3);
        assert!(ran.err.contains("127.0.0.1:1/nothing"), "{}", ran.err);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
    let ran = place
        .run(&["catalog", "--dsn", "postgres://u:hunter2@h,i/x?service=y"])
        .with_status(2);
    assert!(
        ran.err
            .contains("parameter \"service\" is not supported yet"),
        "{}",
        ran.err
    );
    assert!(!ran.err.contains("hunter2"), "{}", ran.err);
}

#[test]
fn a_file_that_is_no_snapshot_is_2() {
    let place = Place::new();
    place.write(
        "catalog.json",
        r#"{"format": "pgwarden catalog", "version": 99}"#,
    );
    let ran = place.explain("SELECT 1", &[]).with_status(2);
    assert!(
        ran.err
            .starts_with("catalog.json is a catalogue snapshot of version 99"),
        "{}",
        ran.err
    );
}

#[test]
fn policy_check_tells_a_good_policy_from_a_bad_one() {
    let place = Place::new();
    let ran = place.run(&["policy", "check"]).with_status(0);
    assert!(
        ran.out.starts_with("policy.toml is valid (revision "),
        "{}",
        ran.out
    );
    place.write("bad.toml", "version = 1\nmod = \"enforce\"\n");
    let ran = place
        .run(&["policy", "check", "--policy", "bad.toml"])
        .with_status(1);
    assert!(
        ran.out.starts_with("bad.toml:2:1: unknown key \"mod\"\n"),
        "{}",
        ran.out
    );
    assert_eq!(ran.err, "1 problem in the policy\n");
    place
        .run(&["policy", "check", "--policy", "nowhere.toml"])
        .with_status(2);
}

#[test]
fn the_samples_are_valid() {
    let place = Place::new();
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/samples");
    let policy = samples.join("policy.toml");
    place
        .run(&["policy", "check", "--policy", policy.to_str().unwrap()])
        .with_status(0);
}

#[test]
fn explain_shows_why_a_statement_is_denied() {
    let place = Place::new();
    let ran = place.explain("CREATE TABLE x ()", &[]).with_status(0);
    assert!(ran.out.contains("verdict:     deny\n"), "{}", ran.out);
    assert!(ran.out.contains("sqlstate:    0A000\n"), "{}", ran.out);
    let json = place
        .explain("CREATE TABLE x ()", &["--format", "json"])
        .with_status(0)
        .json();
    assert_eq!(json["verdict"], "deny");
    assert_eq!(json["reason"], "unsupported_statement");
}

#[test]
fn explain_says_when_the_claims_give_no_session() {
    let place = Place::new();
    let arguments = [
        "explain",
        "--catalog",
        "catalog.json",
        "--format",
        "json",
        "--claims",
    ];
    let ran = place
        .run(&[&arguments[..], &["{}", "SELECT 1"]].concat())
        .with_status(0);
    assert_eq!(ran.json()["reason"], "tenant_missing");
    let wrong = place
        .run(&[&arguments[..], &["[]", "SELECT 1"]].concat())
        .with_status(2);
    assert!(
        wrong.err.contains("the claims are not a JSON object"),
        "{}",
        wrong.err
    );
}

#[test]
fn a_minted_token_is_good_and_an_altered_one_is_not() {
    let place = Place::new();
    let mint = [
        "token",
        "mint",
        "--secret-env",
        "JWT_SECRET",
        "--org",
        ORG,
        "--role",
        "agent",
    ];
    let token = place.run(&mint).with_status(0).out;
    let inspect = ["token", "inspect", "--secret-env", "JWT_SECRET"];
    let ran = place.run_with(&inspect, &token).with_status(0);
    assert!(ran.out.contains(ORG), "{}", ran.out);
    assert!(
        ran.out.contains("verified: yes, signature and claims\n"),
        "{}",
        ran.out
    );

    // Swaps a character in the middle of the signature.
    let mut altered = token.trim().to_owned();
    let last = altered.split_off(altered.len() - 20);
    altered.push(if last.starts_with('A') { 'B' } else { 'A' });
    altered.push_str(&last[1..]);
    let ran = place.run_with(&inspect, &altered).with_status(1);
    assert!(
        ran.out
            .contains("verified: no, the token's signature is wrong\n"),
        "{}",
        ran.out
    );
}

#[test]
fn a_token_that_was_not_verified_is_not_called_good() {
    let place = Place::new();
    let token = place
        .run(&["token", "mint", "--secret-env", "JWT_SECRET"])
        .with_status(0)
        .out;
    let ran = place
        .run(&["token", "inspect", token.trim()])
        .with_status(0);
    assert!(
        ran.out.contains("verified: no, because no key was given"),
        "{}",
        ran.out
    );
    for wrong in ["", "a.b", "a.b.c.d", "!.!.!"] {
        place.run_with(&["token", "inspect"], wrong).with_status(2);
    }
}

#[test]
fn inspect_verifies_with_the_configured_keys() {
    let place = Place::new();
    place.write(
        "warden.toml",
        r#"
[[listen]]
address = "127.0.0.1:6432"
[databases.app]
url = "postgres://u@h/app"
[auth]
issuer = "https://id.example"
[[auth.key]]
algorithm = "HS256"
secret_env = "JWT_SECRET"
"#,
    );
    let mint = ["token", "mint", "--secret-env", "JWT_SECRET"];
    let inspect = ["token", "inspect", "--config", "warden.toml"];
    let token = place
        .run(&[&mint[..], &["--iss", "https://id.example"]].concat())
        .out;
    place.run_with(&inspect, &token).with_status(0);
    let token = place.run(&mint).out;
    let ran = place.run_with(&inspect, &token).with_status(1);
    assert!(
        ran.out
            .contains("verified: no, the token's iss is not auth.issuer"),
        "{}",
        ran.out
    );
}

#[test]
fn claims_of_the_command_line_win_over_the_json() {
    let place = Place::new();
    let mint = [
        "token",
        "mint",
        "--secret-env",
        "JWT_SECRET",
        "--org",
        ORG,
        "--sub",
        "u",
        "--expires-in",
        "5m",
        "--claims",
        r#"{"sub":"x","app_metadata":{"plan":"pro"}}"#,
    ];
    let token = place.run(&mint).with_status(0).out;
    let ran = place.run_with(&["token", "inspect"], &token).with_status(0);
    for part in [
        "\"plan\": \"pro\"",
        &format!("\"org_id\": \"{ORG}\""),
        "\"sub\": \"u\"",
    ] {
        assert!(ran.out.contains(part), "{}", ran.out);
    }
    let wrong = [&mint[..], &["--org-claim", "sub.org"]].concat();
    place.run(&wrong).with_status(2);
}

#[test]
fn weak_and_wrong_keys_are_refused() {
    let place = Place::new();
    let pem = place.write(
        "public.pem",
        "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n",
    );
    let pem = pem.to_str().unwrap();
    let wrong: [&[&str]; 5] = [
        &["--secret-env", "SHORT_SECRET"],
        &["--secret-env", "NOT_SET"],
        &["--secret-env", "JWT_SECRET", "--algorithm", "RS256"],
        &["--private-key-file", pem],
        &["--private-key-file", pem, "--algorithm", "ES256"],
    ];
    for arguments in wrong {
        let ran = place
            .run(&[&["token", "mint"], arguments].concat())
            .with_status(2);
        assert!(!ran.err.contains("hunter2"), "{}", ran.err);
    }
}
