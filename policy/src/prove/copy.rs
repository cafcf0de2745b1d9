//! COPY TO of a scoped table: a query over the table's own rows, with the columns that COPY writes.

use super::{Gap, Step, Walk, need};
use crate::catalog::{Relation, RelationKind};
use crate::tree::{Node, Value};

/// `SETOP_NONE` and `LIMIT_OPTION_DEFAULT`.
const PLAIN: i64 = 1;

impl<'a> Walk<'a> {
    pub(super) fn copy(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let was = (original.node("relation"), original.node("query"));
        let is = (rewritten.node("relation"), rewritten.node("query"));
        let ((Some(table), None), (None, Some(query))) = (was, is) else {
            return self.fields(original, rewritten, &[]);
        };
        need(
            *original.field("is_from") == Value::Default && original.node("where_clause").is_none(),
            "COPY FROM became a query",
        )?;
        need(rewritten.list("attlist").is_empty(), "columns were added")?;
        let simple = query.kind == "SelectStmt"
            && query.has_only(&[
                "target_list",
                "from_clause",
                "where_clause",
                "limit_option",
                "op",
            ])
            && query.int("op") == PLAIN
            && query.int("limit_option") == PLAIN;
        need(simple, "COPY is of another query")?;
        let [range] = query.list("from_clause") else {
            return Err(Gap("COPY is of several relations"));
        };
        let range = range.as_node().ok_or(Gap("not a relation"))?;
        let known = self.decided_table(table)?;
        own_rows(known, range)?;
        same_columns(known, original.list("attlist"), query.list("target_list"))?;
        self.levels.push(Vec::new());
        self.pair(table, range);
        let keys = self.relation_but(table, range, &["inh"])?;
        let source = self.source(table, range, keys, true)?;
        self.levels.last_mut().ok_or(Gap("no query"))?.push(source);
        self.filter(None, query.node("where_clause"))?;
        self.all_guarded()?;
        self.fields(original, rewritten, &["relation", "query", "attlist"])
    }
}

/// COPY writes the rows of the table itself.
fn own_rows(table: &Relation, range: &Node) -> Step {
    need(
        table.kind == RelationKind::Table && *range.field("inh") == Value::Default,
        "COPY is of other rows",
    )
}

/// The columns that were named, or all that are stored, in order.
fn same_columns(table: &Relation, named: &[Value], targets: &[Value]) -> Step {
    let named: Option<Vec<&str>> = named.iter().map(Value::as_name).collect();
    let named = named.ok_or(Gap("not a column's name"))?;
    let columns: Vec<&str> = if named.is_empty() {
        let stored = table.columns.iter().filter(|column| !column.generated);
        stored.map(|column| column.name.as_str()).collect()
    } else {
        need(
            named.iter().all(|name| table.column(name).is_some()),
            "a column is not the table's",
        )?;
        named
    };
    let written: Option<Vec<&str>> = targets.iter().map(plain_column).collect();
    need(
        written.as_deref() == Some(columns.as_slice()),
        "COPY is of other columns",
    )
}

/// The name of an output that is a column and nothing else.
fn plain_column(target: &Value) -> Option<&str> {
    let target = target.as_node()?;
    let value = target.node("val")?;
    let plain = target.kind == "ResTarget"
        && target.has_only(&["val"])
        && value.kind == "ColumnRef"
        && value.has_only(&["fields"]);
    match value.list("fields") {
        [name] if plain => name.as_name(),
        _ => None,
    }
}
