//! SARIF logs by the standard's own JSON schema, which `make setup` puts into `target/node`.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

/// Where `scripts/setup.sh` puts what Node's scripts need.
fn node_modules() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR");
    let target = target.map_or_else(|| root.join("target"), PathBuf::from);
    target.join("node/node_modules")
}

/// What the schema has against a log; nothing if it is valid.
fn faults(log: &Value) -> String {
    let modules = node_modules();
    assert!(
        modules.join("@microsoft/jest-sarif").exists(),
        "{} lacks the schema: run `make setup` (scripts/setup.sh) first",
        modules.display()
    );
    let mut child = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sarif/validate.js"))
        .env("NODE_MODULES", modules.canonicalize().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = log.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.success(), said.is_empty(), "{said}");
    said
}

/// Fails unless the log is valid, and unless the same with a fault is not.
#[track_caller]
pub fn assert_valid(log: &Value) {
    assert_eq!(faults(log), "");
    let mut broken = log.clone();
    broken["runs"][0]["tool"]["driver"]["rules"][0]["defaultConfiguration"]["level"] =
        json!("fatal");
    assert!(!faults(&broken).is_empty());
    let mut broken = log.clone();
    broken["runs"][0]["results"] = json!([{"ruleId": "x"}]);
    assert!(!faults(&broken).is_empty());
}
