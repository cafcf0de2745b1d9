//! The answer of `explain` for people.

use std::fmt::Write;

use super::{Cleared, Denied, Explanation};

/// The width of the labels.
const LABEL: usize = 11;

pub(super) fn render(explanation: &Explanation, sql: &str) -> String {
    let mut text = String::new();
    match explanation {
        Explanation::Cleared(it) => cleared(&mut text, it),
        Explanation::Denied(it) => denied(&mut text, it, sql),
    }
    text
}

fn cleared(text: &mut String, it: &Cleared) {
    line(text, "verdict", it.verdict);
    line(text, "kind", it.kind);
    for table in &it.tables {
        line(text, "table", &table.to_string());
    }
    line(text, "sql", it.sql.trim_end());
    for hidden in &it.hidden_parameters {
        let what = format!(
            "${} is {} ({})",
            hidden.parameter, hidden.claim, hidden.r#type
        );
        line(text, "hidden", &what);
    }
    for check in &it.checks {
        line(text, "check", &check.to_string());
    }
    for check in &it.text_checks {
        line(text, "check", check);
    }
    for effect in &it.effects {
        line(text, "effect", effect);
    }
    if let Some(observed) = &it.observed {
        line(text, "observed", observed);
    }
    line(text, "proof", it.proof);
    line(text, "fingerprint", &it.fingerprint);
    line(text, "policy", &it.policy);
}

fn denied(text: &mut String, it: &Denied, sql: &str) {
    line(text, "verdict", it.verdict);
    line(text, "reason", it.reason);
    line(text, "sqlstate", it.sqlstate);
    line(text, "message", &it.message);
    if let Some(detail) = &it.detail {
        line(text, "detail", detail);
    }
    if let Some(hint) = &it.hint {
        line(text, "hint", hint);
    }
    if let Some(position) = it.position {
        marked(text, sql, position);
    }
}

/// The line of the statement that the position is in, with a mark under it, as psql does it.
fn marked(text: &mut String, sql: &str, position: u32) {
    let mut left = usize::try_from(position).unwrap_or(1).saturating_sub(1);
    for (at, written) in sql.split('\n').enumerate() {
        let length = written.chars().count();
        if left <= length {
            let label = format!("line {}", at + 1);
            let plain: String = written.chars().map(printable).collect();
            line(text, &label, &plain);
            line(text, "", &format!("{}^", " ".repeat(left)));
            return;
        }
        left -= length + 1;
    }
}

fn printable(character: char) -> char {
    if character.is_control() {
        ' '
    } else {
        character
    }
}

fn line(text: &mut String, label: &str, value: &str) {
    let colon = if label.is_empty() { "" } else { ":" };
    let label = format!("{label}{colon}");
    let indented = value.replace('\n', &format!("\n{}", " ".repeat(LABEL + 2)));
    // Writing to a String can't fail.
    let _ = writeln!(text, "{label:<width$}{indented}", width = LABEL + 2);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::explain::{Check, HiddenParameter, Table};

    #[test]
    fn a_rewritten_statement() {
        let explanation = Explanation::Cleared(Box::new(Cleared {
            verdict: "rewrite",
            kind: "select",
            statements: 1,
            sql: "SELECT 1\nFROM public.leads".to_owned(),
            tables: vec![Table {
                name: "public.leads".to_owned(),
                access: "read",
                guard: "org_id".to_owned(),
            }],
            hidden_parameters: vec![HiddenParameter {
                parameter: 2,
                claim: "app_metadata.org_id".to_owned(),
                r#type: "uuid",
            }],
            checks: vec![Check {
                parameter: 1,
                claim: "app_metadata.org_id".to_owned(),
            }],
            text_checks: Vec::new(),
            effects: vec!["no portal is left".to_owned()],
            observed: None,
            proof: "holds",
            fingerprint: "00000000000000ff".to_owned(),
            policy: "0123456789ab".to_owned(),
        }));
        let expected = "\
verdict:     rewrite
kind:        select
table:       public.leads (read) guarded by org_id
sql:         SELECT 1
             FROM public.leads
hidden:      $2 is app_metadata.org_id (uuid)
check:       $1 must equal app_metadata.org_id at Bind
effect:      no portal is left
proof:       holds
fingerprint: 00000000000000ff
policy:      0123456789ab
";
        assert_eq!(render(&explanation, ""), expected);
    }

    #[test]
    fn a_denied_statement_is_marked_at_its_position() {
        let explanation = Explanation::Denied(Denied {
            verdict: "deny",
            reason: "function_denied",
            sqlstate: "42501",
            message: "pgwarden: function is denied".to_owned(),
            detail: Some("reason=function_denied".to_owned()),
            hint: Some("Leave it out.".to_owned()),
            table: None,
            position: Some(14),
        });
        let expected = "\
verdict:     deny
reason:      function_denied
sqlstate:    42501
message:     pgwarden: function is denied
detail:      reason=function_denied
hint:        Leave it out.
line 2:       ünïx()
              ^
";
        assert_eq!(render(&explanation, "SELECT ünï,\n ünïx()"), expected);
    }
}
