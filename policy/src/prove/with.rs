//! WITH: which names mean a CTE, and how far.

use std::collections::HashMap;

use super::{Step, Walk, forms, gap, need};
use crate::tree::{self, Node, Value};

/// The CTEs in scope, innermost last.
#[derive(Default)]
pub(super) struct Ctes<'a> {
    pub(super) names: Vec<&'a str>,
    /// How many of each name there are.
    counts: HashMap<&'a str, usize>,
}

impl<'a> Ctes<'a> {
    pub(super) fn enter(&mut self, name: &'a str) {
        self.names.push(name);
        *self.counts.entry(name).or_default() += 1;
    }

    pub(super) fn leave(&mut self, outside: usize) {
        for name in self.names.drain(outside..) {
            if let Some(count) = self.counts.get_mut(name) {
                *count -= 1;
            }
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.counts.get(name).is_some_and(|count| *count > 0)
    }
}

impl<'a> Walk<'a> {
    /// A statement whose WITH holds for everything in it.
    pub(super) fn scoped_by_ctes(
        &mut self,
        original: &'a Node,
        rewritten: &'a Node,
        rest: impl FnOnce(&mut Self) -> Step,
    ) -> Step {
        let outside = self.ctes.names.len();
        match (original.node("with_clause"), rewritten.node("with_clause")) {
            (None, None) => {}
            (Some(original), Some(rewritten)) => self.with(original, rewritten)?,
            _ => return gap("WITH is on one side only"),
        }
        rest(self)?;
        self.ctes.leave(outside);
        Ok(())
    }

    fn with(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.pair(original, rewritten);
        self.fields(original, rewritten, &["ctes"])?;
        let (before, after) = (original.list("ctes"), rewritten.list("ctes"));
        need(before.len() == after.len(), "a CTE is on one side only")?;
        let name = |cte: &'a Value| cte.as_node().map_or("", |cte| cte.text("ctename"));
        let recursive = *original.field("recursive") == Value::True;
        if recursive {
            before.iter().for_each(|cte| self.ctes.enter(name(cte)));
        }
        for (original, rewritten) in before.iter().zip(after) {
            let (Some(cte), Some(rewritten)) = (original.as_node(), rewritten.as_node()) else {
                return gap("not a CTE");
            };
            self.cte(cte, rewritten)?;
            if !recursive {
                self.ctes.enter(name(original));
            }
        }
        Ok(())
    }

    fn cte(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(
            original.kind == "CommonTableExpr" && rewritten.kind == original.kind,
            "not a CTE",
        )?;
        self.pair(original, rewritten);
        self.fields(original, rewritten, &[])?;
        if let (false, Some(query)) = (self.index.fences.is_empty(), original.node("ctequery")) {
            let at = tree::anchor(query);
            if self.index.fences.contains(&at) {
                self.seen.insert(at);
                let materialized = rewritten.int("ctematerialized") == forms::IS_FENCE;
                let sent = rewritten.node("ctequery");
                let fenced = sent.is_some_and(|query| query.node("limit_offset").is_some());
                need(materialized || fenced, "a CTE is not a fence")?;
            }
        }
        Ok(())
    }
}
