//! The findings of `check` as SARIF 2.1.0, which code hosts show beside the lines. Every finding is
//! an error: the proxy would refuse the statement, or nobody judged it.

use serde_json::{Value, json};

use super::Explanation;
use super::report::{Entry, NOT_SQL, Outcome, Report};

/// Where this repository's pages are published. A fork with a home of its own changes this line.
const PAGES: &str = "https://github.com/pgwarden/pgwarden/blob/main/docs/deny";

/// The list of the pages, with what each reason means.
const INDEX: &str = include_str!("../../../../docs/deny/README.md");

pub(super) fn render(report: &Report) -> Value {
    let rules: Vec<(&str, &str)> = rules().collect();
    let results = report.statements.iter();
    let results: Vec<Value> = results.filter_map(|it| result(it, &rules)).collect();
    let described: Vec<Value> = rules.iter().map(|(id, what)| rule(id, what)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "pgwarden",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": described,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// The reasons and what they mean, as the index lists them.
fn rules() -> impl Iterator<Item = (&'static str, &'static str)> {
    let rows = INDEX.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("| [")?.split_once(']')?;
        let (_, what) = rest.split_once(" | ")?;
        Some((id, what.trim_end_matches(" |")))
    });
    rows.chain([(NOT_SQL, "A command of psql, which nobody judged.")])
}

fn rule(id: &str, what: &str) -> Value {
    let page = if id == NOT_SQL { "README" } else { id };
    json!({
        "id": id,
        "shortDescription": {"text": what},
        "helpUri": format!("{PAGES}/{page}.md"),
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(entry: &Entry, rules: &[(&str, &str)]) -> Option<Value> {
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
    let mut result = json!({
        "ruleId": id,
        "level": "error",
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(&entry.file)},
            "region": {
                "startLine": place.at_line,
                "startColumn": place.at_column,
                "endLine": place.end_line,
                "endColumn": place.end_column,
            },
        }}],
    });
    let index = rules.iter().position(|(known, _)| *known == id);
    if let (Some(index), Some(object)) = (index, result.as_object_mut()) {
        object.insert("ruleIndex".to_owned(), json!(index));
    }
    Some(result)
}

/// A path as a relative URI.
fn uri(path: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encode = |byte: u8| match kept(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}
