//! The columns that a condition needs: where one of them is NULL, it is not true.
//!
//! PostgreSQL makes an inner join of an outer one whose nullable side WHERE needs, and a FULL JOIN without an
//! equality can be made in no other way. It does not look for that into the CASE of a barrier, so the
//! rewriter says it beside: `<column> IS DISTINCT FROM NULL`, which is true wherever the condition is. What is
//! found here is read off the tree: operators and functions of PostgreSQL's own that give NULL for a NULL
//! (`STRICT`, which a test holds against the server), casts to its own types, and the logic of three values.

use crate::tree::{Node, Value};

/// A column as it was written: its name, perhaps behind a relation's.
pub(crate) type Path<'a> = Vec<&'a str>;

/// Operators of which every one that pg_catalog has gives NULL for a NULL.
pub(crate) const STRICT_OPERATORS: &[&str] = &[
    "=", "<>", "<", ">", "<=", ">=", "+", "-", "*", "/", "%", "^", "~~", "!~~", "~~*", "!~~*", "~",
    "!~", "~*", "!~*", "->", "->>", "#>", "#>>", "@>", "<@", "?", "?|", "?&", "&&", "@@", "^@",
];

/// Functions of which every one that pg_catalog has gives NULL for a NULL.
pub(crate) const STRICT_FUNCTIONS: &[&str] = &[
    "abs",
    "array_length",
    "array_lower",
    "array_ndims",
    "array_upper",
    "ascii",
    "btrim",
    "cardinality",
    "ceil",
    "ceiling",
    "char_length",
    "date_part",
    "date_trunc",
    "div",
    "exp",
    "extract",
    "floor",
    "initcap",
    "jsonb_array_length",
    "jsonb_typeof",
    "left",
    "length",
    "like_escape",
    "ln",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "md5",
    "mod",
    "octet_length",
    "position",
    "power",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "rpad",
    "rtrim",
    "sign",
    "split_part",
    "sqrt",
    "starts_with",
    "strpos",
    "substr",
    "substring",
    "timezone",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "translate",
    "trunc",
    "upper",
    "width_bucket",
];

/// Types of pg_catalog whose casts give NULL for a NULL.
const TYPES: &[&str] = &[
    "bool",
    "bpchar",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "numeric",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "uuid",
    "varchar",
];

mod kind {
    pub(super) const OP: i64 = 1;
    pub(super) const OP_ANY: i64 = 2;
    pub(super) const IN: i64 = 7;
    pub(super) const LIKE: i64 = 8;
    pub(super) const ILIKE: i64 = 9;
    pub(super) const SIMILAR: i64 = 10;
    pub(super) const BETWEEN: i64 = 11;
    pub(super) const NOT_BETWEEN_SYM: i64 = 14;
}
const AND: i64 = 1;
const OR: i64 = 2;
const ANY_SUBLINK: i64 = 3;
const IS_NOT_NULL: i64 = 2;
const IS_TRUE: i64 = 1;
const IS_FALSE: i64 = 3;
const IS_NOT_UNKNOWN: i64 = 6;

/// Reads conditions; names that somebody else has given to an operator or function, too, say nothing.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'o>(pub(crate) &'o dyn Fn(&str) -> bool);

