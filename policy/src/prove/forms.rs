//! The closed list of injected forms, each recognised field by field.

use super::Claims;
use super::via::{self, Link};
use crate::spelling::TRUTHS;
use crate::tenant::ValueType;
use crate::tree::{Node, Value};

/// `CTEMaterializeAlways`.
pub(super) const IS_FENCE: i64 = 2;
/// `LIMIT_OPTION_DEFAULT` made `LIMIT_OPTION_COUNT`, as the grammar does for any OFFSET.
pub(super) const FENCED: (i64, i64) = (1, 2);
/// The prefix of the rewriter's own aliases; clients may not use it.
const ALIAS_PREFIX: &str = "pgwarden_";

const AEXPR_OP: i64 = 1;
const AEXPR_DISTINCT: i64 = 4;
/// `OR_EXPR`.
const OR: i64 = 2;
/// `IS_NULL`.
const IS_NULL: i64 = 1;
const AND: i64 = 1;
const JOIN_INNER: i64 = 1;
const LIMIT_OPTION_DEFAULT: i64 = 1;
const SETOP_NONE: i64 = 1;

/// A comparison of a column with a value of the session.
pub(super) struct Predicate<'a> {
    /// The names before the column's: an alias, or schema and relation.
    pub(super) qualifier: Vec<&'a str>,
    /// The column.
    pub(super) column: &'a str,
    /// The slot.
    pub(super) slot: usize,
    /// The type that the value is cast to.
    pub(super) value_type: ValueType,
    /// The parents between the column and the value.
    pub(super) via: Vec<Link<'a>>,
}

/// Reads `<column> OPERATOR(pg_catalog.=) $n::pg_catalog.<type>`, or the EXISTS of a parent.
pub(super) fn predicate<'a>(node: &'a Node, claims: Claims<'_>) -> Option<Predicate<'a>> {
    if node.kind == "SubLink" {
        return via::predicate(node, claims);
    }
    let (column, value) = equality(node)?;
    let column = Some(column).filter(|column| column.kind == "ColumnRef")?;
    let mut qualifier = names(column.list("fields"))?;
    let column = qualifier.pop()?;
    let (slot, value_type) = session_value(value, claims)?;
    Some(Predicate {
        qualifier,
        column,
        slot,
        value_type,
        via: Vec::new(),
    })
}

/// Reads `<left> OPERATOR(pg_catalog.=) <right>`.
pub(super) fn equality(node: &Node) -> Option<(&Node, &Node)> {
    let whole = node.kind == "AExpr"
        && node.has_only(&["kind", "name", "lexpr", "rexpr"])
        && node.int("kind") == AEXPR_OP
        && names(node.list("name"))? == ["pg_catalog", "="];
    Some((node.node("lexpr")?, node.node("rexpr")?)).filter(|_| whole)
}

/// Whether a node is an equality of two sides as a client may write it.
pub(super) fn is_equality(node: &Node) -> bool {
    let name = names(node.list("name"));
    node.kind == "AExpr"
        && node.int("kind") == AEXPR_OP
        && matches!(name.as_deref(), Some(["="] | ["pg_catalog", "="]))
}

/// Reads `$n::pg_catalog.<type>` where `$n` is a hidden parameter.
pub(super) fn session_value(node: &Node, claims: Claims<'_>) -> Option<(usize, ValueType)> {
    if node.kind != "TypeCast" || !node.has_only(&["arg", "type_name"]) {
        return None;
    }
    let parameter = node.node("arg").filter(|arg| arg.kind == "ParamRef")?;
    let number = usize::try_from(parameter.int("number")).ok()?;
    let behind = number.checked_sub(usize::from(claims.own) + 1)?;
    let slot = *claims.findings.hidden.get(behind)?;
    let value_type = plain_type(node.node("type_name")?)?;
    Some((slot, value_type))
}

