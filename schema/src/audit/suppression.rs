//! Findings that somebody has accepted: by their key, with a reason and a date.

use serde::Serialize;

use super::finding::Finding;

/// An accepted finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suppression {
    /// The finding's key.
    pub key: String,
    /// Why it is accepted.
    pub reason: String,
    /// When it was, as `2026-11-21`.
    pub date: String,
}

/// Marks the findings; a suppression that fits none is told, so that it can be removed.
pub(super) fn apply(
    suppressions: &[Suppression],
    findings: &mut [Finding],
    notes: &mut Vec<String>,
) {
    for suppression in suppressions {
        let mut found = false;
        for finding in findings.iter_mut().filter(|it| it.key == suppression.key) {
            finding.suppressed = Some(suppression.clone());
            found = true;
        }
        if !found {
            notes.push(format!(
                "the suppression of {} fits no finding any more: remove it",
                suppression.key
            ));
        }
    }
}
