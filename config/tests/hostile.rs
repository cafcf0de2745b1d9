//! Whatever a file holds, reading it ends with a value or with problems that can be shown.
#![allow(missing_docs, clippy::unwrap_used)]

use std::path::Path;

use pgwarden_config::{Environment, File, Problems, read_policy, read_settings};

fn read_both(text: &str) {
    let file = File::new("x.toml", text);
    let shown = |problems: Problems| {
        assert!(!problems.0.is_empty());
        problems.to_string()
    };
    let _ = read_policy(&file).map(drop).map_err(shown);
    let settings = read_settings(&file, Path::new("/nowhere"), &Environment::default());
    let _ = settings.map(drop).map_err(shown);
}

#[test]
fn beginnings_of_the_samples_can_be_read() {
    for sample in [
        include_str!("contract/warden.toml"),
        include_str!("contract/policy.toml"),
    ] {
        for (at, _) in sample.char_indices().step_by(7) {
            read_both(sample.get(..at).unwrap());
        }
    }
}

#[test]
fn every_line_of_the_samples_can_be_damaged() {
    for sample in [
        include_str!("contract/warden.toml"),
        include_str!("contract/policy.toml"),
    ] {
        let lines: Vec<&str> = sample.lines().collect();
        for damage in [
            "",
            "=",
            "[",
            "]]",
            "\"",
            "'''",
            "{ x = [",
            "é\u{1b}\0",
            "a.b.c = 1",
            "\t\r",
        ] {
            for at in 0..lines.len() {
                let mut damaged = lines.clone();
                damaged.splice(at..=at, [damage]);
                read_both(&damaged.join("\n"));
            }
        }
    }
}

#[test]
fn deep_nesting_does_not_exhaust_the_stack() {
    read_both(&format!("a = {}", "[".repeat(100_000)));
    read_both(&format!("a = {}", "{ a = ".repeat(100_000)));
    read_both(&format!("a{} = 1", ".a".repeat(100_000)));
    read_both(&format!("[a{}]", ".a".repeat(100_000)));
}
