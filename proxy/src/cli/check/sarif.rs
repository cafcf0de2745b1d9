//! The findings of `check` as SARIF 2.1.0. Every finding is an error: the proxy would refuse the
//! statement, or nobody judged it.

use serde_json::{Value, json};

use super::Explanation;
use super::report::{Entry, NOT_SQL, Outcome, Report};
use crate::cli::sarif::{self, Rule};

/// The list of the pages, with what each reason means.
const INDEX: &str = include_str!("../../../../docs/deny/README.md");

pub(super) fn render(report: &Report) -> Value {
    let rules = rules();
    let results = report.statements.iter();
    let results: Vec<Value> = results.filter_map(|it| result(it, &rules)).collect();
    sarif::log(&rules, &results)
}

/// The reasons and what they mean, as the index lists them.
fn rules() -> Vec<Rule> {
    let mut rules: Vec<Rule> = sarif::rows(INDEX)
        .map(|(id, cells)| Rule {
            id,
            what: cells,
            level: "error",
            page: format!("deny/{id}"),
        })
        .collect();
    rules.push(Rule {
        id: NOT_SQL,
        what: "A command of psql, which nobody judged.",
        level: "error",
        page: "deny/README".to_owned(),
    });
    rules
}

fn result(entry: &Entry, rules: &[Rule]) -> Option<Value> {
    let (id, message, hint) = match &entry.outcome {
        Outcome::NotSql(it) => (NOT_SQL, it.message.as_str(), Some(it.hint)),
        Outcome::Judged(answer) => match answer.as_ref() {
            Explanation::Cleared(_) => return None,
            Explanation::Denied(it) => (it.reason, it.message.as_str(), it.hint.as_deref()),
        },
    };
    let message = message.trim_start_matches("pgwarden: ");
    let text = hint.map_or_else(|| message.to_owned(), |hint| format!("{message}. {hint}"));
    let place = &entry.place;
    let location = json!({"physicalLocation": {
        "artifactLocation": {"uri": sarif::uri(&entry.file)},
        "region": {
            "startLine": place.at_line,
            "startColumn": place.at_column,
            "endLine": place.end_line,
            "endColumn": place.end_column,
        },
    }});
    Some(sarif::result(rules, id, "error", &text, &location))
}
