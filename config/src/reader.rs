//! Reading a tree: sections give their keys away one by one, and what nobody took is unknown.
//!
//! A value that can't be read is reported and replaced by nothing (or the default), so that the
//! rest is still read; the [`Report`] knows that the result must not be used.

use std::sync::Arc;

use crate::diagnostic::{File, Place, Problem, Problems};
use crate::document::{Entry, Node, Origin, Table, Value};
use crate::suggest;

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

impl Complaint {
    /// A complaint without help.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: None,
        }
    }

    /// Says what to write instead.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with a suggestion or none.
    pub(crate) fn maybe(mut self, help: Option<String>) -> Self {
        self.help = help;
        self
    }
}

/// The problems of one file, gathered.
#[derive(Debug)]
pub(crate) struct Report {
    file: Arc<File>,
    syntax: usize,
    problems: Vec<Problem>,
    known: Vec<String>,
}

impl Report {
    /// Starts with the syntax errors.
    pub(crate) fn new(file: &Arc<File>, syntax_errors: Vec<Problem>) -> Self {
        Self {
            file: Arc::clone(file),
            syntax: syntax_errors.len(),
            problems: syntax_errors,
            known: Vec::new(),
        }
    }

    /// The place of a node.
    pub(crate) fn place(&self, origin: &Origin) -> Place {
        match origin {
            Origin::Span(span) => Place::At(Arc::clone(&self.file), span.clone()),
            Origin::Variable(name) => Place::Variable(name.clone()),
        }
    }

    /// Adds a complaint about a node.
    pub(crate) fn complain(&mut self, origin: &Origin, complaint: Complaint) {
        let problem = Problem::new(self.place(origin), complaint.message).help(complaint.help);
        self.add(problem);
    }

    /// Adds a complaint about a node whose line may hold a secret behind it.
    pub(crate) fn complain_about_key(&mut self, origin: &Origin, complaint: Complaint) {
        let problem = Problem::new(self.place(origin), complaint.message).help(complaint.help);
        self.add(problem.hide_value());
    }

    /// Adds a problem, unless its line has a syntax error: then it is most likely a consequence.
    pub(crate) fn add(&mut self, problem: Problem) {
        let line = problem.line_and_column().map(|(line, _)| line);
        let syntax = self.problems.iter().take(self.syntax);
        let consequence = line.is_some()
            && syntax
                .filter_map(Problem::line_and_column)
                .any(|(at, _)| Some(at) == line);
        if !consequence {
            self.problems.push(problem);
        }
    }

    /// Adds a complaint about something that is not there. After a syntax error nobody knows.
    pub(crate) fn missing(&mut self, origin: &Origin, complaint: Complaint) {
        if self.syntax == 0 {
            self.complain_about_key(origin, complaint);
        }
    }

    /// The paths of all keys that were asked for, such as `pool.mode`.
    pub(crate) fn known(&self) -> &[String] {
        &self.known
    }

    /// The line of a node, for messages that point back.
    pub(crate) fn line(&self, origin: &Origin) -> Option<usize> {
        let problem = Problem::new(self.place(origin), "");
        problem.line_and_column().map(|(line, _)| line)
    }

    /// `Ok` if there was nothing to report.
    pub(crate) fn finish<T>(self, value: Option<T>) -> Result<T, Problems> {
        match value {
            Some(value) if self.problems.is_empty() => Ok(value),
            Some(_) | None => Err(Problems::sorted(self.problems)),
        }
    }
}

/// A table that is being read.
#[derive(Debug)]
pub(crate) struct Section<'a> {
    /// The name in messages, such as `[pool]`.
    name: String,
    /// The path in the tree, such as `listen.0`; empty for the root.
    path: String,
    origin: Origin,
    table: &'a Table,
    known: Vec<&'static str>,
}

impl<'a> Section<'a> {
    /// Reads a table; `name` as the file writes it, empty for the root.
    pub(crate) fn new(name: impl Into<String>, origin: &Origin, table: &'a Table) -> Self {
        Self {
            name: name.into(),
            path: String::new(),
            origin: origin.clone(),
            table,
            known: Vec::new(),
        }
    }

