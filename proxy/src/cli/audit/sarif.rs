//! The findings of `audit` as SARIF 2.1.0. What is found in the database has its name for a place.

use pgwarden_schema::audit::{Finding, Report};
use serde_json::{Value, json};

use crate::cli::sarif::{self, Rule};

/// The list of the pages, with each lint's level and what it means.
const INDEX: &str = include_str!("../../../../docs/lints/README.md");

pub(super) fn render(report: &Report) -> Value {
    let rules = rules();
    let findings = report.findings.iter();
    let results: Vec<Value> = findings.map(|it| result(it, &rules)).collect();
    sarif::log(&rules, &results)
}

fn rules() -> Vec<Rule> {
    let rows = sarif::rows(INDEX).filter_map(|(id, cells)| {
        let (level, what) = cells.split_once(" | ")?;
        Some(Rule {
            id,
            what,
            level,
            page: format!("lints/{id}"),
        })
    });
    rows.collect()
}

fn result(finding: &Finding, rules: &[Rule]) -> Value {
    let fix = finding.fix.as_ref();
    let fix = fix.map_or_else(String::new, |sql| format!("\n\nFix:\n{sql}"));
    let text = format!("{}: {}{fix}", finding.object, finding.why);
    let location = match &finding.place {
        Some(place) => json!({"physicalLocation": {
            "artifactLocation": {"uri": sarif::uri(&place.file)},
            "region": {"startLine": place.line},
        }}),
        None => json!({"logicalLocations": [{"fullyQualifiedName": finding.object}]}),
    };
    let level = finding.level.name();
    let mut result = sarif::result(rules, finding.code, level, &text, &location);
    if let Some(object) = result.as_object_mut() {
        object.insert(
            "partialFingerprints".to_owned(),
            json!({"pgwardenKey/v1": finding.key}),
        );
        if let Some(it) = &finding.suppressed {
            let why = format!("{} ({})", it.reason, it.date);
            let accepted = json!([{"kind": "external", "justification": why}]);
            object.insert("suppressions".to_owned(), accepted);
        }
    }
    result
}
