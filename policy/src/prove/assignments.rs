//! SET: a key may only be set to the session's own value, by itself or in a row.

use super::{Gap, Step, Walk, gap, need, wrapped};
use crate::judge::Key;
use crate::tree::{Node, Value};

const EXPR_SUBLINK: i64 = 5;

/// The relation whose columns SET assigns.
#[derive(Clone, Copy)]
pub(super) struct Target {
    /// Its place among the query's relations.
    pub(super) source: usize,
    /// Whether the query has no other, so that a bare column is its own.
    pub(super) alone: bool,
}

/// The keys of a row of columns, by their place in it.
struct Row<'a> {
    width: usize,
    keys: Vec<(usize, &'a Key)>,
}

impl<'a> Walk<'a> {
    pub(super) fn assignments(
        &mut self,
        original: &'a [Value],
        rewritten: &'a [Value],
        target: Target,
    ) -> Step {
        need(original.len() == rewritten.len(), "SET has another length")?;
        let keys: Vec<&Key> = self.target_keys(target.source);
        for (at, (before, after)) in original.iter().zip(rewritten).enumerate() {
            let (Some(before), Some(after)) = (before.as_node(), after.as_node()) else {
                return gap("not an assignment");
            };
            self.pair(before, after);
            self.fields(before, after, &["val"])?;
            let (Some(value), Some(there)) = (before.node("val"), after.node("val")) else {
                return gap("nothing is assigned");
            };
            if value.kind == "MultiAssignRef" && there.kind == value.kind {
                self.fields(value, there, &["source"])?;
                let row = row_of(there, rewritten, at, &keys)?;
                self.assigned_row(value, there, &row, target)?;
                continue;
            }
            match key_of(after, &keys)? {
                Some(key) => {
                    self.written_value(before.field("val"), after.field("val"), key, target.alone)?
                }
                None => self.node(value, there)?,
            }
        }
        Ok(())
    }

    fn assigned_row(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        row: &Row<'_>,
        target: Target,
    ) -> Step {
        let (Some(before), Some(after)) = (original.node("source"), rewritten.node("source"))
        else {
            return gap("nothing is assigned");
        };
        match (before.kind, after.kind) {
            ("RowExpr", "RowExpr") => self.assigned_values(before, after, row, target),
            ("SubLink", "SubLink") if !row.keys.is_empty() => {
                self.assigned_query(before, after, row)
            }
            _ => {
                need(row.keys.is_empty(), "a written key is not known")?;
                self.node(before, after)
            }
        }
    }

    fn assigned_values(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        row: &Row<'_>,
        target: Target,
    ) -> Step {
        self.pair(original, rewritten);
        self.fields(original, rewritten, &["args"])?;
        let (before, after) = (original.list("args"), rewritten.list("args"));
        let whole = before.len() == row.width && after.len() == row.width;
        need(whole, "a row has another length")?;
        for (at, (before, after)) in before.iter().zip(after).enumerate() {
            match row.keys.iter().find(|(place, _)| *place == at) {
                Some((_, key)) => self.written_value(before, after, key, target.alone)?,
                None => self.value(before, after)?,
            }
        }
        Ok(())
    }

    /// The query's row is looked at behind an outer join with a row that is always there.
    fn assigned_query(&mut self, original: &'a Node, rewritten: &'a Node, row: &Row<'_>) -> Step {
        self.pair(original, rewritten);
        need(
            original.int("sub_link_type") == EXPR_SUBLINK,
            "not a query of one row",
        )?;
        self.fields(original, rewritten, &["subselect"])?;
        let there = rewritten.node("subselect").ok_or(Gap("no query"))?;
        let (inner, outputs) =
            wrapped::one_row(there, self.claims).ok_or(Gap("a row is not looked at"))?;
        need(outputs.len() == row.width, "a row has another length")?;
        for (at, output) in outputs.iter().enumerate() {
            let key = row.keys.iter().find(|(place, _)| *place == at);
            need(
                key.is_none_or(|(_, key)| key.via.is_none()),
                "a query gives a reference",
            )?;
            let expected = key.map(|(_, key)| (key.slot, key.value_type));
            need(output.is_column(at, expected), "a column is not its own")?;
        }
        let query = original.node("subselect").ok_or(Gap("no query"))?;
        self.node(query, inner)
    }
}

/// The key that is assigned, if it is one. A part of one is never the session's value.
fn key_of<'k>(assignment: &Node, keys: &[&'k Key]) -> Result<Option<&'k Key>, Gap> {
    let mut keys = keys.iter();
    let key = keys.find(|key| key.column == assignment.text("name"));
    let whole = assignment.list("indirection").is_empty();
    match key {
        Some(_) if !whole => Err(Gap("a part of a key is assigned")),
        key => Ok(key.copied()),
    }
}

/// The row that the assignment in place `at` belongs to: the columns stand in a row of their own.
fn row_of<'k>(
    multi: &Node,
    assignments: &[Value],
    at: usize,
    keys: &[&'k Key],
) -> Result<Row<'k>, Gap> {
    let number = |name| usize::try_from(multi.int(name)).ok();
    let first = number("colno").and_then(|number| (at + 1).checked_sub(number));
    let columns = first.zip(number("ncolumns"));
    let columns = columns.and_then(|(first, width)| assignments.get(first..)?.get(..width));
    let columns = columns.ok_or(Gap("a row of other columns"))?;
    let mut found = Vec::new();
    for (place, column) in columns.iter().enumerate() {
        let column = column.as_node().ok_or(Gap("not an assignment"))?;
        let value = column.node("val").filter(|it| it.kind == "MultiAssignRef");
        let colno = value.and_then(|value| usize::try_from(value.int("colno")).ok());
        need(colno == Some(place + 1), "a row of other columns")?;
        found.extend(key_of(column, keys)?.map(|key| (place, key)));
    }
    Ok(Row {
        width: columns.len(),
        keys: found,
    })
}