impl Reader<'_> {
    /// The columns that are not NULL wherever a condition is true.
    pub(crate) fn by_truth<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        match node.kind {
            "BoolExpr" => {
                let parts = nodes(node.list("args"));
                match node.int("boolop") {
                    AND => parts.flat_map(|it| self.by_truth(it)).collect(),
                    OR => in_all(parts.map(|it| self.by_truth(it))),
                    _ => parts.flat_map(|it| self.by_value(it)).collect(),
                }
            }
            "NullTest" if node.int("nulltesttype") == IS_NOT_NULL => self.of_field(node, "arg"),
            "BooleanTest" => match (node.int("booltesttype"), node.node("arg")) {
                (IS_TRUE, Some(arg)) => self.by_truth(arg),
                (IS_FALSE | IS_NOT_UNKNOWN, Some(arg)) => self.by_value(arg),
                _ => Vec::new(),
            },
            "SubLink" if node.int("sub_link_type") == ANY_SUBLINK => self.by_sublink(node),
            "AExpr" => match node.int("kind") {
                kind::OP if is_row(node, "lexpr") || is_row(node, "rexpr") => self.by_rows(node),
                kind::IN if is_row(node, "lexpr") && self.is_equality(node) => {
                    self.each(node.node("lexpr"))
                }
                kind::OP_ANY if self.is_strict(node) && !is_row(node, "lexpr") => self.both(node),
                _ => self.by_value(node),
            },
            _ => self.by_value(node),
        }
    }

    /// The columns that are not NULL wherever an expression is not.
    fn by_value<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        match node.kind {
            "ColumnRef" => {
                let path: Option<Path<'_>> =
                    node.list("fields").iter().map(Value::as_name).collect();
                path.filter(|path| path.len() <= 2).into_iter().collect()
            }
            "BoolExpr" if !matches!(node.int("boolop"), AND | OR) => self.all(node.list("args")),
            "CollateClause" => self.of_field(node, "arg"),
            "TypeCast" if is_plain_type(node) => self.of_field(node, "arg"),
            "FuncCall" if self.is_strict_call(node) => self.all(node.list("args")),
            "AExpr" if !is_row(node, "lexpr") && !is_row(node, "rexpr") => self.by_operator(node),
            _ => Vec::new(),
        }
    }

    fn by_operator<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        let ordered = || ["<", ">", "<=", ">="].iter().all(|name| (self.0)(name));
        match node.int("kind") {
            kind::OP | kind::LIKE | kind::ILIKE if self.is_strict(node) => self.both(node),
            kind::IN | kind::SIMILAR if self.is_strict(node) => self.of_field(node, "lexpr"),
            kind::BETWEEN..=kind::NOT_BETWEEN_SYM if ordered() => self.of_field(node, "lexpr"),
            _ => Vec::new(),
        }
    }

    /// `(a, b) = (c, d)` is `a = c AND b = d`.
    fn by_rows<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        if !is_row(node, "lexpr") || !is_row(node, "rexpr") || !self.is_equality(node) {
            return Vec::new();
        }
        let mut found = self.each(node.node("lexpr"));
        found.extend(self.each(node.node("rexpr")));
        found
    }

    /// `a = ANY (SELECT …)`, or of a row.
    fn by_sublink<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        let operator = node.list("oper_name");
        let is_in = operator.is_empty() && (self.0)("=");
        match node.node("testexpr") {
            Some(row) if row.kind == "RowExpr" && is_in => self.each(Some(row)),
            Some(value) if value.kind != "RowExpr" && (is_in || self.is_known(operator)) => {
                self.by_value(value)
            }
            _ => Vec::new(),
        }
    }

    fn each<'a>(self, row: Option<&'a Node>) -> Vec<Path<'a>> {
        row.map(|row| self.all(row.list("args")))
            .unwrap_or_default()
    }

    fn all<'a>(self, parts: &'a [Value]) -> Vec<Path<'a>> {
        nodes(parts).flat_map(|it| self.by_value(it)).collect()
    }

    fn both<'a>(self, node: &'a Node) -> Vec<Path<'a>> {
        let mut found = self.of_field(node, "lexpr");
        found.extend(self.of_field(node, "rexpr"));
        found
    }

    fn of_field<'a>(self, node: &'a Node, field: &str) -> Vec<Path<'a>> {
        let part = node.node(field);
        part.map(|part| self.by_value(part)).unwrap_or_default()
    }

    fn is_equality(self, node: &Node) -> bool {
        own_name(node.list("name")) == Some("=") && (self.0)("=")
    }

    fn is_strict(self, node: &Node) -> bool {
        self.is_known(node.list("name"))
    }

    fn is_known(self, operator: &[Value]) -> bool {
        let name = own_name(operator);
        name.is_some_and(|name| STRICT_OPERATORS.contains(&name) && (self.0)(name))
    }

    fn is_strict_call(self, node: &Node) -> bool {
        let name = own_name(node.list("funcname"));
        node.has_only(&["funcname", "args", "funcformat", "location"])
            && name.is_some_and(|name| STRICT_FUNCTIONS.contains(&name) && (self.0)(name))
    }
}

fn nodes(items: &[Value]) -> impl Iterator<Item = &Node> {
    items.iter().filter_map(Value::as_node)
}

fn in_all<'a>(mut each: impl Iterator<Item = Vec<Path<'a>>>) -> Vec<Path<'a>> {
    let mut found = each.next().unwrap_or_default();
    for other in each {
        found.retain(|path| other.contains(path));
    }
    found
}

fn is_row(node: &Node, side: &str) -> bool {
    node.node(side).is_some_and(|side| side.kind == "RowExpr")
}

