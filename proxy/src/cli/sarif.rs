//! SARIF 2.1.0, which code hosts show beside the lines: what the commands that find something have
//! in common.

use serde_json::{Value, json};

/// Where this repository's pages are published. A fork with a home of its own changes this line.
const PAGES: &str = "https://github.com/pgwarden/pgwarden/blob/main/docs";

/// A kind of finding.
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) what: &'static str,
    /// SARIF's word: error, warning or note.
    pub(super) level: &'static str,
    /// The page under `docs/`, without `.md`.
    pub(super) page: String,
}

/// The rows of an index of pages: the code, and what stands behind it.
pub(super) fn rows(index: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    index.lines().filter_map(|line| {
        let (id, rest) = line.strip_prefix("| [")?.split_once(']')?;
        let (_, cells) = rest.split_once(" | ")?;
        Some((id, cells.trim_end_matches(" |")))
    })
}

/// The whole document.
pub(super) fn log(rules: &[Rule], results: &[Value]) -> Value {
    let rules: Vec<Value> = rules.iter().map(described).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "pgwarden",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn described(rule: &Rule) -> Value {
    json!({
        "id": rule.id,
        "shortDescription": {"text": rule.what},
        "helpUri": format!("{PAGES}/{}.md", rule.page),
        "defaultConfiguration": {"level": rule.level},
    })
}

/// One finding.
pub(super) fn result(rules: &[Rule], id: &str, level: &str, text: &str, location: &Value) -> Value {
    let mut result = json!({
        "ruleId": id,
        "level": level,
        "message": {"text": text},
        "locations": [location],
    });
    let index = rules.iter().position(|rule| rule.id == id);
    if let (Some(index), Some(object)) = (index, result.as_object_mut()) {
        object.insert("ruleIndex".to_owned(), json!(index));
    }
    result
}

/// A path as a relative URI.
pub(super) fn uri(path: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte);
    let encode = |byte: u8| match kept(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    path.bytes().map(encode).collect()
}
