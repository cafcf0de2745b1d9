//! The audit file of a proxy. Its writer is a little behind what clients are told.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::patience::until_some;

/// The lines that are there. The last one may be half written: it is none yet.
pub fn audit_lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).expect("the proxy has made it");
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    let lines = whole.lines().map(serde_json::from_str);
    lines.map(|line| line.expect("a line is JSON")).collect()
}

/// The lines, as soon as they hold what was done.
#[track_caller]
pub fn audit_with(file: &Path, holds: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    until_some("the audit's lines", || {
        Some(audit_lines(file)).filter(|lines| holds(lines))
    })
}

/// How many of them tell of this.
pub fn count(lines: &[Value], event: &str) -> usize {
    lines.iter().filter(|line| line["event"] == event).count()
}