fn is_plain_type(cast: &Node) -> bool {
    let name = cast.node("type_name");
    let plain = name.filter(|name| name.list("array_bounds").is_empty());
    plain
        .and_then(|name| own_name(name.list("names")))
        .is_some_and(|name| TYPES.contains(&name))
}

/// A name without a schema, or in pg_catalog.
fn own_name(names: &[Value]) -> Option<&str> {
    match names {
        [name] => name.as_name(),
        [schema, name] if schema.as_name() == Some("pg_catalog") => name.as_name(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parse, tree};

    fn needed(condition: &str) -> Vec<String> {
        let text = format!("SELECT 1 WHERE {condition}");
        let parsed = parse::parse(&text).expect("it is SQL");
        let tree = tree::of(&parsed).expect("a tree");
        let mut found = Vec::new();
        conditions(&tree, &mut |condition| {
            let needed = Reader(&|_| true).by_truth(condition);
            found.extend(needed.iter().map(|path| path.join(".")));
        });
        found.sort();
        found.dedup();
        found
    }

    fn conditions(node: &Node, each: &mut impl FnMut(&Node)) {
        if let Some(condition) = node.node("where_clause") {
            return each(condition);
        }
        for (_, value) in &node.fields {
            match value {
                Value::Node(node) => conditions(node, each),
                Value::List(items) => nodes(items).for_each(|node| conditions(node, each)),
                _ => {}
            }
        }
    }

    #[test]
    fn what_is_null_for_a_null_needs_its_columns() {
        for (condition, columns) in [
            ("1/(t.a - 7) > b", "b t.a"),
            ("(a, b) = (c, 1)", "a b c"),
            ("t.a::int IN (1, x)", "t.a"),
            ("a NOT IN (1, 2)", "a"),
            ("a NOT BETWEEN x AND y", "a"),
            ("a::jsonb @> to_jsonb(b)", "a b"),
            ("a IN (SELECT x FROM t)", "a"),
            ("(a, b) IN (SELECT x, y FROM t)", "a b"),
            ("a < ANY (SELECT x FROM t)", "a"),
            ("a = ANY (b)", "a b"),
            ("lower(a) LIKE b AND (c > 1 OR c < -1)", "a b c"),
            ("NOT a > 1", "a"),
            ("(a > 1) IS FALSE", "a"),
            ("a::text IS NOT NULL", "a"),
            ("(a COLLATE \"C\") > 'x'", "a"),
        ] {
            assert_eq!(needed(condition).join(" "), columns, "{condition}");
        }
    }

    #[test]
    fn what_may_be_true_of_a_null_needs_nothing() {
        for condition in [
            "a IS NULL",
            "a IS DISTINCT FROM 1",
            "coalesce(a, 1) = 1",
            "a > 1 OR b > 1",
            "CASE WHEN a IS NULL THEN true END",
            "a NOT IN (SELECT x FROM t)",
            "NOT (a IN (SELECT x FROM t))",
            "a > ALL (b)",
            "a > ALL (SELECT x FROM t)",
            "(a, b) <> (1, 2)",
            "(a, b) < (1, 2)",
            "(a > 1) IS NOT TRUE",
            "(a > 1) IS UNKNOWN",
            "NOT (a > 1 AND b > 1)",
            "a || b = ARRAY[1]",
            "concat(a, b) = 'x'",
            "a OPERATOR(x.=) 1",
            "x.lower(a) = 'x'",
            "a::my_type = 1",
            "EXISTS (SELECT FROM t WHERE t.x = a)",
            "t.* = ROW(1)",
        ] {
            assert_eq!(needed(condition), Vec::<String>::new(), "{condition}");
        }
    }

    #[test]
    fn a_name_that_somebody_else_has_given_too_says_nothing() {
        let text = "SELECT 1 WHERE lower(a) = b AND c IN (1, 2) AND d BETWEEN 1 AND 2";
        let tree = tree::of(&parse::parse(text).expect("it is SQL")).expect("a tree");
        let among = |known: &[&str]| {
            let known: Vec<&str> = known.to_vec();
            let mut found = Vec::new();
            conditions(&tree, &mut |condition| {
                let own = |name: &str| known.contains(&name);
                found.extend(
                    Reader(&own)
                        .by_truth(condition)
                        .iter()
                        .map(|it| it.join(".")),
                );
            });
            found.join(" ")
        };
        assert_eq!(among(&["=", "lower"]), "a b c");
        assert_eq!(among(&["="]), "b c");
        assert_eq!(among(&["<", ">", "<=", ">="]), "d");
        assert_eq!(among(&[]), "");
    }
}
