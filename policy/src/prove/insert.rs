//! INSERT and ON CONFLICT: a written key must be the session's own value.

use super::assignments::Target;
use super::{Gap, Step, Walk, forms, gap, need, wrapped};
use crate::judge::{Decision, Key};
use crate::tree::{Node, Value};

const ONCONFLICT_UPDATE: i64 = 3;

impl<'a> Walk<'a> {
    pub(super) fn insert(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            let (Some(target), Some(target_there)) =
                (original.node("relation"), rewritten.node("relation"))
            else {
                return gap("no target");
            };
            walk.pair(target, target_there);
            walk.at_target = true;
            let keys = walk.relation(target, target_there);
            walk.at_target = false;
            let keys = keys?;
            walk.rows(original, rewritten, keys)?;
            // In ON CONFLICT and RETURNING the target has a name; its rows are guarded there by
            // the values and by the condition of the update.
            let source = walk.source(target, target_there, keys, false)?;
            walk.levels.last_mut().ok_or(Gap("no query"))?.push(source);
            walk.conflict(
                original.node("on_conflict_clause"),
                rewritten.node("on_conflict_clause"),
            )?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "relation",
                    "cols",
                    "select_stmt",
                    "on_conflict_clause",
                ],
            )?;
            walk.levels.pop();
            Ok(())
        })
    }

    /// The columns and the rows.
    fn rows(&mut self, original: &'a Node, rewritten: &'a Node, keys: &'a [Key]) -> Step {
        let insert = original;
        let (columns, columns_there) = (original.list("cols"), rewritten.list("cols"));
        let given = self.given_columns(original, columns, columns_there)?;
        let filled = columns_there.get(given..).unwrap_or_default();
        let fills = self.filled_keys(filled, &keys.iter().collect::<Vec<_>>())?;
        match (original.node("select_stmt"), rewritten.node("select_stmt")) {
            (None, None) => need(keys.is_empty(), "DEFAULT VALUES leave a key open"),
            // DEFAULT VALUES became a row of the keys alone.
            (None, Some(rewritten)) => {
                need(
                    given == 0 && rewritten.has_only(&["values_lists", "limit_option", "op"]),
                    "not a row",
                )?;
                let [row] = rewritten.list("values_lists") else {
                    return gap("not one row");
                };
                self.fill(&fills, row.as_node().map_or(&[], |row| row.list("items")))?;
                need(fills.len() == keys.len(), "a key is left open")
            }
            (Some(rows), Some(rows_there)) => {
                let mut at = Vec::with_capacity(keys.len());
                for key in keys {
                    at.push((self.column_of(insert, columns_there, key)?, key));
                }
                let write = Write {
                    keys: &at,
                    fills: &fills,
                };
                self.query_rows(rows, rows_there, &write)
            }
            (Some(_), None) => gap("the rows are gone"),
        }
    }

    /// How many of the rewritten columns are the client's own. A missing list may have been written
    /// out: as many columns as the rows have, in the table's order.
    fn given_columns(
        &mut self,
        original: &'a Node,
        columns: &'a [Value],
        there: &'a [Value],
    ) -> Result<usize, Gap> {
        if !columns.is_empty() || there.is_empty() || original.node("select_stmt").is_none() {
            let same = there.get(..columns.len()).ok_or(Gap("a column is gone"))?;
            self.list(columns, same)?;
            return Ok(columns.len());
        }
        let known = self.insert_table(original)?;
        let width = original.node("select_stmt").map_or(0, width);
        need(width > 0 && width <= there.len(), "a column is gone")?;
        for (column, there) in known.columns.iter().zip(there).take(width) {
            let there = there.as_node().filter(|there| there.has_only(&["name"]));
            let same = there.is_some_and(|there| there.text("name") == column.name);
            need(same, "a column is in another place")?;
        }
        need(
            width <= known.columns.len(),
            "more columns than the table has",
        )?;
        Ok(width)
    }

    pub(super) fn insert_table(&self, insert: &Node) -> Result<&'a crate::catalog::Relation, Gap> {
        self.decided_table(insert.node("relation").ok_or(Gap("no target"))?)
    }

    /// The table that the judge took a name for.
    pub(super) fn decided_table(&self, range: &Node) -> Result<&'a crate::catalog::Relation, Gap> {
        match self.decision(range.location()) {
            Some(
                Decision::Relation { schema, name, .. }
                | Decision::WrittenView { schema, name, .. },
            ) => self
                .claims
                .catalog
                .relation(schema, name)
                .ok_or(Gap("a relation is not known")),
            _ => Err(Gap("a relation was not decided on")),
        }
    }

    /// The keys that were added to the columns.
    pub(super) fn filled_keys(
        &self,
        filled: &[Value],
        keys: &[&'a Key],
    ) -> Result<Vec<&'a Key>, Gap> {
        let key = |column: &Value| {
            let column = column
                .as_node()
                .filter(|column| column.has_only(&["name"]))?;
            let mut own = keys.iter().copied().filter(|key| key.via.is_none());
            own.find(|key| key.column == column.text("name"))
        };
        let found: Option<Vec<&Key>> = filled.iter().map(key).collect();
        found.ok_or(Gap("a column was added"))
    }

    /// The position of a key among the written columns, where it must be once. Without a list the
    /// columns are the table's.
    pub(super) fn column_of(
        &self,
        insert: &Node,
        columns: &[Value],
        key: &Key,
    ) -> Result<usize, Gap> {
        if columns.is_empty() {
            let mut known = self.insert_table(insert)?.columns.iter();
            let at = known.position(|column| column.name == key.column);
            return at.ok_or(Gap("a key is not a column"));
        }
        let named = |column: &Value| {
            column
                .as_node()
                .is_some_and(|column| column.text("name") == key.column)
        };
        let whole = |column: &Value| {
            column
                .as_node()
                .is_some_and(|node| node.has_only(&["name"]))
        };
        let mut found = columns
            .iter()
            .enumerate()
            .filter(|(_, column)| named(column));
        match (found.next(), found.next()) {
            (Some((at, column)), None) if whole(column) => Ok(at),
            _ => Err(Gap("a key is left open")),
        }
    }

    /// VALUES, or a query, or several queries in a set operation.
    pub(super) fn query_rows(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        write: &Write<'_, 'a>,
    ) -> Step {
        need(
            original.kind == "SelectStmt" && rewritten.kind == "SelectStmt",
            "not a query",
        )?;
        if write.keys.is_empty() && write.fills.is_empty() {
            return self.node(original, rewritten);
        }
        if !original.list("values_lists").is_empty() {
            return self.values(original, rewritten, write);
        }
        self.written_rows(original, rewritten, write)
    }

    fn values(&mut self, original: &'a Node, rewritten: &'a Node, write: &Write<'_, 'a>) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            let (before, after) = (
                original.list("values_lists"),
                rewritten.list("values_lists"),
            );
            need(before.len() == after.len(), "a row is on one side only")?;
            for (row, row_there) in before.iter().zip(after) {
                let items = row.as_node().map_or(&[][..], |row| row.list("items"));
                let there = row_there.as_node().map_or(&[][..], |row| row.list("items"));
                let own = there.get(..items.len()).ok_or(Gap("a value is gone"))?;
                write.gives_references(items.len())?;
                walk.fill(write.fills, there.get(items.len()..).unwrap_or_default())?;
                walk.written(items, own, write)?;
            }
            walk.fence(original, rewritten)?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "values_lists",
                    "limit_offset",
                    "limit_option",
                ],
            )
        })
    }

    /// The values of one row, where DEFAULT may have become the session's value.
    pub(super) fn written(
        &mut self,
        original: &'a [Value],
        rewritten: &'a [Value],
        write: &Write<'_, 'a>,
    ) -> Step {
        for (at, (before, after)) in original.iter().zip(rewritten).enumerate() {
            let key = write.keys.iter().find(|(column, _)| *column == at);
            let (Some((_, key)), Some(after_node)) = (key, after.as_node()) else {
                self.value(before, after)?;
                continue;
            };
            let was_default = before
                .as_node()
                .is_some_and(|before| before.kind == "SetToDefault");
            if was_default && after_node.kind != "SetToDefault" {
                self.fill_one(key, after_node)?;
            } else {
                self.written_value(before, after, key, false)?;
            }
        }
        Ok(())
    }

    /// A value of a key: the session's by what is written there, or checked when it runs.
    pub(super) fn written_value(
        &mut self,
        before: &'a Value,
        after: &'a Value,
        key: &Key,
        sole: bool,
    ) -> Step {
        let after_node = after.as_node().ok_or(Gap("a written key is not known"))?;
        if key.via.is_some() {
            let before = before.as_node().ok_or(Gap("not a value"))?;
            return self.reference(before, after_node, key);
        }
        if let Some(checked) = wrapped::checked(after_node, self.claims) {
            need(
                (checked.slot, checked.value_type) == (key.slot, key.value_type),
                "a check is of another key",
            )?;
            let before = before.as_node().ok_or(Gap("not a value"))?;
            return self.node(before, checked.value);
        }
        self.value(before, after)?;
        need(
            self.is_own_value(after_node, key, sole),
            "a foreign value may be written",
        )
    }

    pub(super) fn fill(&mut self, keys: &[&Key], values: &'a [Value]) -> Step {
        let values: Vec<&Value> = values.iter().collect();
        self.fill_each(keys, &values)
    }

    pub(super) fn fill_each(&mut self, keys: &[&Key], values: &[&'a Value]) -> Step {
        need(keys.len() == values.len(), "a fill is missing")?;
        for (key, value) in keys.iter().zip(values) {
            self.fill_one(key, value.as_node().ok_or(Gap("not a value"))?)?;
        }
        Ok(())
    }

    fn fill_one(&self, key: &Key, value: &Node) -> Step {
        let own = forms::session_value(value, self.claims);
        need(
            key.via.is_none() && own == Some((key.slot, key.value_type)),
            "a fill is not the session's value",
        )
    }

    pub(super) fn target_keys(&self, source: usize) -> Vec<&'a Key> {
        let source = self.levels.last().and_then(|level| level.get(source));
        source.map_or(Vec::new(), super::Source::all_keys)
    }

    fn conflict(&mut self, original: Option<&'a Node>, rewritten: Option<&'a Node>) -> Step {
        let (original, rewritten) = match (original, rewritten) {
            (None, None) => return Ok(()),
            (Some(original), Some(rewritten)) => (original, rewritten),
            _ => return gap("ON CONFLICT is on one side only"),
        };
        self.pair(original, rewritten);
        let (before, after) = (
            original.node("where_clause"),
            rewritten.node("where_clause"),
        );
        let scoped = !self.target_keys(0).is_empty();
        let guarded = original.int("action") == ONCONFLICT_UPDATE && scoped;
        if guarded {
            self.conflicting_row(before, after)?;
        } else {
            self.optional(before, after)?;
        }
        // The row that SET changes has passed the condition.
        self.admit_target(guarded)?;
        self.in_conflict = true;
        let assigned = self.assignments(
            original.list("target_list"),
            rewritten.list("target_list"),
            Target {
                source: 0,
                alone: false,
            },
        );
        self.in_conflict = false;
        assigned?;
        self.admit_target(false)?;
        self.fields(original, rewritten, &["where_clause", "target_list"])
    }

    /// Says whether the row of the target is shown to be the session's own.
    fn admit_target(&mut self, admitted: bool) -> Step {
        let level = self.levels.last_mut().ok_or(Gap("no query"))?;
        level.first_mut().ok_or(Gap("no target"))?.admit(admitted);
        Ok(())
    }

    /// `WHERE CASE WHEN <predicates> THEN <condition or true> ELSE <raises> END`.
    fn conflicting_row(&mut self, original: Option<&'a Node>, rewritten: Option<&'a Node>) -> Step {
        let case = rewritten.and_then(forms::case);
        let (when, then, other) = case.ok_or(Gap("ON CONFLICT is not guarded"))?;
        need(forms::raises(other), "ON CONFLICT lets a foreign row pass")?;
        let level = self.levels.last_mut().ok_or(Gap("no query"))?;
        let target = level.first_mut().ok_or(Gap("no target"))?;
        for predicate in forms::conjuncts(Some(when)) {
            target.note(predicate, self.claims)?;
        }
        need(target.is_guarded(), "ON CONFLICT lacks a key")?;
        match original {
            None => need(
                forms::is_boolean(then, true),
                "ON CONFLICT has a condition more",
            ),
            Some(original) => self.node(original, then),
        }
    }
}

