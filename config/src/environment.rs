//! Environment variables: they override scalars of `warden.toml`.
//!
//! `PGWARDEN_POOL__MODE=session` is `[pool] mode = "session"`: the parts of the path are separated
//! by two underscores. A number is the index in an array of tables (`PGWARDEN_LISTEN__0__ADDRESS`;
//! the index after the last appends), and the names of databases are found whatever their case
//! (`PGWARDEN_DATABASES__APP__URL`).

use std::collections::BTreeMap;

use crate::diagnostic::{Place, Problem};
use crate::document::{Entry, Node, Origin, Table, Value};

const PREFIX: &str = "PGWARDEN_";
const SEPARATOR: &str = "__";

/// Keys of the file that name a variable; those variables are not overrides.
const NAMING_KEYS: &[&str] = &["secret_env", "password_env"];

/// The variables of the process, or those of a test.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    /// The variables of this process. Text that is not UTF-8 can't be anything we want.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Writes the overrides into the tree; what doesn't fit is returned. Unknown keys are found
    /// later, by the reader.
    pub(crate) fn apply(&self, root: &mut Node) -> Vec<Problem> {
        let named = self.named(root);
        let mut overrides: Vec<Override<'_>> = self
            .variables
            .iter()
            .filter(|(name, _)| !named.contains(name))
            .filter_map(|(name, value)| Override::of(name, value))
            .collect();
        overrides.sort_by(|a, b| a.path.cmp(&b.path));
        overrides
            .iter()
            .filter_map(|it| it.apply(root).err())
            .collect()
    }

    /// Variables that were most likely meant as overrides but have one underscore too few.
    /// `known` are the paths of keys, such as `pool.mode`.
    pub(crate) fn near_misses(&self, root: &Node, known: &[String]) -> Vec<Problem> {
        let named = self.named(root);
        let mut problems = Vec::new();
        for name in self.variables.keys().filter(|name| !named.contains(name)) {
            let Some(rest) = name.strip_prefix(PREFIX) else {
                continue;
            };
            let meant = known
                .iter()
                .find(|path| path.replace('.', "_").to_uppercase() == rest);
            if let Some(path) = meant.filter(|path| path.contains('.')) {
                let right = path.replace('.', SEPARATOR).to_uppercase();
                let help = format!("write {PREFIX}{right}, with two underscores");
                let problem = Problem::new(Place::Variable(name.clone()), "overrides nothing");
                problems.push(problem.help(Some(help)));
            }
        }
        problems
    }

    /// The variables that keys name, in the file or in an override.
    fn named(&self, root: &Node) -> Vec<String> {
        let mut named = Vec::new();
        collect_named(root, &mut named);
        for (name, value) in &self.variables {
            let key = name
                .strip_prefix(PREFIX)
                .and_then(|it| it.rsplit(SEPARATOR).next());
            if key.is_some_and(|key| NAMING_KEYS.contains(&key.to_lowercase().as_str())) {
                named.push(value.clone());
            }
        }
        named
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self {
            variables: variables.into_iter().collect(),
        }
    }
}

/// The values of all `secret_env` and `password_env` keys.
fn collect_named(node: &Node, named: &mut Vec<String>) {
    match &node.value {
        Value::Array(items) => items.iter().for_each(|item| collect_named(item, named)),
        Value::Table(table) => {
            for entry in &table.entries {
                match &entry.node.value {
                    Value::Text(name) if NAMING_KEYS.contains(&entry.key.as_str()) => {
                        named.push(name.clone());
                    }
                    _ => collect_named(&entry.node, named),
                }
            }
        }
        Value::Text(_)
        | Value::Integer(_)
        | Value::Float(_)
        | Value::Boolean(_)
        | Value::Datetime(_)
        | Value::Untyped(_) => {}
    }
}

/// One part of an override's path. Numbers sort as numbers, so that appending works.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Index(usize),
    Key(String),
}

struct Override<'a> {
    name: &'a str,
    value: &'a str,
    path: Vec<Step>,
}

