//! A finding, and what a report is made of.

use serde::Serialize;

use super::facts::Facts;
use super::suppression::Suppression;

/// How much it matters. The worst comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Rows can reach, or already have reached, the wrong tenant; or statements fail.
    Error,
    /// A guarantee of the tenancy model is missing.
    Warning,
    /// Worth knowing; the exit status does not count it.
    Note,
}

impl Level {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The lint's name; `docs/lints/<code>.md` explains it.
    pub code: &'static str,
    /// How much it matters.
    pub level: Level,
    /// What it is about, such as `public.leads.org_id`.
    pub object: String,
    /// Why it matters, with what was found.
    pub why: String,
    /// SQL that mends it, where there is one that needs no decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// `code:object`: stays the same from run to run, for suppressions.
    pub key: String,
    /// Where the application's SQL says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// Set when somebody has accepted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suppressed: Option<Suppression>,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// All that was found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// How many tables there are.
    pub tables: usize,
    /// How many of them are scoped.
    pub scoped: usize,
    /// The worst first.
    pub findings: Vec<Finding>,
    /// What was guessed, what could not be counted, which suppressions are stale.
    pub notes: Vec<String>,
}

impl Report {
    /// How many findings of a level count.
    pub fn count(&self, level: Level) -> usize {
        self.open().filter(|it| it.level == level).count()
    }

    /// The findings that nobody has accepted.
    pub fn open(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|it| it.suppressed.is_none())
    }

    /// Whether there is neither an error nor a warning.
    pub fn is_fine(&self) -> bool {
        self.open().all(|it| it.level == Level::Note)
    }
}

/// A lint: its name, its level, and the question that it asks of the facts.
pub(crate) struct Lint {
    pub(crate) code: &'static str,
    pub(crate) level: Level,
    pub(crate) check: fn(&Facts) -> Vec<Draft>,
}

/// What a lint says; its code and level are the lint's own.
pub(crate) struct Draft {
    object: String,
    why: String,
    fix: Option<String>,
    place: Option<Place>,
    level: Option<Level>,
}

impl Draft {
    /// About an object.
    pub(crate) fn new(object: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            object: object.into(),
            why: why.into(),
            fix: None,
            place: None,
            level: None,
        }
    }

    /// Mattering more or less than the lint's other findings.
    pub(crate) fn level(mut self, level: Level) -> Self {
        self.level = Some(level);
        self
    }

    /// With the SQL that mends it.
    pub(crate) fn fix(mut self, sql: impl Into<String>) -> Self {
        self.fix = Some(sql.into());
        self
    }

    /// Where it was said.
    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(place);
        self
    }

    pub(crate) fn of(self, code: &'static str, level: Level) -> Finding {
        Finding {
            code,
            level: self.level.unwrap_or(level),
            key: format!("{code}:{}", self.object),
            object: self.object,
            why: self.why,
            fix: self.fix,
            place: self.place,
            suppressed: None,
        }
    }
}