/// Whether `'t'::boolean` or `'f'::boolean` has become the same with the whole word.
pub(super) fn is_spelled_out(original: &Node, rewritten: &Node) -> bool {
    let constant = |cast: &'_ Node| {
        let arg = cast.node("arg").filter(|arg| arg.kind == "AConst")?;
        let text = arg.node("val").filter(|val| val.kind == "String")?;
        Some(text.text("sval").to_owned())
    };
    let name = original.node("type_name");
    let boolean = name
        .is_some_and(|name| names(name.list("names")).as_deref() == Some(&["pg_catalog", "bool"]));
    let (Some(before), Some(after)) = (constant(original), constant(rewritten)) else {
        return false;
    };
    boolean && TRUTHS.contains(&(before.as_str(), after.as_str()))
}

/// The type of a scope value, written as `pg_catalog.<name>`.
fn plain_type(name: &Node) -> Option<ValueType> {
    if !name.has_only(&["names", "typemod"]) || name.int("typemod") != -1 {
        return None;
    }
    match names(name.list("names"))?.as_slice() {
        ["pg_catalog", name] => [ValueType::Uuid, ValueType::Bigint, ValueType::Text]
            .into_iter()
            .find(|value_type| value_type.pg_name() == *name),
        _ => None,
    }
}

/// Reads `<column> IS DISTINCT FROM NULL`: the column.
pub(super) fn is_given(node: &Node) -> Option<Vec<&str>> {
    let whole = node.kind == "AExpr"
        && node.has_only(&["kind", "name", "lexpr", "rexpr"])
        && node.int("kind") == AEXPR_DISTINCT;
    let column = node
        .node("lexpr")
        .filter(|it| whole && it.kind == "ColumnRef")?;
    let null = node.node("rexpr").filter(|it| it.kind == "AConst")?;
    let is_null = null.has_only(&["isnull"]) && *null.field("isnull") == Value::True;
    is_null.then(|| names(column.list("fields")))?
}

/// The texts of a list of `String` nodes, if it is one.
pub(super) fn names(list: &[Value]) -> Option<Vec<&str>> {
    list.iter().map(Value::as_name).collect()
}

/// Reads a guard join: the relation, and the conditions.
pub(super) fn guard_join(node: &Node) -> Option<(&Node, &Node)> {
    let whole = node.kind == "JoinExpr"
        && node.has_only(&["jointype", "larg", "rarg", "quals"])
        && node.int("jointype") == JOIN_INNER
        && is_row_without_columns(node.node("rarg")?);
    whole.then_some((node.node("larg")?, node.node("quals")?))
}

/// `(SELECT) AS pgwarden_<n>`.
pub(super) fn is_row_without_columns(node: &Node) -> bool {
    let alias = node.node("alias");
    let select = node.node("subquery");
    node.kind == "RangeSubselect"
        && node.has_only(&["subquery", "alias"])
        && alias.is_some_and(|alias| {
            alias.has_only(&["aliasname"]) && alias.text("aliasname").starts_with(ALIAS_PREFIX)
        })
        && select.is_some_and(|select| {
            select.kind == "SelectStmt"
                && select.has_only(&["limit_option", "op"])
                && select.int("limit_option") == LIMIT_OPTION_DEFAULT
                && select.int("op") == SETOP_NONE
        })
}

/// Reads `(SELECT * FROM <join> OFFSET 0)`: the join.
pub(super) fn fenced_join(query: &Node) -> Option<&Node> {
    let ours = query.kind == "SelectStmt"
        && query.has_only(&[
            "target_list",
            "from_clause",
            "limit_offset",
            "limit_option",
            "op",
        ])
        && query.int("op") == SETOP_NONE
        && query.int("limit_option") == FENCED.1
        && is_zero(query.node("limit_offset")?);
    let ([target], [join]) = (query.list("target_list"), query.list("from_clause")) else {
        return None;
    };
    let target = target.as_node().filter(|it| it.has_only(&["val"]))?;
    let [star] = target.node("val")?.list("fields") else {
        return None;
    };
    let is_star = star.as_node()?.kind == "AStar";
    let join = join.as_node().filter(|join| join.kind == "JoinExpr")?;
    (ours && is_star && join.node("alias").is_none()).then_some(join)
}

