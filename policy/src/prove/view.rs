//! A view's query in the view's place: the stored query and nothing else, each relation guarded.

use super::{Decision, Gap, Index, Places, Step, Walk, need};
use crate::tree::{Node, Value};

impl<'a> Walk<'a> {
    /// A name in FROM, and the derived table that took its place.
    pub(super) fn view(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(self.claims.enforce, "a view is replaced for nothing")?;
        let (schema, name) = (original.text("schemaname"), original.text("relname"));
        let is_cte = schema.is_empty() && self.ctes.has(name);
        need(!is_cte && !self.at_target, "a view has another meaning")?;
        let Some(Decision::View {
            schema: decided,
            name: decided_name,
            inside,
        }) = self.decision(original.location())
        else {
            return Err(Gap("a relation that is no view became a query"));
        };
        need(decided_name == name, "a view has another name")?;
        need(
            self.resolves(schema, name, decided),
            "a view is in another schema",
        )?;
        let whole =
            original.text("catalogname").is_empty() && *original.field("inh") == Value::True;
        need(whole, "a part of a view")?;
        need(
            rewritten.has_only(&["subquery", "alias"]),
            "a view became more than its query",
        )?;
        let alias = rewritten.node("alias").ok_or(Gap("a view lost its name"))?;
        match original.node("alias") {
            Some(own) => self.same(own, alias)?,
            None => need(
                alias.has_only(&["aliasname"]) && alias.text("aliasname") == name,
                "a view has another alias",
            )?,
        }
        let known = self.claims.catalog.relation(decided, name);
        let view = known.and_then(|view| self.claims.views.of(view.oid));
        let view = view.ok_or(Gap("a view has no query"))?;
        let (stored, query) = view
            .tree()
            .zip(rewritten.node("subquery"))
            .ok_or(Gap("a view has no query"))?;
        let claimed = self.index.fenced_views.contains(&original.location());
        if claimed {
            self.seen_views.insert(original.location());
        }
        if claimed || view.barrier {
            let fenced =
                query.node("limit_offset").is_some() || query.node("limit_count").is_some();
            need(fenced, "a view is not a fence")?;
        }
        need(stored.kind == "SelectStmt", "a view is no query")?;
        self.inside_view(inside, |walk| walk.node(stored, query))
    }

    /// Walks a stored query: nothing around it is in its sight.
    fn inside_view(&mut self, places: &'a Places, work: impl FnOnce(&mut Self) -> Step) -> Step {
        let index = std::mem::replace(&mut self.index, Index::of(places)?);
        let ctes = std::mem::take(&mut self.ctes);
        let levels = std::mem::take(&mut self.levels);
        let seen = std::mem::take(&mut self.seen);
        let seen_views = std::mem::take(&mut self.seen_views);
        let seen_joins = std::mem::take(&mut self.seen_joins);
        let conflict = std::mem::replace(&mut self.in_conflict, false);
        let outer = std::mem::replace(&mut self.in_view, true);
        work(self)?;
        self.all_seen()?;
        self.index = index;
        self.ctes = ctes;
        self.levels = levels;
        self.seen = seen;
        self.seen_views = seen_views;
        self.seen_joins = seen_joins;
        self.in_conflict = conflict;
        self.in_view = outer;
        Ok(())
    }
}
