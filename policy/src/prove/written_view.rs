//! A view that is written to, as it is: it shows one table plainly, and the keys that the judge gives
//! it are those of the table. Worked out here from the stored query.

use super::{Decision, Gap, Places, Step, Walk, forms, need};
use crate::catalog::Relation;
use crate::judge::Key;
use crate::tree::{Node, Value};

/// How deep views may stand on views.
const GENERATIONS: u8 = 16;
const LIMIT_OPTION_DEFAULT: i64 = 1;
const SETOP_NONE: i64 = 1;

impl Walk<'_> {
    /// The target of a write, which the judge took for a view.
    pub(super) fn written_view(
        &self,
        (schema, name): (&str, &str),
        target: &Node,
        claimed: &[Key],
        inside: &Places,
    ) -> Step {
        need(self.at_target, "a view is not replaced by its query")?;
        need(*target.field("inh") == Value::True, "a part of a view")?;
        let view = self.claims.catalog.relation(schema, name);
        let view = view.ok_or(Gap("a view is not known"))?;
        let shown = self.shown_keys(view, inside, GENERATIONS)?;
        need(shown == claimed, "a view shows other keys")
    }

    /// The keys of the table behind a view, by the names of the view's columns.
    fn shown_keys(&self, view: &Relation, inside: &Places, depth: u8) -> Result<Vec<Key>, Gap> {
        need(
            !view.redirects_writes && depth > 0,
            "a view writes elsewhere",
        )?;
        need(
            inside.is_quiet(),
            "a condition of a view that is written to can leak",
        )?;
        let query = self.claims.views.of(view.oid);
        let query = query.and_then(|view| view.tree());
        let query = query.ok_or(Gap("a view has no query"))?;
        let range = only_relation(query)?;
        let (schema, name) = (range.text("schemaname"), range.text("relname"));
        let table = self.claims.catalog.relation(schema, name);
        let table = table.ok_or(Gap("a table behind a view is not known"))?;
        need(!table.redirects_writes, "a view writes elsewhere")?;
        let [(at, decision)] = inside.decisions.as_slice() else {
            return Err(Gap("a view shows several tables"));
        };
        let (decided, keys) = match decision {
            Decision::Relation {
                schema,
                name,
                scoped,
            } => ((schema, name), scoped.clone()),
            Decision::View {
                schema,
                name,
                inside,
            } => ((schema, name), self.shown_keys(table, inside, depth - 1)?),
            Decision::WrittenView { .. } | Decision::Cte => return Err(Gap("not a table")),
        };
        need(
            *at == range.location() && decided == (&table.schema, &table.name),
            "a view shows another table",
        )?;
        let renamed = |key: Key| {
            let column = shown_as(view, query.list("target_list"), &key.column)?;
            Ok(Key { column, ..key })
        };
        keys.into_iter().map(renamed).collect()
    }
}

/// The relation of a query that has nothing but columns, one relation and conditions.
fn only_relation(query: &Node) -> Result<&Node, Gap> {
    let plain = query.kind == "SelectStmt"
        && query.has_only(&[
            "target_list",
            "from_clause",
            "where_clause",
            "limit_option",
            "op",
        ])
        && query.int("limit_option") == LIMIT_OPTION_DEFAULT
        && query.int("op") == SETOP_NONE
        && !query.holds("SubLink");
    let [from] = query.list("from_clause") else {
        return Err(Gap("a view shows several tables"));
    };
    let range = from
        .as_node()
        .filter(|from| plain && from.kind == "RangeVar");
    let range = range.ok_or(Gap("a view is more than one table"))?;
    let renamed = range
        .node("alias")
        .is_some_and(|alias| !alias.has_only(&["aliasname"]));
    need(!renamed, "a view renames a table's columns")?;
    Ok(range)
}

/// The name of the view's only column that is a column of the table.
fn shown_as(view: &Relation, targets: &[Value], wanted: &str) -> Result<String, Gap> {
    need(
        targets.len() == view.columns.len(),
        "a view has other columns",
    )?;
    let shows = |target: &Value| {
        let value = target.as_node().and_then(|target| target.node("val"));
        let column = value.filter(|value| value.kind == "ColumnRef");
        let names = column.and_then(|column| forms::names(column.list("fields")));
        names.is_some_and(|names| names.last() == Some(&wanted))
    };
    let pairs = view.columns.iter().zip(targets);
    let mut shown = pairs.filter(|(_, target)| shows(target));
    match (shown.next(), shown.next()) {
        (Some((column, _)), None) => Ok(column.name.clone()),
        _ => Err(Gap("a view does not show a key once")),
    }
}
