//! The tree of a TOML file: every key and value with its place.
//!
//! Why not deserialise into structs: serde stops at the first mistake, and a file with five
//! mistakes should show five. The parser recovers from syntax errors, too, so that the rest of the
//! file is still looked at.

use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{File, Place, Problem};

/// Where a node comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The file.
    Span(Range<usize>),
    /// This environment variable.
    Variable(String),
}

/// A value and where it comes from.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) origin: Origin,
    pub(crate) value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Datetime(String),
    Array(Vec<Node>),
    Table(Table),
    /// An environment variable's text: whatever type is wanted is read from it.
    Untyped(String),
}

impl Value {
    /// What it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Boolean(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "an array",
            Self::Table(_) => "a table",
            Self::Untyped(_) => "the text of an environment variable",
        }
    }
}

/// A table in the file's order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    pub(crate) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) origin: Origin,
    pub(crate) node: Node,
}

impl Table {
    /// The entry of that key.
    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// Parses a file. The tree holds all that could be read; the problems are the syntax errors.
pub(crate) fn parse(file: &Arc<File>) -> (Node, Vec<Problem>) {
    let (table, errors) = DeTable::parse_recoverable(file.text());
    let mut problems = Vec::new();
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let place = Place::At(Arc::clone(file), span);
        problems.push(Problem::new(place, error.message().to_owned()));
    }
    let span = table.span();
    let mut root = table_of(table.into_inner(), &mut |span, message| {
        problems.push(Problem::new(Place::At(Arc::clone(file), span), message));
    });
    root.origin = Origin::Span(span);
    (root, problems)
}

type Complain<'a> = dyn FnMut(Range<usize>, String) + 'a;

fn table_of(table: DeTable<'_>, complain: &mut Complain<'_>) -> Node {
    let mut entries: Vec<Entry> = table
        .into_iter()
        .map(|(key, value)| Entry {
            origin: Origin::Span(key.span()),
            key: key.into_inner().into_owned(),
            node: node_of(value, complain),
        })
        .collect();
    entries.sort_by_key(|entry| match &entry.origin {
        Origin::Span(span) => span.start,
        Origin::Variable(_) => 0,
    });
    Node {
        origin: Origin::Span(0..0),
        value: Value::Table(Table { entries }),
    }
}

fn node_of(value: Spanned<DeValue<'_>>, complain: &mut Complain<'_>) -> Node {
    let span = value.span();
    let value = match value.into_inner() {
        DeValue::String(text) => Value::Text(text.into_owned()),
        DeValue::Boolean(value) => Value::Boolean(value),
        DeValue::Datetime(value) => Value::Datetime(value.to_string()),
        DeValue::Integer(written) => {
            let value = i64::from_str_radix(written.as_str(), written.radix());
            if value.is_err() {
                complain(span.clone(), "integer is out of range".to_owned());
            }
            Value::Integer(value.unwrap_or_default())
        }
        DeValue::Float(written) => {
            let value: Result<f64, _> = written.as_str().parse();
            Value::Float(value.unwrap_or(f64::NAN))
        }
        DeValue::Array(items) => {
            let items = items.into_iter().map(|item| node_of(item, complain));
            Value::Array(items.collect())
        }
        DeValue::Table(table) => table_of(table, complain).value,
    };
    Node {
        origin: Origin::Span(span),
        value,
    }
}
