//! The file of findings that somebody has accepted (`pgwarden audit --suppressions`).
//!
//! Each `[[suppress]]` names a finding by its key and says why and since when it is accepted: an
//! exception that nobody can explain is a mistake.

use std::path::Path;

use crate::diagnostic::{File, Problems};
use crate::document::{self, Node, Value};
use crate::reader::{Complaint, Report, Section};
use crate::values::word;

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suppression {
    /// The finding's key.
    pub key: String,
    /// Why it is accepted.
    pub reason: String,
    /// When it was.
    pub date: String,
}

/// Reads the file.
///
/// # Errors
/// All problems of the file.
pub fn read_suppressions(path: &Path) -> Result<Vec<Suppression>, Problems> {
    let file = File::read(path)?;
    let (root, syntax_errors) = document::parse(&file);
    let mut report = Report::new(&file, syntax_errors);
    let suppressions = match &root.value {
        Value::Table(table) => {
            let mut section = Section::new("", &root.origin, table);
            let entries = section.sections(&mut report, "suppress");
            section.finish(&mut report);
            let entries = entries.into_iter();
            Some(
                entries
                    .filter_map(|it| suppression(it, &mut report))
                    .collect(),
            )
        }
        _ => None,
    };
    report.finish(suppressions)
}

fn suppression(mut section: Section<'_>, report: &mut Report) -> Option<Suppression> {
    let key = section.required(report, "key", word);
    let reason = section.required(report, "reason", word);
    let date = section.required(report, "date", date);
    section.finish(report);
    Some(Suppression {
        key: key?,
        reason: reason?,
        date: date?,
    })
}

/// A day, quoted or not.
fn date(node: &Node) -> Result<String, Complaint> {
    let written = match &node.value {
        Value::Datetime(text) | Value::Text(text) => text.as_str(),
        _ => "",
    };
    let digits = |at: usize, byte: u8| match at {
        4 | 7 => byte == b'-',
        _ => byte.is_ascii_digit(),
    };
    let fits = written.len() == 10 && written.bytes().enumerate().all(|(at, it)| digits(at, it));
    match fits {
        true => Ok(written.to_owned()),
        false => Err(Complaint::new("expected a day").help("write it as 2026-11-21")),
    }
}
