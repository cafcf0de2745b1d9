//! The forms in which a query's rows are written: wrapped, filled and checked.

use super::Claims;
use super::forms::{
    case, is_boolean, is_row_without_columns, names, only_arm, raises, session_value,
};
use crate::tenant::ValueType;
use crate::tree::{Node, Value};

const AEXPR_OP: i64 = 1;
const JOIN_LEFT: i64 = 2;
/// The alias of a wrapped query.
const SOURCE: &str = "pgwarden_source";

/// A value that is compared with the session's when it is written.
pub(super) struct Checked<'a> {
    /// What the client computed.
    pub(super) value: &'a Node,
    /// The slot of the session's value.
    pub(super) slot: usize,
    /// Its type.
    pub(super) value_type: ValueType,
}

/// Reads `CASE WHEN CASE WHEN <value> = <own> THEN true ELSE <raises> END THEN <own> END`.
pub(super) fn checked<'a>(node: &'a Node, claims: Claims<'_>) -> Option<Checked<'a>> {
    let (when, then) = only_arm(node, &["args"])?;
    let own = session_value(then, claims)?;
    let (equal, admitted, other) = case(when)?;
    let compares = equal.kind == "AExpr"
        && equal.has_only(&["kind", "name", "lexpr", "rexpr"])
        && equal.int("kind") == AEXPR_OP
        && names(equal.list("name"))? == ["pg_catalog", "="]
        && session_value(equal.node("rexpr")?, claims) == Some(own);
    (compares && is_boolean(admitted, true) && raises(other)).then_some(Checked {
        value: equal.node("lexpr")?,
        slot: own.0,
        value_type: own.1,
    })
}

/// What a wrapped query gives on.
pub(super) enum Written<'a> {
    /// Its column of this number, unchanged.
    Column(usize),
    /// Its column of this number, checked.
    Checked(usize, (usize, ValueType)),
    /// A value of our own, or a column that is looked up.
    Fill(&'a Value),
}

impl<'a> Written<'a> {
    /// Whether it is the column in place `at`, checked against the key if it is to hold one.
    pub(super) fn is_column(&self, at: usize, key: Option<(usize, ValueType)>) -> bool {
        match self {
            Self::Column(number) => *number == at + 1 && key.is_none(),
            Self::Checked(number, own) => *number == at + 1 && key == Some(*own),
            Self::Fill(_) => false,
        }
    }

    pub(super) fn fill(&self) -> Option<&'a Value> {
        match self {
            Self::Fill(value) => Some(value),
            _ => None,
        }
    }
}

/// Reads `SELECT *, <fills> FROM (<query>) AS pgwarden_source`.
pub(super) fn wrapped(node: &Node) -> Option<(&Node, Vec<&Value>)> {
    let (query, names) = source(only_item(node)?)?;
    let (star, fills) = node.list("target_list").split_first()?;
    let star = star.as_node()?.node("val")?;
    let [only] = star.list("fields") else {
        return None;
    };
    let is_star = only.as_node().is_some_and(|only| only.kind == "AStar");
    let fills: Option<Vec<&Value>> = fills.iter().map(value).collect();
    (names.is_empty() && is_star).then_some((query, fills?))
}

/// Reads `SELECT pgwarden_source.pgwarden_1, … FROM (<query>) AS pgwarden_source (pgwarden_1, …)`.
pub(super) fn wrapped_columns<'a>(
    node: &'a Node,
    claims: Claims<'_>,
) -> Option<(&'a Node, Vec<Written<'a>>)> {
    let (query, columns) = source(only_item(node)?)?;
    columns_of(node, query, &columns, claims)
}

/// Reads the same `FROM (SELECT) AS pgwarden_row LEFT JOIN (<query>) AS pgwarden_source (…) ON true`.
pub(super) fn one_row<'a>(
    node: &'a Node,
    claims: Claims<'_>,
) -> Option<(&'a Node, Vec<Written<'a>>)> {
    let join = only_item(node)?;
    let whole = join.kind == "JoinExpr"
        && join.has_only(&["jointype", "larg", "rarg", "quals"])
        && join.int("jointype") == JOIN_LEFT
        && is_row_without_columns(join.node("larg")?)
        && is_boolean(join.node("quals")?, true);
    let (query, columns) = source(join.node("rarg").filter(|_| whole)?)?;
    columns_of(node, query, &columns, claims)
}

fn columns_of<'a>(
    node: &'a Node,
    query: &'a Node,
    columns: &[&str],
    claims: Claims<'_>,
) -> Option<(&'a Node, Vec<Written<'a>>)> {
    let numbered = columns
        .iter()
        .enumerate()
        .all(|(at, name)| number(name) == Some(at + 1));
    if columns.is_empty() || !numbered {
        return None;
    }
    let written = |target| {
        let value = value(target)?;
        let node = value.as_node()?;
        if let Some(number) = column(node) {
            return Some(Written::Column(number));
        }
        match checked(node, claims) {
            Some(checked) => Some(Written::Checked(
                column(checked.value)?,
                (checked.slot, checked.value_type),
            )),
            None => Some(Written::Fill(value)),
        }
    };
    let written: Option<Vec<Written<'_>>> = node.list("target_list").iter().map(written).collect();
    Some((query, written?))
}

/// The only item of a query that has nothing else but a select list.
fn only_item(node: &Node) -> Option<&Node> {
    let plain = node.has_only(&["target_list", "from_clause", "limit_option", "op"]);
    match node.list("from_clause") {
        [item] if plain => item.as_node(),
        _ => None,
    }
}

/// The wrapped query, and its column aliases.
fn source(item: &Node) -> Option<(&Node, Vec<&str>)> {
    let source = Some(item).filter(|item| item.kind == "RangeSubselect")?;
    let alias = source.node("alias")?;
    let ours = source.has_only(&["subquery", "alias"])
        && alias.has_only(&["aliasname", "colnames"])
        && alias.text("aliasname") == SOURCE;
    let columns = names(alias.list("colnames"))?;
    ours.then_some((source.node("subquery")?, columns))
}

/// The value of an item without a name.
fn value(target: &Value) -> Option<&Value> {
    let target = target.as_node()?;
    (target.kind == "ResTarget" && target.has_only(&["val"])).then(|| target.field("val"))
}

/// The number in `pgwarden_source.pgwarden_<number>`.
pub(super) fn column(node: &Node) -> Option<usize> {
    let names = names(node.list("fields")).filter(|_| node.kind == "ColumnRef")?;
    match names.as_slice() {
        [SOURCE, name] => number(name),
        _ => None,
    }
}

fn number(name: &str) -> Option<usize> {
    name.strip_prefix("pgwarden_")?.parse().ok()
}
