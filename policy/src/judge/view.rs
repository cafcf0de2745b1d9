//! Views: read as what PostgreSQL's own rewriter makes of them, their query in their place.
//!
//! The query is judged like a client's subselect, so each relation under it is guarded by itself,
//! whatever the view does with its rows (aggregates, outer joins, LIMIT), and no condition of the
//! client's or of the view's own sees a foreign row. That is what `security_invoker` views over
//! tables with row level security give. A query that would be refused makes the view refused.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::{Alias, Node, RangeSubselect, RangeVar};
use serde::Serialize;

use super::from::{Level, alias_name, rename};
use super::names::{Column, Ty};
use super::output::Output;
use super::{Decision, Entry, EntryId, EntryKind, Env, Judge, Places, unsupported};
use crate::bind::Key;
use crate::catalog::{Relation, RelationKind};
use crate::deny::{Denial, DenyReason};
use crate::rewrite;
use crate::tree;

/// How many queries of views a statement may become: views on views multiply.
const MOST_VIEWS: usize = 64;

/// A view that a name means.
pub(super) struct Named {
    relation: Relation,
    /// The keys that the policy gives it.
    keys: Vec<Key>,
}

impl Judge<'_> {
    /// The view that a name in FROM means, if it is one that its query stands for.
    pub(super) fn view_named(
        &self,
        range: &RangeVar,
        env: &Env<'_>,
    ) -> Result<Option<Named>, Denial> {
        let qualified = !range.schemaname.is_empty() || !range.catalogname.is_empty();
        let stored = self.in_view && !qualified;
        let is_cte = !qualified && env.find(&range.relname).is_some();
        if is_cte || stored || !range.catalogname.is_empty() {
            return Ok(None);
        }
        let relation = self
            .find_relation(&range.schemaname, &range.relname)
            .map_err(|denial| self.missing_at(denial, range.location))?;
        if relation.kind != RelationKind::View {
            return Ok(None);
        }
        let view = self.bound.view(relation, self.in_view);
        Ok(view.map(|(_, keys)| Named {
            relation: relation.clone(),
            keys: keys.to_vec(),
        }))
    }

    /// Puts the guarded query in the place of a view.
    pub(super) fn view(
        &mut self,
        node: &mut Node,
        named: &Named,
        level: &mut Level,
    ) -> Result<EntryId, Denial> {
        let Named { relation, keys } = named;
        let shown = format!("{}.{}", relation.schema, relation.name);
        let Some((view, _)) = self.bound.view(relation, self.in_view) else {
            return Err(unsupported("this view"));
        };
        let Some(NodeEnum::RangeVar(range)) = node.node.as_ref() else {
            return Err(unsupported("this kind of view"));
        };
        if !range.inh {
            return Err(
                unsupported("ONLY of a view").hint("Leave ONLY out: it means nothing there.")
            );
        }
        self.expanded += 1;
        if self.expanded > MOST_VIEWS {
            let text = format!("statement reads more than {MOST_VIEWS} views");
            return Err(Denial::new(DenyReason::TooComplex, text));
        }
        let (location, alias) = (range.location, range.alias.clone());
        let alias = alias.unwrap_or_else(|| Alias {
            aliasname: range.relname.clone(),
            colnames: Vec::new(),
        });
        let mut query = view.query.clone();
        let (output, inside) = self
            .inside_view(|judge| judge.select(&mut query, None, &Env::default()))
            .and_then(|(output, inside)| {
                self.refuse_other_keys(relation, keys, &output)?;
                Ok((output, inside))
            })
            .map_err(|denial| unreadable(&shown, denial))?;
        let fenced = view.barrier && !output.sealed;
        if fenced {
            query.limit_offset = Some(Box::new(rewrite::integer(0)));
        }
        self.decide(
            location,
            Decision::View {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
                inside,
            },
        );
        self.uses(shown, false, "its query".to_owned());
        self.rewritten();
        let mut columns = columns_of(relation, &output, fenced);
        rename(&mut columns, Some(&alias))?;
        let names = relation.columns.iter().map(|column| &column.name);
        let relabelled = !names.eq(columns.iter().map(|column| &column.name));
        let id = self.add_entry(Entry {
            name: alias_name(Some(&alias), "")?,
            schema: None,
            columns,
            open: false,
            kind: EntryKind::Derived {
                risky: output.risky,
                sealed: output.sealed || fenced,
            },
        });
        level.risky |= output.risky;
        self.places.insert(id, location);
        level.derived.push(id);
        self.views.push(id);
        if relabelled {
            self.relabelled.insert(id);
        }
        *node = rewrite::node(NodeEnum::RangeSubselect(Box::new(RangeSubselect {
            subquery: Some(Box::new(rewrite::node(NodeEnum::SelectStmt(Box::new(
                query,
            ))))),
            alias: Some(alias),
            ..RangeSubselect::default()
        })));
        Ok(id)
    }

    /// Where a part of the client's text begins, while it can be told: a view's query has places of
    /// its own. `None` where no view can be in it.
    pub(super) fn place_before_views(&self, part: &impl Serialize) -> Option<i32> {
        let any = !self.bound.views.is_empty();
        any.then(|| tree::anchor_of(part))
    }

    /// Judges with the places of a stored query, of which the client's text has none.
    pub(super) fn inside_view<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, Denial>,
    ) -> Result<(R, Places), Denial> {
        let around = std::mem::take(&mut self.findings.places);
        let pinned = self.findings.pinned.len();
        let outer = std::mem::replace(&mut self.in_view, true);
        let (entries, ctes) = (self.entries.len(), self.ctes.len());
        let result = work(self);
        self.claim_fences(entries, ctes);
        self.in_view = outer;
        self.findings.pinned.truncate(pinned);
        let inside = std::mem::replace(&mut self.findings.places, around);
        Ok((result?, inside))
    }

    /// A key that the policy gives a view must come from a table that is scoped by the same.
    pub(super) fn refuse_other_keys(
        &self,
        relation: &Relation,
        keys: &[Key],
        output: &Output,
    ) -> Result<(), Denial> {
        let places: HashMap<&str, usize> = relation
            .columns
            .iter()
            .enumerate()
            .map(|(at, column)| (column.name.as_str(), at))
            .collect();
        for key in keys {
            let column = places.get(key.column.as_str());
            let column = column.and_then(|at| output.columns.get(*at));
            if column.is_none_or(|column| column.tenant != Some(key.slot)) {
                let text = format!(
                    "its column \"{}\" is not that of a table scoped by it",
                    key.column
                );
                return Err(Denial::new(DenyReason::OpaqueRelation, text));
            }
        }
        if output.open || output.columns.len() != relation.columns.len() {
            return Err(unsupported("a query whose columns are not known"));
        }
        Ok(())
    }
}

/// A view's columns: their names and types, and what is known of how they are computed.
pub(super) fn columns_of(relation: &Relation, output: &Output, fenced: bool) -> Vec<Column> {
    let columns = relation.columns.iter().zip(&output.columns);
    let column = |(column, computed): (&crate::catalog::Column, &Column)| Column {
        ty: Ty::Known(column.type_oid),
        plain: computed.plain,
        sealed: computed.sealed || fenced,
        ..Column::opaque(&column.name)
    };
    columns.map(column).collect()
}

/// Why a view can't be read. The reason is the view's, whatever its query is refused for, unless it
/// is the session's.
pub(super) fn unreadable(view: &str, denial: Denial) -> Denial {
    match denial.reason {
        DenyReason::MissingClaim | DenyReason::TooComplex | DenyReason::MissingFilter => Denial {
            position: None,
            ..denial
        },
        _ => {
            let why = denial.message.trim_start_matches("pgwarden: ");
            Denial::new(
                DenyReason::OpaqueRelation,
                format!("view \"{view}\" can't be filtered: {why}"),
            )
            .table(view)
            .hint("Query the tables behind the view, or have its query changed.")
        }
    }
}
