//! FROM: which rows a query reads, and where each scoped relation gets its predicate.
//!
//! A relation that only inner joins and the preserved sides of outer joins separate from the top is
//! guarded in WHERE. Any other (the nullable side of an outer join, FULL, inside the alias of a
//! join) becomes a guard join: `(t JOIN (SELECT) AS pgwarden_1 ON <predicate>)`.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeSubselect, RangeVar};

use super::names::{Column, Item, Scope, strings};
use super::{Decision, Entry, EntryId, EntryKind, Env, Judge, refuse_reserved, unsupported};
use crate::deny::{Denial, DenyReason};
use crate::{rewrite, tree};

/// What a query level collects from its FROM clause.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) items: Vec<Item>,
    /// Scoped relations that WHERE guards.
    pub(super) guarded_in_where: Vec<EntryId>,
    /// The subselects of FROM, in the order of the text.
    pub(super) derived: Vec<EntryId>,
    /// Its joins with an alias, in the same order.
    pub(super) joins: Vec<EntryId>,
    /// Every relation and CTE of the level.
    pub(super) relations: Vec<EntryId>,
    /// MERGE has no WHERE: each scoped relation is guarded where it stands.
    pub(super) without_where: bool,
    /// Whether there is an outer join.
    pub(super) outer_joined: bool,
    /// Whether anything of a tenant is read.
    pub(super) risky: bool,
    /// What the conditions of joins read.
    pub(super) depends: Vec<EntryId>,
    /// Entries of outer queries that lateral items read.
    pub(super) reads: Vec<EntryId>,
    /// How many guard joins it has. Each level counts for itself, so that equal queries in two places, of which
    /// PostgreSQL wants one grouped or sorted by the other, stay equal.
    pub(super) guard_joins: usize,
}

