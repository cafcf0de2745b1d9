//! Written values: which ones can only be the session's own.

use std::collections::{HashMap, HashSet};

use super::{Claims, Walk, forms};
use crate::judge::Key;
use crate::tenant::ScopeValue;
use crate::tree::{Node, Value};

/// Parameters that several places could give a type: their Bind check may read other values than the
/// server stores.
#[derive(Debug, Default)]
pub(super) struct Untyped(HashSet<i64>);

impl Untyped {
    /// Those of the client's statement that have no declared type and stand more than once. Nobody
    /// asks where nothing is checked.
    pub(super) fn of(statement: &Node, claims: &Claims<'_>) -> Self {
        let mut standing: HashMap<i64, HashSet<i32>> = HashMap::new();
        if !claims.findings.checks.is_empty() {
            count_parameters(statement, &mut standing);
        }
        let declared = |number: &i64| {
            let index = usize::try_from(*number - 1).ok();
            index.and_then(|index| claims.declared.get(index))
        };
        let untyped = standing.into_iter().filter(|(number, places)| {
            places.len() > 1 && matches!(declared(number), None | Some(0 | 705))
        });
        Self(untyped.map(|(number, _)| number).collect())
    }

    fn holds(&self, parameter: i64) -> bool {
        self.0.contains(&parameter)
    }
}

/// Where each parameter stands. The source of `(a, b) = (…)` is in the tree once for each column, and in the text once.
fn count_parameters(node: &Node, standing: &mut HashMap<i64, HashSet<i32>>) {
    if node.kind == "ParamRef" {
        let places = standing.entry(node.int("number")).or_default();
        places.insert(node.location());
    }
    for (_, value) in &node.fields {
        count_parameters_in(value, standing);
    }
}

fn count_parameters_in(value: &Value, standing: &mut HashMap<i64, HashSet<i32>>) {
    match value {
        Value::Node(node) => count_parameters(node, standing),
        Value::List(items) => {
            for item in items {
                count_parameters_in(item, standing);
            }
        }
        Value::Default | Value::True | Value::Int(_) | Value::Float(_) | Value::Text(_) => {}
    }
}

impl Walk<'_> {
    /// Whether a written value can only be the session's: the hidden parameter, a parameter that is
    /// checked at Bind, a literal that the judge compared, or the key of a guarded relation.
    pub(super) fn is_own_value(&self, value: &Node, key: &Key, sole: bool) -> bool {
        if key.via.is_some() {
            return false;
        }
        if forms::session_value(value, self.claims) == Some((key.slot, key.value_type)) {
            return true;
        }
        let value = uncast(value);
        match value.kind {
            "ParamRef" => {
                let check = (value.int("number"), key.slot);
                self.index.checks.contains(&check) && !self.untyped.holds(check.0)
            }
            "AConst" => self.is_own_literal(value, key),
            "ColumnRef" => forms::names(value.list("fields")).is_some_and(|mut names| {
                let Some(column) = names.pop() else {
                    return false;
                };
                // The row that was to be inserted holds the session's value, as was just proven.
                if self.in_conflict && names == ["excluded"] && column == key.column {
                    return true;
                }
                let level = self.levels.last().map_or(&[][..], Vec::as_slice);
                (sole || !names.is_empty())
                    && level
                        .iter()
                        .any(|source| source.holds(&names, column, key.slot))
            }),
            _ => false,
        }
    }

    /// Whether a constant of the rewritten tree is the session's value, and pinned, so that the plan
    /// stands for no other.
    fn is_own_literal(&self, constant: &Node, key: &Key) -> bool {
        let there = constant.location();
        // It was walked just now, so it is near the end.
        let mut constants = self.paired.constants.iter().rev();
        let paired = constants.find(|constant| constant.rewritten == there);
        let pinned = paired.is_some_and(|paired| self.index.pinned.contains(&paired.original));
        let own = self.claims.values.get(key.slot);
        let text = constant.node("val").and_then(|value| match value.kind {
            "String" => Some(value.text("sval").to_owned()),
            "Float" => Some(value.text("fval").to_owned()),
            "Integer" => Some(value.int("ival").to_string()),
            _ => None,
        });
        let same = |(own, text): (&ScopeValue, String)| own.matches_text(text.as_bytes());
        pinned && own.zip(text).is_some_and(same)
    }
}

/// What stands in casts that keep the value: to the types of scope values, without modifiers.
fn uncast(node: &Node) -> &Node {
    let name = node.node("type_name").filter(|_| node.kind == "TypeCast");
    let keeps = name.is_some_and(|name| {
        let names = forms::names(name.list("names"));
        name.has_only(&["names", "typemod"])
            && names.is_some_and(|names| {
                matches!(
                    names.as_slice(),
                    ["uuid" | "text" | "int8" | "int4" | "int2" | "varchar"]
                        | [
                            "pg_catalog",
                            "uuid" | "text" | "int8" | "int4" | "int2" | "varchar"
                        ]
                )
            })
    });
    match node.node("arg").filter(|_| keeps) {
        Some(arg) => uncast(arg),
        None => node,
    }
}
