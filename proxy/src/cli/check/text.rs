//! The findings of `check` for people: `file:line:column` first, so that editors can jump there.

use std::fmt::Write;

use super::Explanation;
use super::output::wrap;
use super::report::{Entry, NOT_SQL, Outcome, Report, Summary};

/// The indent of what is said about a statement.
const INDENT: usize = 4;

pub(super) fn render(report: &Report, all: bool) -> String {
    let mut text = String::new();
    for entry in &report.statements {
        render_entry(&mut text, entry, all);
    }
    text.push_str(&summary(&report.summary));
    text
}

fn render_entry(text: &mut String, entry: &Entry, all: bool) {
    match &entry.outcome {
        Outcome::NotSql(it) => {
            head(text, entry, NOT_SQL);
            wrap(text, INDENT, &it.message);
            wrap(text, INDENT, &format!("hint: {}", it.hint));
        }
        Outcome::Judged(answer) => match answer.as_ref() {
            Explanation::Cleared(_) if !all => {}
            Explanation::Denied(_) | Explanation::Cleared(_) => {
                head(text, entry, &answer.outcome());
                for why in answer.why() {
                    wrap(text, INDENT, &why);
                }
            }
        },
    }
}

fn head(text: &mut String, entry: &Entry, what: &str) {
    let Entry { file, place, .. } = entry;
    // Writing to a String can't fail.
    let _ = writeln!(text, "{file}:{}:{}: {what}", place.at_line, place.at_column);
}

fn summary(sums: &Summary) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    };
    let mut line = format!(
        "{} in {}: {} pass, {} rewrite, {} deny",
        count(sums.statements(), "statement"),
        count(sums.files, "file"),
        sums.pass,
        sums.rewrite,
        sums.deny
    );
    if sums.not_sql > 0 {
        line.push_str(&format!("; {} not SQL", sums.not_sql));
    }
    line.push('\n');
    line
}
