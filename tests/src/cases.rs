//! Case files: statements and what must come of them, for people who don't write Rust.
//!
//! ```text
//! === a1_cast_of_foreign_text
//! # A comment that says the intent.
//! @tenant a                 who asks: a (default), b or c
//! @world second             the other schema, of fixtures/second
//! @policy explain = "deny"  goes into the policy's [defaults]
//! @protocol simple          simple, extended or both (default)
//! @params 1, NULL, x        values of $1, $2, …; extended only
//! @param {"a": 1, "b": 2}   the next one's value, as it stands
//! @admin CREATE TABLE …     run by a superuser in both databases before the next statement
//! @ordered                  the rows' order counts
//! @server 17                from this major version on
//! @unlike 17.10, 18.4       not on these versions, whose PostgreSQL answers otherwise
//! SELECT id FROM call_logs WHERE body::int > 3
//! >>> same as rls
//! ```
//!
//! A case may have several statements; they share a session. What follows `>>>` is one of
//! `same as rls` (works, and equals PostgreSQL's own answer), `some of rls` (as many rows as PostgreSQL
//! gives, each one of those that it gives without LIMIT: for a LIMIT whose order leaves it a choice),
//! `same as plain` (equals the answer of the same database without pgwarden: for the catalogue, in which
//! the oracle has policies and other names), `same error` (fails as PostgreSQL fails), `denied` with an optional reason or several joined by `|`, `safe` (equal or refused),
//! `error` with a SQLSTATE, `rows` followed by one line for each row (cells separated by ` | `),
//! or `ok`.

use std::path::{Path, PathBuf};

use crate::fixture::{Arena, Tenant};

/// A file's case.
#[derive(Debug, Clone)]
pub struct Case {
    /// The file's stem.
    pub file: String,
    /// The name after `===`.
    pub name: String,
    /// Who asks.
    pub tenant: Tenant,
    /// Whether it runs on the second world's schema.
    pub second: bool,
    /// Lines for the policy's `[defaults]`.
    pub policy: Vec<String>,
    /// Whether it runs in the simple protocol.
    pub simple: bool,
    /// Whether it runs in the extended protocol.
    pub extended: bool,
    /// The first major version that knows its syntax.
    pub server_min: u32,
    /// Versions whose own answer is another one.
    pub unlike: Vec<String>,
    /// The statements.
    pub steps: Vec<Step>,
}

/// A statement and what must come of it.
#[derive(Debug, Clone)]
pub struct Step {
    /// The line where it starts.
    pub line: usize,
    /// Run by a superuser in both databases first.
    pub admin: Vec<String>,
    /// The statement.
    pub sql: String,
    /// Parameter values.
    pub values: Vec<Option<String>>,
    /// Whether the rows' order counts.
    pub ordered: bool,
    /// What must come of it.
    pub expect: Expectation,
}

/// What must come of a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expectation {
    /// Equal to the oracle, not refused, and no error.
    Same,
    /// As many rows as the oracle gives, each among those that it gives without LIMIT.
    SomeOfRls,
    /// Equal to what the same database gives without pgwarden.
    Plain,
    /// The oracle fails, and so does this, with the same SQLSTATE.
    SameError,
    /// Refused, for one of these reasons if any are given.
    Denied(Vec<String>),
    /// Equal to the oracle, or refused.
    Safe,
    /// The server's or our error with this SQLSTATE.
    Error(String),
    /// These rows.
    Rows(Vec<String>),
    /// No error.
    Fine,
}

impl Case {
    /// Waits for the databases that it needs.
    pub fn arena(&self) -> Arena {
        if self.second {
            Arena::take_second()
        } else {
            Arena::take()
        }
    }

    /// Whether it says anything on a server of this version (`18.4`).
    pub fn suits(&self, version: &str) -> bool {
        let major = version.split('.').next().and_then(|it| it.parse().ok());
        major.is_some_and(|major: u32| major >= self.server_min)
            && !self.unlike.iter().any(|unlike| unlike == version)
    }

    /// Whether it may change rows, so that the tables must be looked at afterwards.
    pub fn writes(&self) -> bool {
        const WORDS: [&str; 10] = [
            "insert", "update", "delete", "merge", "truncate", "copy", "create", "drop", "alter",
            "call",
        ];
        self.steps.iter().any(|step| {
            let text = step.sql.to_lowercase();
            !step.admin.is_empty() || WORDS.iter().any(|word| text.contains(word))
        })
    }
}

/// Reads every `*.test` below a directory.
pub fn read_all(directory: &Path) -> Vec<Case> {
    let mut files = Vec::new();
    find(directory, &mut files);
    files.sort();
    assert!(
        !files.is_empty(),
        "no case files in {}",
        directory.display()
    );
    files.iter().flat_map(|file| read(file)).collect()
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the directory of cases is readable") {
        let path = entry.expect("the directory of cases is readable").path();
        if path.is_dir() {
            find(&path, files);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "test")
        {
            files.push(path);
        }
    }
}