    /// Where the section's header is.
    pub(crate) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Takes a key's entry.
    pub(crate) fn take(&mut self, key: &'static str) -> Option<&'a Entry> {
        self.known.push(key);
        self.table.entry(key)
    }

    /// Takes a key's value and reads it.
    pub(crate) fn optional<T>(
        &mut self,
        report: &mut Report,
        key: &'static str,
        read: impl FnOnce(&'a Node) -> Result<T, Complaint>,
    ) -> Option<T> {
        let node = &self.take(key)?.node;
        read(node)
            .map_err(|complaint| report.complain(&node.origin, complaint))
            .ok()
    }

    /// The same with a default.
    pub(crate) fn or<T>(
        &mut self,
        report: &mut Report,
        key: &'static str,
        read: impl FnOnce(&'a Node) -> Result<T, Complaint>,
        default: T,
    ) -> T {
        self.optional(report, key, read).unwrap_or(default)
    }

    /// The same for a key that must be there.
    pub(crate) fn required<T>(
        &mut self,
        report: &mut Report,
        key: &'static str,
        read: impl FnOnce(&'a Node) -> Result<T, Complaint>,
    ) -> Option<T> {
        if self.table.entry(key).is_none() {
            let message = format!("key \"{key}\" is missing{}", self.place_name());
            report.missing(&self.origin, Complaint::new(message));
        }
        self.optional(report, key, read)
    }

    /// Takes a table below this one.
    pub(crate) fn section(&mut self, report: &mut Report, key: &'static str) -> Option<Self> {
        let entry = self.take(key)?;
        let name = format!("[{}]", self.name_below(key));
        let path = below(&self.path, key);
        Self::of_node(report, name, path, &entry.node)
    }

    /// The same for a table whose keys all have defaults: left out, it is empty.
    pub(crate) fn section_or_empty(&mut self, report: &mut Report, key: &'static str) -> Self {
        const EMPTY: &Table = &Table {
            entries: Vec::new(),
        };
        let name = format!("[{}]", self.name_below(key));
        let origin = self.origin.clone();
        let path = below(&self.path, key);
        let found = self.section(report, key);
        found.unwrap_or_else(|| Self {
            path,
            ..Self::new(name, &origin, EMPTY)
        })
    }

    /// Takes an array of tables below this one. A single table is an array of one.
    pub(crate) fn sections(&mut self, report: &mut Report, key: &'static str) -> Vec<Self> {
        let Some(entry) = self.take(key) else {
            return Vec::new();
        };
        let name = format!("[[{}]]", self.name_below(key));
        let nodes: &[Node] = match &entry.node.value {
            Value::Array(items) => items,
            _ => {
                let message = format!("\"{key}\" is {}, not an array", entry.node.value.kind());
                let help = format!("write {name}");
                report.complain(&entry.origin, Complaint::new(message).help(help));
                return Vec::new();
            }
        };
        let path = below(&self.path, key);
        let read = |(index, node): (usize, _)| {
            Self::of_node(report, name.clone(), format!("{path}.{index}"), node)
        };
        nodes.iter().enumerate().filter_map(read).collect()
    }

    /// The entries of a table whose keys are names, such as `[databases.<name>]`.
    pub(crate) fn named_sections(
        &mut self,
        report: &mut Report,
        key: &'static str,
    ) -> Vec<(&'a Entry, Self)> {
        let Some(section) = self.section(report, key) else {
            return Vec::new();
        };
        let read = |entry: &'a Entry| {
            let path = below(&section.path, &entry.key);
            let name = format!("[{path}]");
            Some((entry, Self::of_node(report, name, path, &entry.node)?))
        };
        section.table.entries.iter().filter_map(read).collect()
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self, report: &mut Report) {
        let known = self.known.iter().map(|key| below(&self.path, key));
        report.known.extend(known);
        for entry in &self.table.entries {
            if self.known.contains(&entry.key.as_str()) {
                continue;
            }
            let message = format!("unknown key \"{}\"{}", entry.key, self.place_name());
            let help = suggest::did_you_mean(&entry.key, self.known.iter().copied());
            report.complain_about_key(&entry.origin, Complaint::new(message).maybe(help));
        }
    }

    fn of_node(report: &mut Report, name: String, path: String, node: &'a Node) -> Option<Self> {
        match &node.value {
            Value::Table(table) => Some(Self {
                path,
                ..Self::new(name, &node.origin, table)
            }),
            other => {
                let message = format!("expected a table, found {}", other.kind());
                let complaint = Complaint::new(message).help(format!("write {name}"));
                report.complain(&node.origin, complaint);
                None
            }
        }
    }

    fn name_below(&self, key: &str) -> String {
        below(self.name.trim_matches(['[', ']']), key)
    }

    fn place_name(&self) -> String {
        if self.name.is_empty() {
            String::new()
        } else {
            format!(" in {}", self.name)
        }
    }
}

fn below(path: &str, key: &str) -> String {
    match path {
        "" => key.to_owned(),
        path => format!("{path}.{key}"),
    }
}
