//! INSERT … SELECT: every row that a query gives holds the session's own keys.

use super::insert::{Write, is_star, output};
use super::{Gap, Step, Walk, forms, gap, need, wrapped};
use crate::tree::{Node, Value};

/// `SETOP_NONE`.
const NO_SET_OPERATION: i64 = 1;
/// `SETOP_UNION`.
const UNION: i64 = 2;

impl<'a> Walk<'a> {
    /// The rows of a query: wrapped, of a UNION, or of one SELECT.
    pub(super) fn written_rows(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        write: &Write<'_, 'a>,
    ) -> Step {
        if let Some((inner, fills)) = wrapped::wrapped(rewritten) {
            need(
                write.keys.len() == write.fills.len(),
                "a wrapped query writes a key",
            )?;
            self.fill_each(write.fills, &fills)?;
            return self.node(original, inner);
        }
        if let Some((inner, outputs)) = wrapped::wrapped_columns(rewritten, self.claims) {
            return self.checked_columns(original, inner, &outputs, write);
        }
        match original.int("op") {
            NO_SET_OPERATION => self.written_query(original, rewritten, write),
            UNION if write.fills.is_empty() => self.written_union(original, rewritten, write),
            _ => gap("a set operation writes a key"),
        }
    }

    /// `SELECT pgwarden_1, … FROM (query) AS pgwarden_source (pgwarden_1, …)`, where each key of the
    /// INSERT is checked or filled.
    fn checked_columns(
        &mut self,
        original: &'a Node,
        inner: &'a Node,
        outputs: &[wrapped::Written<'a>],
        write: &Write<'_, 'a>,
    ) -> Step {
        let (own, fills) = outputs
            .split_at_checked(outputs.len().saturating_sub(write.fills.len()))
            .ok_or(Gap("a fill is missing"))?;
        let fills: Option<Vec<&Value>> = fills.iter().map(wrapped::Written::fill).collect();
        self.fill_each(write.fills, &fills.ok_or(Gap("not a fill"))?)?;
        for (at, output) in own.iter().enumerate() {
            let key = write.keys.iter().find(|(column, _)| *column == at);
            if let Some((_, key)) = key.filter(|(_, key)| key.via.is_some()) {
                let value = output.fill().and_then(Value::as_node);
                let value = value.ok_or(Gap("a reference is not looked up"))?;
                self.referring_column(value, at, key)?;
                continue;
            }
            let expected = key.map(|(_, key)| (key.slot, key.value_type));
            need(output.is_column(at, expected), "a column is not its own")?;
        }
        let keys_are_there = write.keys.iter().all(|(at, key)| {
            *at < own.len() || write.fills.iter().any(|fill| fill.column == key.column)
        });
        need(keys_are_there, "a key is left open")?;
        self.node(original, inner)
    }

    /// Each arm gives the keys by itself.
    fn written_union(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        write: &Write<'_, 'a>,
    ) -> Step {
        self.pair(original, rewritten);
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            for arm in ["larg", "rarg"] {
                let (Some(before), Some(after)) = (original.node(arm), rewritten.node(arm)) else {
                    return gap("an arm is gone");
                };
                walk.query_rows(before, after, write)?;
            }
            walk.fence(original, rewritten)?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "larg",
                    "rarg",
                    "limit_offset",
                    "limit_option",
                ],
            )?;
            walk.all_guarded()
        })
    }

    /// `INSERT … SELECT`: a SELECT whose output is extended and checked.
    fn written_query(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        write: &Write<'_, 'a>,
    ) -> Step {
        self.pair(original, rewritten);
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            walk.from(original.list("from_clause"), rewritten.list("from_clause"))?;
            walk.filter(
                original.node("where_clause"),
                rewritten.node("where_clause"),
            )?;
            walk.conjuncts(
                original.node("having_clause"),
                rewritten.node("having_clause"),
            )?;
            walk.fence(original, rewritten)?;
            let (before, after) = (original.list("target_list"), rewritten.list("target_list"));
            let own = after.get(..before.len()).ok_or(Gap("an output is gone"))?;
            let added = after.get(before.len()..).unwrap_or_default();
            let added: Option<Vec<&Value>> = added.iter().map(output).collect();
            walk.fill_each(write.fills, &added.ok_or(Gap("not an output"))?)?;
            walk.outputs(original, before, own, write)?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "from_clause",
                    "where_clause",
                    "having_clause",
                    "limit_offset",
                    "limit_option",
                    "target_list",
                ],
            )?;
            walk.all_guarded()
        })
    }

    /// The select list, where a key's value may be checked.
    fn outputs(
        &mut self,
        query: &Node,
        before: &'a [Value],
        after: &'a [Value],
        write: &Write<'_, 'a>,
    ) -> Step {
        // Behind one, an output of this number is another column.
        let star = after
            .iter()
            .position(|target| output(target).is_none_or(is_star));
        // A column without a qualifier is the relation's only if there is nothing else.
        let sole = matches!(query.list("from_clause"), [only]
            if only.as_node().is_some_and(|only| only.kind == "RangeVar"));
        let given = |key: &str| !write.fills.iter().any(|fill| fill.column == key);
        let in_front = |at: usize| star.is_none_or(|star| at < star);
        let mut given_keys = write.keys.iter().filter(|(_, key)| given(&key.column));
        need(
            given_keys.all(|(at, _)| in_front(*at)),
            "a written key is not known",
        )?;
        for (at, (before, after)) in before.iter().zip(after).enumerate() {
            let key = write.keys.iter().find(|(column, _)| *column == at);
            match key.filter(|(_, key)| given(&key.column)) {
                Some((_, key)) => self.written_output(before, after, key, sole)?,
                None => self.value(before, after)?,
            }
        }
        let last = after.len();
        let within = |(at, key): &(usize, &crate::judge::Key)| *at < last || !given(&key.column);
        need(write.keys.iter().all(within), "a written key is not known")
    }

    fn written_output(
        &mut self,
        before: &'a Value,
        after: &'a Value,
        key: &crate::judge::Key,
        sole: bool,
    ) -> Step {
        let (Some(target), Some(target_there)) = (before.as_node(), after.as_node()) else {
            return gap("not an output");
        };
        need(
            target.kind == "ResTarget" && target_there.kind == "ResTarget",
            "not an output",
        )?;
        self.pair(target, target_there);
        self.fields(target, target_there, &["name", "val"])?;
        // The name that it had: a check would hide it from ORDER BY.
        let named = target.text("name") == target_there.text("name")
            || target.text("name").is_empty()
                && target.node("val").and_then(last_name) == Some(target_there.text("name"));
        need(named, "an output has another name")?;
        self.written_value(target.field("val"), target_there.field("val"), key, sole)
    }
}

/// The name of a column reference.
fn last_name(node: &Node) -> Option<&str> {
    let reference = Some(node).filter(|node| node.kind == "ColumnRef")?;
    forms::names(reference.list("fields"))?.pop()
}
