//! `pgwarden policy test`: the policy's own `[[test]]` cases.

use std::fmt::Write;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pgwarden_policy::Engine;
use pgwarden_policy::rules::{Expect, PolicyTest};
use serde::Serialize;

use super::explain::Explanation;
use super::input::{self, CatalogSource};
use super::question::{self, Asker};
use super::{Failure, output};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The policy
    #[arg(long, value_name = "FILE", default_value = "policy.toml")]
    policy: PathBuf,
    #[command(flatten)]
    catalog: CatalogSource,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

/// What came of a case.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    name: &'a str,
    line: usize,
    /// The client's text; `sql` is what would be sent for it.
    statement: &'a str,
    expected: &'static str,
    ok: bool,
    #[serde(flatten)]
    answer: Explanation,
}

#[derive(Debug, Serialize)]
struct Report<'a> {
    policy: &'a str,
    passed: usize,
    failed: usize,
    tests: Vec<Outcome<'a>>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let loaded = input::policy(&arguments.policy)?;
    let engine = input::engine(&loaded, arguments.catalog.read(&arguments.policy)?)?;
    let tests = loaded.policy.tests.iter().map(|test| judge(&engine, test));
    let tests = tests.collect::<Result<Vec<_>, Failure>>()?;
    let passed = tests.iter().filter(|test| test.ok).count();
    let report = Report {
        policy: &loaded.policy.revision,
        passed,
        failed: tests.len() - passed,
        tests,
    };
    match arguments.format {
        Format::Text => output::write(&text(&report, loaded.source.name()))?,
        Format::Json => output::write_json(&report)?,
    }
    if report.failed > 0 {
        return Err(Failure::Findings);
    }
    Ok(())
}

fn judge<'a>(engine: &Engine, test: &'a PolicyTest) -> Result<Outcome<'a>, Failure> {
    let claims = question::claims(&test.claims)?;
    let mut asker = Asker::new(engine, &claims, &["public".to_owned()]);
    let answer = asker.ask(&test.sql, question::protocol_of(&test.sql));
    let expected = match test.expect {
        Expect::Pass => "pass",
        Expect::Rewrite => "rewrite",
        Expect::Deny => "deny",
    };
    Ok(Outcome {
        name: &test.name,
        line: test.line,
        statement: &test.sql,
        expected,
        ok: answer.verdict() == expected,
        answer,
    })
}

fn text(report: &Report<'_>, file: &str) -> String {
    let mut text = String::new();
    for test in &report.tests {
        let outcome = if test.ok { "ok" } else { "FAILED" };
        // Writing to a String can't fail.
        let _ = writeln!(text, "{outcome:<7} {}", test.name);
    }
    for test in report.tests.iter().filter(|test| !test.ok) {
        let _ = writeln!(text, "\n{file}:{}: {}", test.line, test.name);
        labelled(&mut text, "statement", test.statement);
        labelled(&mut text, "expected", test.expected);
        labelled(&mut text, "got", &test.answer.outcome());
        for why in test.answer.why() {
            labelled(&mut text, "because", &why);
        }
    }
    if report.failed > 0 {
        text.push('\n');
    }
    let _ = writeln!(text, "{} passed, {} failed", report.passed, report.failed);
    text
}

/// A value behind its label, its further lines and what does not fit below it.
fn labelled(text: &mut String, label: &str, value: &str) {
    const COLUMN: usize = 14;
    let mut wrapped = String::new();
    output::wrap(&mut wrapped, COLUMN, value);
    let label = format!("    {label}");
    let _ = write!(text, "{label:<COLUMN$}{}", wrapped.trim_start());
}