/// What an INSERT writes: the keys by column, and those that were filled in.
pub(super) struct Write<'w, 'a> {
    pub(super) keys: &'w [(usize, &'a Key)],
    pub(super) fills: &'w [&'a Key],
}

impl Write<'_, '_> {
    /// No default takes the place of a reference.
    fn gives_references(&self, width: usize) -> Step {
        let given = |(at, key): &(usize, &Key)| key.via.is_none() || *at < width;
        need(self.keys.iter().all(given), "a reference is left open")
    }
}

/// How many columns the rows have.
fn width(rows: &Node) -> usize {
    match rows.list("values_lists").first().and_then(Value::as_node) {
        Some(row) => row.list("items").len(),
        None => rows.list("target_list").len(),
    }
}

/// The expression of an output column.
pub(super) fn output(target: &Value) -> Option<&Value> {
    let target = target
        .as_node()
        .filter(|target| target.kind == "ResTarget")?;
    Some(target.field("val"))
}

pub(super) fn is_star(value: &Value) -> bool {
    let star = |field: &Value| field.as_node().is_some_and(|field| field.kind == "AStar");
    let Some(node) = value.as_node() else {
        return false;
    };
    match node.kind {
        "ColumnRef" => node.list("fields").iter().any(star),
        "AIndirection" => node.list("indirection").iter().any(star),
        _ => false,
    }
}