/// The conjuncts of a condition, nested ANDs flattened: their order and nesting mean nothing.
pub(super) fn conjuncts(condition: Option<&Node>) -> Vec<&Node> {
    let mut found = Vec::new();
    if let Some(condition) = condition {
        flatten(condition, &mut found);
    }
    found
}

fn flatten<'a>(condition: &'a Node, found: &mut Vec<&'a Node>) {
    if condition.kind == "BoolExpr" && condition.int("boolop") == AND {
        let parts = condition.list("args").iter().filter_map(Value::as_node);
        parts.for_each(|part| flatten(part, found));
    } else {
        found.push(condition);
    }
}

/// Reads `CASE WHEN <when> THEN <then> ELSE false END`.
pub(super) fn barrier(node: &Node) -> Option<(&Node, &Node)> {
    let (when, then, other) = case(node)?;
    is_boolean(other, false).then_some((when, then))
}

/// Reads `CASE WHEN <when> THEN <then> END`, where all that `<when>` says admits a relation's rows.
pub(super) fn side_barrier<'a>(node: &'a Node, claims: Claims<'_>) -> Option<(&'a Node, &'a Node)> {
    let (when, then) = only_arm(node, &["args"])?;
    let conditions = conjuncts(Some(when));
    let admits = |part: &&Node| admission(part, claims).is_some();
    conditions.iter().all(admits).then_some((when, then))
}

/// Whether a node is a barrier that was injected.
pub(super) fn is_barrier(node: &Node, claims: Claims<'_>) -> bool {
    let Some((when, _)) = barrier(node) else {
        return false;
    };
    let conditions = conjuncts(Some(when));
    is_after_grouping(when)
        || conditions
            .iter()
            .all(|part| admission(part, claims).is_some())
}

/// Reads a predicate, or `(<predicate> OR <relation>.tableoid IS NULL)`: the row of a relation, or
/// one that an outer join made up, in which even the system columns are NULL.
pub(super) fn admission<'a>(node: &'a Node, claims: Claims<'_>) -> Option<Predicate<'a>> {
    if node.kind != "BoolExpr" {
        return predicate(node, claims);
    }
    let [either, made_up] = node.list("args") else {
        return None;
    };
    let (either, made_up) = (either.as_node()?, made_up.as_node()?);
    let found = predicate(either, claims)?;
    let column = made_up.node("arg").filter(|arg| arg.kind == "ColumnRef")?;
    let mut qualifier = names(column.list("fields"))?;
    let is_test = made_up.kind == "NullTest"
        && made_up.int("nulltesttype") == IS_NULL
        && made_up.has_only(&["arg", "nulltesttype"]);
    let fits = node.int("boolop") == OR
        && is_test
        && qualifier.pop()? == "tableoid"
        && qualifier == found.qualifier;
    fits.then_some(found)
}

/// Reads `CASE WHEN <when> THEN <then> ELSE <other> END`.
pub(super) fn case(node: &Node) -> Option<(&Node, &Node, &Node)> {
    let (when, then) = only_arm(node, &["args", "defresult"])?;
    Some((when, then, node.node("defresult")?))
}

/// The condition and the result of a CASE that has one WHEN, and nothing set but `fields`.
pub(super) fn only_arm<'a>(node: &'a Node, fields: &[&str]) -> Option<(&'a Node, &'a Node)> {
    let whole = node.kind == "CaseExpr" && node.has_only(fields);
    match node.list("args") {
        [when] if whole => {
            let when = when.as_node()?;
            let plain = when.has_only(&["expr", "result"]);
            Some((when.node("expr")?, when.node("result")?)).filter(|_| plain)
        }
        _ => None,
    }
}