impl Judge<'_> {
    /// Judges the items of FROM or USING into a level.
    pub(super) fn range_items(
        &mut self,
        items: &mut [Node],
        level: &mut Level,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        for node in items {
            let left = level.items.clone();
            let found = self.range_item(node, level, &left, outer, env, true)?;
            level.items.extend(found);
        }
        if level.risky {
            self.refuse_a_name_twice(&level.items)?;
        }
        Ok(())
    }

    /// Two items of a name are the server's to refuse, but where one of them gets a predicate by that name.
    /// Tables of two schemas may share theirs.
    pub(super) fn refuse_a_name_twice(&self, items: &[Item]) -> Result<(), Denial> {
        let mut seen: HashMap<&str, &Option<String>> = HashMap::new();
        for entry in items.iter().filter_map(|item| self.entry(item.entry)) {
            if entry.name.is_empty() {
                continue;
            }
            let Some(schema) = seen.insert(&entry.name, &entry.schema) else {
                continue;
            };
            if schema.is_none() || entry.schema.is_none() || *schema == entry.schema {
                return Err(Denial {
                    sqlstate: "42712",
                    message: format!("table name \"{}\" specified more than once", entry.name),
                    ..Denial::new(DenyReason::AmbiguousColumn, "")
                });
            }
        }
        Ok(())
    }

    /// Judges one item. `left` are the items that LATERAL may name.
    pub(super) fn range_item(
        &mut self,
        node: &mut Node,
        level: &mut Level,
        left: &[Item],
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
        in_where: bool,
    ) -> Result<Vec<Item>, Denial> {
        self.check_spread()?;
        let lateral = Scope { items: left, outer };
        match node.node.as_mut() {
            Some(NodeEnum::RangeVar(range)) => {
                if let Some(name) = self.view_named(range, env)? {
                    let id = self.view(node, &name, level)?;
                    return Ok(vec![Item::new(id)]);
                }
                let id = self.range_var(range, level, env)?;
                self.guard(node, id, level, in_where)?;
                Ok(vec![Item::new(id)])
            }
            Some(NodeEnum::RangeTableSample(sample)) => {
                strings(&sample.method).and_then(|method| match method.as_slice() {
                    ["bernoulli" | "system"] | ["pg_catalog", "bernoulli" | "system"] => Ok(()),
                    _ => Err(unsupported("this TABLESAMPLE method")),
                })?;
                let nothing = Scope { items: &[], outer };
                self.expressions(&mut sample.args, &nothing, env)?;
                self.optional(sample.repeatable.as_mut(), &nothing, env)?;
                let Some(NodeEnum::RangeVar(range)) = sample
                    .relation
                    .as_mut()
                    .and_then(|relation| relation.node.as_mut())
                else {
                    return Err(unsupported("TABLESAMPLE on what is not a table"));
                };
                let id = self.range_var(range, level, env)?;
                self.guard(node, id, level, in_where)?;
                Ok(vec![Item::new(id)])
            }
            Some(NodeEnum::RangeSubselect(range)) => {
                let sees = if range.lateral { Some(&lateral) } else { outer };
                let id = self.derived_table(range, level, sees, env)?;
                Ok(vec![Item::new(id)])
            }
            Some(NodeEnum::RangeFunction(range)) => {
                let id = self.range_function(range, level, &lateral, env)?;
                Ok(vec![Item::new(id)])
            }
            Some(NodeEnum::RangeTableFunc(range)) => {
                let id = self.xml_table(range, level, &lateral, env)?;
                Ok(vec![Item::new(id)])
            }
            // The word means nothing there, and gets lost when the tree is written out.
            Some(NodeEnum::JsonTable(table)) if table.lateral => {
                Err(unsupported("LATERAL before JSON_TABLE")
                    .hint("Leave LATERAL out: JSON_TABLE sees what stands before it."))
            }
            Some(NodeEnum::JsonTable(table)) => {
                let mut facts =
                    self.json_value(table.context_item.as_deref_mut(), &lateral, env)?;
                facts.absorb(&self.json_members(&mut table.passing, &lateral, env)?);
                let mut columns = Vec::new();
                self.json_table_columns(&mut table.columns, &mut columns, &lateral, env)?;
                self.json_behavior(table.on_error.as_deref_mut(), &lateral, env)?;
                note_lateral(level, &facts.reads);
                let id = self.function_entry(table.alias.as_ref(), "json_table", columns, false)?;
                Ok(vec![Item::new(id)])
            }
            Some(NodeEnum::JoinExpr(join)) => self.join(join, level, left, outer, env, in_where),
            _ => Err(unsupported("this kind of FROM item")),
        }
    }

    /// Places the predicate of a relation.
    fn guard(
        &mut self,
        node: &mut Node,
        id: EntryId,
        level: &mut Level,
        in_where: bool,
    ) -> Result<(), Denial> {
        if !matches!(
            self.entry(id).map(|entry| &entry.kind),
            Some(EntryKind::Scoped { .. })
        ) {
            return Ok(());
        }
        if in_where && !level.without_where {
            level.guarded_in_where.push(id);
            return Ok(());
        }
        if let Some(EntryKind::Scoped { nullable, .. }) =
            self.entries.get_mut(id).map(|entry| &mut entry.kind)
        {
            *nullable = !in_where;
        }
        let predicates = self.predicate(id)?;
        let Some(predicate) = rewrite::and(predicates) else {
            return Ok(());
        };
        level.guard_joins += 1;
        let relation = rewrite::take(node);
        *node = rewrite::guard_join(relation, level.guard_joins, predicate);
        Ok(())
    }

    /// Resolves a name in FROM: a CTE in sight, or a relation.
    fn range_var(
        &mut self,
        range: &mut RangeVar,
        level: &mut Level,
        env: &Env<'_>,
    ) -> Result<EntryId, Denial> {
        if range.catalogname.is_empty()
            && range.schemaname.is_empty()
            && let Some(cte) = env.find(&range.relname)
        {
            let nested = env.ctes.iter().all(|(name, _)| *name != range.relname);
            return self.cte_reference(range, (cte, nested), level);
        }
        if self.in_view && range.schemaname.is_empty() {
            // What a stored query leaves out is what no path needs to name.
            "pg_catalog".clone_into(&mut range.schemaname);
        }
        let id = self
            .relation_reference(range, false)
            .map_err(|denial| self.missing_at(denial, range.location))?;
        level.risky |= matches!(
            self.entry(id).map(|entry| &entry.kind),
            Some(EntryKind::Scoped { .. })
        );
        level.relations.push(id);
        Ok(id)
    }

    fn cte_reference(
        &mut self,
        range: &RangeVar,
        (cte, nested): (super::CteId, bool),
        level: &mut Level,
    ) -> Result<EntryId, Denial> {
        self.decide(range.location, Decision::Cte);
        let Some(found) = self.cte(cte) else {
            return Err(unsupported("this CTE"));
        };
        let (mut columns, open, risky) = (found.columns.clone(), found.open, found.risky);
        let name = alias_name(range.alias.as_ref(), &range.relname)?;
        for column in &mut columns {
            column.tenant = None;
            // `*` has the columns of SEARCH and CYCLE only beside the WITH itself.
            column.unstarred &= nested;
        }
        rename(&mut columns, range.alias.as_ref())?;
        let kind = EntryKind::Cte { cte };
        let id = self.add_entry(Entry {
            name,
            schema: None,
            columns,
            open,
            kind,
        });
        level.risky |= risky;
        level.relations.push(id);
        Ok(id)
    }

    fn derived_table(
        &mut self,
        range: &mut RangeSubselect,
        level: &mut Level,
        sees: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<EntryId, Denial> {
        let mark = self.entries.len();
        let place = tree::anchor_of(&range.subquery);
        let Some(NodeEnum::SelectStmt(select)) = range
            .subquery
            .as_mut()
            .and_then(|query| query.node.as_mut())
        else {
            return Err(unsupported("this kind of derived table"));
        };
        let output = self.select(select, sees, env)?;
        let outer: Vec<EntryId> = output.reads.iter().copied().filter(|e| *e < mark).collect();
        let lateral_tenant = outer.iter().any(|id| {
            !matches!(
                self.entry(*id).map(|entry| &entry.kind),
                Some(EntryKind::Free { .. }) | None
            )
        });
        note_lateral(level, &outer);
        let risky = output.risky || lateral_tenant;
        let mut columns = output.columns;
        columns.iter_mut().for_each(|column| column.tenant = None);
        rename(&mut columns, range.alias.as_ref())?;
        let name = alias_name(range.alias.as_ref(), "")?;
        let kind = EntryKind::Derived {
            risky,
            sealed: output.sealed,
        };
        let id = self.add_entry(Entry {
            name,
            schema: None,
            columns,
            open: output.open,
            kind,
        });
        self.places.insert(id, place);
        level.risky |= risky;
        level.derived.push(id);
        Ok(id)
    }
}

pub(super) fn note_lateral(level: &mut Level, reads: &[EntryId]) {
    level.reads.extend(reads);
}

pub(super) fn alias_name(alias: Option<&Alias>, default: &str) -> Result<String, Denial> {
    let name = alias.map_or(default, |alias| alias.aliasname.as_str());
    refuse_reserved(name)?;
    Ok(name.to_owned())
}

/// Applies a column alias list: the first columns get new names.
pub(super) fn rename(columns: &mut Vec<Column>, alias: Option<&Alias>) -> Result<(), Denial> {
    let Some(alias) = alias else { return Ok(()) };
    for (at, name) in strings(&alias.colnames)?.into_iter().enumerate() {
        match columns.get_mut(at) {
            Some(column) => name.clone_into(&mut column.name),
            None => columns.push(Column::opaque(name)),
        }
    }
    Ok(())
}
