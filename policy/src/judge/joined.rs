//! The alias of a join, `(a JOIN b …) AS j`, which hides the names of what it joins.
//!
//! A barrier would have to name the relations, so where a condition on the alias's columns may fail, the join becomes
//! a fence: `(SELECT * FROM a JOIN b … OFFSET 0) AS j` has the same columns, and gives on only rows that its
//! guard joins have admitted. Not where that would mean something else: in the sight of LATERAL, of FOR UPDATE,
//! of GROUP BY, for which a query's columns don't hang on its key, and of columns that SEARCH and CYCLE add.

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, SelectStmt};

use super::from::{Level, alias_name, rename};
use super::names::{Column, Item, Scope};
use super::{Entry, EntryId, EntryKind, Judge, unsupported};
use crate::deny::Denial;
use crate::rewrite;

impl Judge<'_> {
    /// The entry of a join with an alias; `begins` says where the join does, `beside` what it reads of FROM items before it.
    pub(super) fn join_alias(
        &mut self,
        alias: &Alias,
        items: &[Item],
        (begins, beside): (i32, bool),
        level: &mut Level,
    ) -> Result<Item, Denial> {
        let (mut columns, open) = self.star(None, &Scope { items, outer: None })?;
        rename(&mut columns, Some(alias))?;
        // The proof does not look through the alias for whose a written value is: the row is looked at instead.
        columns.iter_mut().for_each(|column| column.tenant = None);
        let risky = items.iter().any(|item| {
            !matches!(
                self.entry(item.entry).map(|entry| &entry.kind),
                Some(EntryKind::Free { .. }) | None
            )
        });
        let name = alias_name(Some(alias), "")?;
        let kind = EntryKind::Join {
            risky,
            movable: !beside && !items.iter().any(|item| self.is_bound_to_its_level(item)),
        };
        let id = self.add_entry(Entry {
            name: name.clone(),
            schema: None,
            columns,
            open,
            kind,
        });
        self.joins.insert(id, (begins, name));
        level.joins.push(id);
        Ok(Item::new(id))
    }

    /// What would have other columns in a query of its own: `*` has those of SEARCH and CYCLE only beside the WITH itself.
    fn is_bound_to_its_level(&self, item: &Item) -> bool {
        let Some(entry) = self.entry(item.entry) else {
            return false;
        };
        match &entry.kind {
            EntryKind::Join { movable, .. } => !movable,
            EntryKind::Cte { cte } => {
                let added = |column: &Column| column.unstarred;
                let has_added = self
                    .cte(*cte)
                    .is_some_and(|cte| cte.columns.iter().any(added));
                has_added && !entry.columns.iter().any(added)
            }
            _ => false,
        }
    }

    /// A condition on its columns may fail: it becomes a fence.
    pub(super) fn fence_join(&mut self, id: EntryId) -> Result<(), Denial> {
        match self.entry(id).map(|entry| &entry.kind) {
            Some(EntryKind::Join { movable: true, .. }) => {
                self.fenced.insert(id);
                Ok(())
            }
            _ => Err(refused("is LATERAL or has columns of SEARCH or CYCLE")),
        }
    }

    /// Where a fence would mean something else.
    pub(super) fn refuse_fenced_joins(
        &self,
        select: &SelectStmt,
        level: &Level,
    ) -> Result<(), Denial> {
        let fenced = || level.joins.iter().filter(|id| self.fenced.contains(id));
        if fenced().next().is_none() {
            return Ok(());
        }
        // Joins are told apart by where they begin and by their alias.
        let is_double = |id: &EntryId| {
            let mut others = level.joins.iter().filter(|it| *it != id);
            others.any(|other| self.joins.get(other) == self.joins.get(id))
        };
        if fenced().any(is_double) {
            return Err(refused("holds another join of that alias"));
        }
        if !select.locking_clause.is_empty() {
            return Err(refused("is locked"));
        }
        match select.group_clause.is_empty() {
            true => Ok(()),
            false => Err(refused("is grouped")),
        }
    }

    /// Makes a join a fence, if it was found to need it.
    pub(super) fn fence_joined(&mut self, node: &mut Node, id: EntryId) {
        if !self.fenced.contains(&id) {
            return;
        }
        let mut join = rewrite::take(node);
        let Some(NodeEnum::JoinExpr(inner)) = join.node.as_mut() else {
            return;
        };
        let alias = inner.alias.take();
        *node = rewrite::fenced_join(join, alias);
        self.rewritten();
    }
}

fn refused(why: &str) -> Denial {
    unsupported(&format!(
        "a condition that may raise an error on columns of a join alias that {why}"
    ))
    .hint("Name the joined tables themselves instead of an alias for the join.")
}
