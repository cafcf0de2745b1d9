//! MERGE: the target is guarded in ON, the source where it stands, and a written key is the
//! session's own.

use std::collections::HashSet;

use super::assignments::Target;
use super::insert::Write;
use super::sources::Place;
use super::{Gap, Source, Step, Walk, forms, gap, need};
use crate::tree::{Node, Value};

/// `MERGE_WHEN_NOT_MATCHED_BY_SOURCE`.
const NOT_MATCHED_BY_SOURCE: i64 = 2;
/// `CMD_UPDATE`, `CMD_INSERT`.
const UPDATE: i64 = 3;
const INSERT: i64 = 4;

impl<'a> Walk<'a> {
    pub(super) fn merge(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            walk.merged_source(original, rewritten)?;
            let target = walk.levels.last().map_or(0, Vec::len);
            walk.target(original, rewritten)?;
            walk.filter(
                original.node("join_condition"),
                rewritten.node("join_condition"),
            )?;
            let (before, after) = (
                original.list("merge_when_clauses"),
                rewritten.list("merge_when_clauses"),
            );
            need(before.len() == after.len(), "a WHEN is on one side only")?;
            for (before, after) in before.iter().zip(after) {
                match (before.as_node(), after.as_node()) {
                    (Some(before), Some(after)) => walk.when(before, after, original, target)?,
                    _ => return gap("not a WHEN"),
                }
            }
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "relation",
                    "source_relation",
                    "join_condition",
                    "merge_when_clauses",
                ],
            )?;
            walk.all_guarded()
        })
    }

    /// A row of the source that ON hides is NOT MATCHED: only guards of its own count.
    fn merged_source(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (Some(before), Some(after)) = (
            original.node("source_relation"),
            rewritten.node("source_relation"),
        ) else {
            return gap("no source");
        };
        self.item(before, after, Place::TOP)?;
        let sources = self.levels.last().map_or(&[][..], Vec::as_slice);
        need(
            sources.iter().all(Source::is_guarded),
            "a relation of MERGE's source has no guard of its own",
        )
    }

    fn when(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        merge: &'a Node,
        target: usize,
    ) -> Step {
        need(
            original.kind == "MergeWhenClause" && rewritten.kind == original.kind,
            "not a WHEN",
        )?;
        self.pair(original, rewritten);
        if original.int("match_kind") == NOT_MATCHED_BY_SOURCE {
            self.not_matched(
                original.node("condition"),
                rewritten.node("condition"),
                target,
            )?;
        } else {
            self.optional(original.node("condition"), rewritten.node("condition"))?;
        }
        self.fields(original, rewritten, &["condition", "target_list", "values"])?;
        let (before, after) = (original.list("target_list"), rewritten.list("target_list"));
        match original.int("command_type") {
            UPDATE => {
                self.assignments(
                    before,
                    after,
                    Target {
                        source: target,
                        alone: false,
                    },
                )?;
                self.list(original.list("values"), rewritten.list("values"))
            }
            INSERT => self.merged_row(original, rewritten, merge, target),
            _ => {
                self.list(before, after)?;
                self.list(original.list("values"), rewritten.list("values"))
            }
        }
    }

    /// What ON hides of the target comes out as not matched: the condition admits the tenant's rows
    /// only, and sees no other.
    fn not_matched(
        &mut self,
        original: Option<&'a Node>,
        rewritten: Option<&'a Node>,
        target: usize,
    ) -> Step {
        let source = self.levels.last().and_then(|level| level.get(target));
        let source = source.ok_or(Gap("no target"))?;
        if source.all_keys().is_empty() {
            return self.optional(original, rewritten);
        }
        let (admitted, then) = match original {
            None => (rewritten, None),
            Some(_) => rewritten
                .and_then(forms::barrier)
                .map(|(when, then)| (Some(when), Some(then)))
                .ok_or(Gap("a full join brings foreign rows of the target"))?,
        };
        let mut compared = HashSet::new();
        for predicate in forms::conjuncts(admitted) {
            let predicate = forms::predicate(predicate, self.claims);
            let key = predicate.and_then(|predicate| source.compares(&predicate));
            compared.insert(key.ok_or(Gap("a WHEN compares something else"))?);
        }
        need(
            compared.len() == source.all_keys().len(),
            "a full join brings foreign rows of the target",
        )?;
        self.optional(original, then)
    }

    /// The row of an INSERT: its own values, then what was filled in.
    fn merged_row(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        merge: &'a Node,
        target: usize,
    ) -> Step {
        let keys = self.target_keys(target);
        let (columns, columns_there) =
            (original.list("target_list"), rewritten.list("target_list"));
        let (values, values_there) = (original.list("values"), rewritten.list("values"));
        let given = if columns.is_empty() && !columns_there.is_empty() {
            self.written_out(merge, values.len(), columns_there)?;
            values.len()
        } else {
            let same = columns_there.get(..columns.len());
            self.list(columns, same.ok_or(Gap("a column is gone"))?)?;
            columns.len()
        };
        let fills = self.filled_keys(columns_there.get(given..).unwrap_or_default(), &keys)?;
        let mut at = Vec::with_capacity(keys.len());
        for key in keys {
            let column = self.column_of(merge, columns_there, key)?;
            need(
                column < values_there.len() || fills.iter().any(|fill| fill.column == key.column),
                "a key is left open",
            )?;
            at.push((column, key));
        }
        let own = values_there
            .get(..values.len())
            .ok_or(Gap("a value is gone"))?;
        self.fill(&fills, values_there.get(values.len()..).unwrap_or_default())?;
        let write = Write {
            keys: &at,
            fills: &fills,
        };
        self.written(values, own, &write)
    }

    /// A missing list of columns was written out: the table's own, in their order.
    fn written_out(&self, merge: &Node, width: usize, there: &[Value]) -> Step {
        let known = &self.insert_table(merge)?.columns;
        need(
            width <= known.len() && width <= there.len(),
            "more columns than the table has",
        )?;
        for (column, there) in known.iter().zip(there).take(width) {
            let there = there.as_node().filter(|there| there.has_only(&["name"]));
            let same = there.is_some_and(|there| there.text("name") == column.name);
            need(same, "a column is in another place")?;
        }
        Ok(())
    }
}