/// Reads `pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0`.
pub(super) fn is_after_grouping(node: &Node) -> bool {
    let compares = node.kind == "AExpr"
        && node.int("kind") == AEXPR_OP
        && names(node.list("name")).is_some_and(|names| names == ["pg_catalog", ">="])
        && node.node("rexpr").is_some_and(is_zero);
    let Some(count) = node.node("lexpr").filter(|_| compares) else {
        return false;
    };
    count.kind == "FuncCall"
        && count.has_only(&["funcname", "agg_star", "funcformat"])
        && *count.field("agg_star") == Value::True
        && names(count.list("funcname")).is_some_and(|names| names == ["pg_catalog", "count"])
}

/// The constant `true` or `false`.
pub(super) fn is_boolean(node: &Node, expected: bool) -> bool {
    let value = node.node("val").filter(|value| value.kind == "Boolean");
    let given = value.map(|value| *value.field("boolval") == Value::True);
    node.kind == "AConst" && node.has_only(&["val"]) && given == Some(expected)
}

/// The constant 0.
pub(super) fn is_zero(node: &Node) -> bool {
    let zero = |value: &Node| value.kind == "Integer" && value.fields.is_empty();
    node.kind == "AConst" && node.has_only(&["val"]) && node.node("val").is_some_and(zero)
}

/// An expression that can only raise: `('pgwarden: …' || …)::pg_catalog.bool`, since no text with
/// that beginning is a truth value.
pub(super) fn raises(node: &Node) -> bool {
    let to_boolean = node.kind == "TypeCast"
        && node.has_only(&["arg", "type_name"])
        && node.node("type_name").is_some_and(|name| {
            name.has_only(&["names", "typemod"])
                && names(name.list("names")).is_some_and(|names| names == ["pg_catalog", "bool"])
        });
    let Some(text) = node.node("arg").filter(|_| to_boolean) else {
        return false;
    };
    let operator = names(text.list("name"));
    let is_concatenation = text.kind == "AExpr"
        && text.int("kind") == AEXPR_OP
        && operator.is_some_and(|name| matches!(name.as_slice(), ["||"] | ["pg_catalog", "||"]));
    let message = text.node("lexpr").and_then(|left| left.node("val"));
    is_concatenation
        && text.node("rexpr").is_some_and(is_nothing)
        && message.is_some_and(|value| value.text("sval").starts_with("pgwarden: "))
}

/// `pg_catalog.left(pg_catalog.num_nulls(<column>)::pg_catalog.text, 0)`, or of the clock: an empty text, never NULL,
/// which would keep the concatenation from raising.
fn is_nothing(node: &Node) -> bool {
    let Some([number, zero]) = call(node, "left") else {
        return false;
    };
    let number = number
        .as_node()
        .filter(|number| number.kind == "TypeCast" && number.has_only(&["arg", "type_name"]));
    let counted = number.and_then(|number| number.node("arg"));
    let counted = counted.and_then(|counted| call(counted, "num_nulls"));
    let column = |value: &Value| value.as_node().is_some_and(|node| node.kind == "ColumnRef");
    let of_row = matches!(counted, Some([only]) if column(only));
    let clock = number.and_then(|number| number.node("arg"));
    let clock = clock.and_then(|clock| call(clock, "clock_timestamp"));
    (of_row || clock == Some(&[])) && zero.as_node().is_some_and(is_zero)
}

/// The arguments of a plain call of a function of pg_catalog.
pub(super) fn call<'a>(node: &'a Node, function: &str) -> Option<&'a [Value]> {
    let whole = node.kind == "FuncCall"
        && node.has_only(&["funcname", "args", "funcformat"])
        && names(node.list("funcname"))? == ["pg_catalog", function];
    whole.then_some(node.list("args"))
}
