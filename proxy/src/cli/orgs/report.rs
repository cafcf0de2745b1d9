//! What came of each organisation's job: shown at the end, and kept in a file meanwhile, so that
//! whatever happens the rest can be run later.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use pgwarden_schema::organisations::Organisation;
use serde::{Deserialize, Serialize};

use super::Failure;

/// The file is written at most so often while jobs run.
const KEPT_EVERY: Duration = Duration::from_secs(1);

/// What came of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Outcome {
    /// Not begun.
    Open,
    /// Done.
    Done,
    /// It, or the way to it, failed.
    Failed,
    /// It took too long.
    TimedOut,
    /// Somebody ended the run.
    Interrupted,
}

impl Outcome {
    const ALL: [Self; 5] = [
        Self::Done,
        Self::Failed,
        Self::TimedOut,
        Self::Interrupted,
        Self::Open,
    ];

    fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed out",
            Self::Interrupted => "interrupted",
        }
    }
}

/// One organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) org: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration_ms: Option<u64>,
    /// That came or were written, by SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rows: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
}

/// All of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Report {
    organisations: Vec<Record>,
}

impl Report {
    /// Nothing is done yet.
    pub(super) fn planned(organisations: Vec<Organisation>) -> Self {
        let record = |it: Organisation| Record {
            org: it.id,
            name: it.name,
            outcome: Outcome::Open,
            duration_ms: None,
            rows: None,
            error: None,
        };
        Self {
            organisations: organisations.into_iter().map(record).collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.organisations.len()
    }

    pub(super) fn organisations(&self) -> Vec<Organisation> {
        let of = |it: &Record| Organisation {
            id: it.org.clone(),
            name: it.name.clone(),
        };
        self.organisations.iter().map(of).collect()
    }

    /// Those that are not done.
    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        let left = self.organisations.iter();
        left.filter(|it| it.outcome != Outcome::Done)
            .map(|it| it.org.as_str())
    }

    pub(super) fn is_done(&self) -> bool {
        self.left().next().is_none()
    }

    /// For people: a line for each, and how many of which outcome.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for it in &self.organisations {
            let time = it.duration_ms.map_or_else(String::new, seconds);
            let rows = it
                .rows
                .map_or_else(String::new, |rows| format!("{rows} rows"));
            let name = it.name.as_deref().unwrap_or_default();
            let line = format!(
                "{:<11} {time:>9} {rows:>12}  {}  {name}",
                it.outcome.label(),
                it.org
            );
            // Writing to a String can't fail.
            let _ = writeln!(text, "{}", line.trim_end());
            if let Some(error) = &it.error {
                let _ = writeln!(text, "            {error}");
            }
        }
        let counts: Vec<String> = Outcome::ALL
            .into_iter()
            .map(|outcome| (outcome, self.count(outcome)))
            .filter(|(_, count)| *count > 0)
            .map(|(outcome, count)| format!("{count} {}", outcome.label()))
            .collect();
        let _ = match counts.as_slice() {
            [] => writeln!(text, "no organisations"),
            [only] if self.len() == 1 => writeln!(text, "\n1 organisation: {only}"),
            counts => writeln!(
                text,
                "\n{} organisations: {}",
                self.len(),
                counts.join(", ")
            ),
        };
        text
    }

    fn count(&self, outcome: Outcome) -> usize {
        let all = self.organisations.iter();
        all.filter(|it| it.outcome == outcome).count()
    }
}

fn seconds(duration_ms: u64) -> String {
    format!("{}.{:03} s", duration_ms / 1000, duration_ms % 1000)
}

/// A report that grows, and its file.
#[derive(Debug)]
pub(super) struct Kept {
    report: Report,
    file: Option<PathBuf>,
    written: Instant,
}

impl Kept {
    /// Writes the file at once, so that a place where it can't be written is no surprise later.
    pub(super) fn new(file: Option<PathBuf>, report: Report) -> Result<Self, Failure> {
        let mut kept = Self {
            report,
            file,
            written: Instant::now(),
        };
        kept.write()?;
        Ok(kept)
    }

    pub(super) fn report(&self) -> &Report {
        &self.report
    }

    pub(super) fn record(&mut self, at: usize, record: Record) -> Result<(), Failure> {
        if let Some(place) = self.report.organisations.get_mut(at) {
            *place = record;
        }
        match self.written.elapsed() < KEPT_EVERY {
            true => Ok(()),
            false => self.write(),
        }
    }

    pub(super) fn finish(mut self) -> Result<Report, Failure> {
        self.write()?;
        Ok(self.report)
    }

    /// Beside it and then in its place: who reads it never sees half.
    fn write(&mut self) -> Result<(), Failure> {
        let Some(path) = &self.file else {
            return Ok(());
        };
        let failed =
            |why: String| Failure::usage(format!("{} can't be written: {why}", path.display()));
        let text = serde_json::to_vec_pretty(&self.report).map_err(|it| failed(it.to_string()))?;
        let mut beside = path.clone().into_os_string();
        beside.push(".new");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .map_err(|error| failed(error.to_string()))?;
        self.written = Instant::now();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::planned(vec![
            Organisation::named("a"),
            Organisation::named("b"),
            Organisation::named("c"),
        ]);
        let outcomes = [Outcome::Done, Outcome::Failed, Outcome::Open];
        for (record, outcome) in report.organisations.iter_mut().zip(outcomes) {
            record.outcome = outcome;
        }
        report
    }

    #[test]
    fn what_is_not_done_is_left() {
        let report = report();
        assert_eq!(report.left().collect::<Vec<_>>(), ["b", "c"]);
        assert!(!report.is_done());
        let text = report.text();
        assert!(
            text.ends_with("\n3 organisations: 1 done, 1 failed, 1 open\n"),
            "{text}"
        );
    }

    #[test]
    fn a_report_is_read_again() {
        let text = serde_json::to_string(&report()).unwrap_or_default();
        let again: Result<Report, _> = serde_json::from_str(&text);
        assert_eq!(
            again.map(|it| it.organisations).ok(),
            Some(report().organisations)
        );
    }
}