fn read(path: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(path).expect("the case file is readable");
    let file = path.file_stem().unwrap().to_string_lossy().into_owned();
    let mut cases: Vec<Case> = Vec::new();
    let mut draft = Draft::default();
    let mut rows_open = false;
    for (number, line) in text.lines().enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        if let Some(name) = line.strip_prefix("=== ") {
            rows_open = false;
            assert!(
                draft.is_empty(),
                "{}: the case before lacks its `>>>`",
                place()
            );
            draft = Draft::default();
            cases.push(Case {
                file: file.clone(),
                name: name.trim().to_owned(),
                tenant: Tenant::A,
                second: false,
                policy: Vec::new(),
                simple: true,
                extended: true,
                server_min: 0,
                unlike: Vec::new(),
                steps: Vec::new(),
            });
            continue;
        }
        let Some(case) = cases.last_mut() else {
            assert!(
                line.is_empty() || line.starts_with('#'),
                "{}: text before the first case",
                place()
            );
            continue;
        };
        if let Some(expectation) = line.strip_prefix(">>> ") {
            let expect = expectation_of(expectation.trim())
                .unwrap_or_else(|| panic!("{}: what is {expectation:?}?", place()));
            rows_open = matches!(expect, Expectation::Rows(_));
            case.steps.push(std::mem::take(&mut draft).finish(expect));
        } else if rows_open && !line.is_empty() && !line.starts_with('@') {
            let step = case.steps.last_mut().expect("rows follow a step");
            let Expectation::Rows(rows) = &mut step.expect else {
                unreachable!()
            };
            rows.push(line.to_owned());
        } else if draft.sql.is_empty() && (line.is_empty() || line.starts_with('#')) {
            rows_open = false;
        } else if draft.sql.is_empty() && line.starts_with('@') {
            rows_open = false;
            directive(line, case, &mut draft)
                .unwrap_or_else(|| panic!("{}: what is {line:?}?", place()));
        } else {
            draft.push(line, number + 1);
        }
    }
    assert!(
        draft.is_empty(),
        "{}: the last case lacks its `>>>`",
        path.display()
    );
    cases
}

#[derive(Default)]
struct Draft {
    sql: String,
    line: usize,
    admin: Vec<String>,
    values: Vec<Option<String>>,
    ordered: bool,
}

impl Draft {
    fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    fn push(&mut self, line: &str, number: usize) {
        if self.sql.is_empty() {
            self.line = number;
        } else {
            self.sql.push('\n');
        }
        self.sql.push_str(line);
    }

    fn finish(self, expect: Expectation) -> Step {
        Step {
            line: self.line,
            admin: self.admin,
            sql: self.sql,
            values: self.values,
            ordered: self.ordered,
            expect,
        }
    }
}

fn directive(line: &str, case: &mut Case, draft: &mut Draft) -> Option<()> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let rest = rest.trim();
    match (word, rest) {
        ("@tenant", "a") => case.tenant = Tenant::A,
        ("@tenant", "b") => case.tenant = Tenant::B,
        ("@tenant", "c") => case.tenant = Tenant::C,
        ("@policy", line) => case.policy.push(line.to_owned()),
        ("@world", "second") => case.second = true,
        ("@protocol", "simple") => case.extended = false,
        ("@protocol", "extended") => case.simple = false,
        ("@protocol", "both") | ("@ordered", _) => {}
        ("@params", values) => {
            case.simple = false;
            draft.values = values.split(',').map(str::trim).map(value).collect();
        }
        ("@param", text) => {
            case.simple = false;
            draft.values.push(value(text));
        }
        ("@server", version) => case.server_min = version.parse().ok()?,
        ("@unlike", versions) => {
            let versions = versions.split(',').map(|it| it.trim().to_owned());
            case.unlike.extend(versions);
        }
        ("@admin", sql) => draft.admin.push(sql.to_owned()),
        _ => return None,
    }
    if word == "@ordered" {
        draft.ordered = true;
    }
    Some(())
}

fn value(text: &str) -> Option<String> {
    (text != "NULL").then(|| text.to_owned())
}

fn expectation_of(text: &str) -> Option<Expectation> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    match (word, rest) {
        ("same", "as rls") => Some(Expectation::Same),
        ("some", "of rls") => Some(Expectation::SomeOfRls),
        ("same", "as plain") => Some(Expectation::Plain),
        ("same", "error") => Some(Expectation::SameError),
        ("denied", "") => Some(Expectation::Denied(Vec::new())),
        ("denied", reasons) => Some(Expectation::Denied(
            reasons
                .split('|')
                .map(|reason| reason.trim().to_owned())
                .collect(),
        )),
        ("safe", "") => Some(Expectation::Safe),
        ("error", code) if code.len() == 5 => Some(Expectation::Error(code.to_owned())),
        ("rows", "") => Some(Expectation::Rows(Vec::new())),
        ("ok", "") => Some(Expectation::Fine),
        _ => None,
    }
}
