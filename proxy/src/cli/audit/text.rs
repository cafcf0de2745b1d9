//! The findings of `audit` for people: grouped by lint, the worst first, with SQL to paste and a
//! table of sums.

use std::fmt::Write;

use pgwarden_schema::audit::{Finding, Level, Report};

use crate::cli::output::wrap;

/// The indent of what is said about an object.
const INDENT: usize = 4;

pub(super) fn render(report: &Report, coloured: bool) -> String {
    let mut text = String::new();
    for note in &report.notes {
        wrap(&mut text, 0, &format!("note: {note}"));
    }
    if !report.notes.is_empty() {
        text.push('\n');
    }
    let open: Vec<&Finding> = report.open().collect();
    for group in open.chunk_by(|a, b| a.code == b.code) {
        render_group(&mut text, group, coloured);
    }
    render_sums(&mut text, report, &open);
    text
}

fn render_group(text: &mut String, group: &[&Finding], coloured: bool) {
    let Some(first) = group.first() else {
        return;
    };
    let level = painted(first.level, coloured);
    // Writing to a String can't fail.
    let _ = writeln!(text, "{level}: {} (docs/lints/{0}.md)", first.code);
    for finding in group {
        let place = finding.place.as_ref();
        let place = place.map_or_else(String::new, |it| format!("{}:{}: ", it.file, it.line));
        let _ = writeln!(text, "  {place}{}", finding.object);
        wrap(text, INDENT, &finding.why);
        for line in finding.fix.iter().flat_map(|sql| sql.lines()) {
            let _ = writeln!(text, "{:INDENT$}| {line}", "");
        }
    }
    text.push('\n');
}

fn painted(level: Level, coloured: bool) -> String {
    let colour = match level {
        Level::Error => "31",
        Level::Warning => "33",
        Level::Note => "36",
    };
    match coloured {
        true => format!("\x1b[1;{colour}m{}\x1b[0m", level.name()),
        false => level.name().to_owned(),
    }
}

fn render_sums(text: &mut String, report: &Report, open: &[&Finding]) {
    let groups: Vec<&[&Finding]> = open.chunk_by(|a, b| a.code == b.code).collect();
    let width = groups
        .iter()
        .filter_map(|it| it.first())
        .map(|it| it.code.len());
    let width = width.max().unwrap_or_default();
    for group in &groups {
        if let Some(first) = group.first() {
            let (level, code, count) = (first.level.name(), first.code, group.len());
            let _ = writeln!(text, "{level:<8} {code:<width$} {count:>5}");
        }
    }
    if !groups.is_empty() {
        text.push('\n');
    }
    let accepted = report.findings.len() - open.len();
    let accepted = match accepted {
        0 => String::new(),
        number => format!(", {number} accepted"),
    };
    let _ = writeln!(
        text,
        "{} of {} tables are scoped: {} errors, {} warnings, {} notes{accepted}",
        report.scoped,
        report.tables,
        report.count(Level::Error),
        report.count(Level::Warning),
        report.count(Level::Note),
    );
}