impl<'a> Override<'a> {
    /// A variable that looks like an override.
    fn of(name: &'a str, value: &'a str) -> Option<Self> {
        let rest = name.strip_prefix(PREFIX)?;
        if !rest.contains(SEPARATOR) {
            return None;
        }
        let step = |part: &str| match part.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key(part.to_lowercase()),
        };
        Some(Self {
            name,
            value,
            path: rest.split(SEPARATOR).map(step).collect(),
        })
    }

    fn apply(&self, root: &mut Node) -> Result<(), Problem> {
        let mut node = root;
        for (at, step) in self.path.iter().enumerate() {
            // A database may be named by a number; nothing else that is a table is.
            let in_table = at == 0 || (at == 1 && self.path.first() == Some(&key("databases")));
            node = match (step, in_table) {
                (Step::Index(index), false) => self.item(node, *index)?,
                (Step::Index(index), true) => self.entry(node, &index.to_string())?,
                (Step::Key(key), _) => self.entry(node, key)?,
            };
        }
        match &node.value {
            Value::Table(table) if !table.entries.is_empty() => {
                Err(self.problem("names a table, not a value"))
            }
            Value::Array(items) if items.iter().any(|it| matches!(it.value, Value::Table(_))) => {
                Err(self.problem("names an array of tables, not a value"))
            }
            _ => {
                *node = self.node(Value::Untyped(self.value.to_owned()));
                Ok(())
            }
        }
    }

    /// The value of a key, made if it is not there. Only what this step creates may be turned into
    /// a table: a scalar of the file is not.
    fn entry<'n>(&self, node: &'n mut Node, key: &str) -> Result<&'n mut Node, Problem> {
        self.make(node, Value::Table(Table::default()));
        let Value::Table(table) = &mut node.value else {
            return Err(self.problem("leads through a value that is not a table"));
        };
        let found = table
            .entries
            .iter()
            .position(|entry| same_name(&entry.key, key));
        let at = found.unwrap_or_else(|| {
            table.entries.push(Entry {
                key: key.to_owned(),
                origin: Origin::Variable(self.name.to_owned()),
                node: self.node(Value::Untyped(String::new())),
            });
            table.entries.len() - 1
        });
        let entry = table.entries.get_mut(at);
        entry
            .map(|entry| &mut entry.node)
            .ok_or_else(|| self.problem("leads nowhere"))
    }

    /// The item of an array, appended if it is the next one.
    fn item<'n>(&self, node: &'n mut Node, index: usize) -> Result<&'n mut Node, Problem> {
        self.make(node, Value::Array(Vec::new()));
        let Value::Array(items) = &mut node.value else {
            return Err(self.problem("has an index where there is no array"));
        };
        let length = items.len();
        if index == length {
            items.push(self.node(Value::Untyped(String::new())));
        }
        items.get_mut(index).ok_or_else(|| {
            self.problem(format!(
                "has the index {index}, but the next one is {length}"
            ))
        })
    }

    /// Gives a node that a variable has just created its kind.
    fn make(&self, node: &mut Node, value: Value) {
        let fresh = matches!(&node.value, Value::Untyped(text) if text.is_empty());
        if fresh && node.origin == Origin::Variable(self.name.to_owned()) {
            node.value = value;
        }
    }

    fn node(&self, value: Value) -> Node {
        Node {
            origin: Origin::Variable(self.name.to_owned()),
            value,
        }
    }

    fn problem(&self, message: impl Into<String>) -> Problem {
        Problem::new(Place::Variable(self.name.to_owned()), message)
    }
}

fn key(name: &str) -> Step {
    Step::Key(name.to_owned())
}

/// Whether a part of a variable's name means this key: case does not count, and what can't stand
/// in a variable's name is an underscore.
fn same_name(key: &str, part: &str) -> bool {
    let key = key.to_lowercase();
    let plain = |c: char| if c.is_alphanumeric() { c } else { '_' };
    key == part || (key != "*" && key.chars().map(plain).eq(part.chars()))
}
