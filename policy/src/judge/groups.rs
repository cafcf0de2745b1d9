//! GROUP BY: what it groups by, and what sees groups of rows that passed instead of rows.
//!
//! A subquery in the select list or ORDER BY of a query with GROUP BY can name what it is grouped by, and not
//! the tenant columns. It needs no predicate over them: groups are made of admitted rows. In HAVING, whose conditions the planner
//! may move into WHERE, such a condition is held back like any that leaks.
//!
//! A subquery that the query is grouped by stands in the select list for what GROUP BY has computed. PostgreSQL
//! takes it for that only if both are equal, so it is judged, and rewritten, as it is there. But up to 17 the server takes only
//! the first column of the select list for that, and computes all others anew. Of a grouping set that has not grouped by the
//! tenant column they would see NULL there, and the barrier would keep them from a row of the session's own: such a query is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, SubLink};

use super::expression::Facts;
use super::names::Scope;
use super::output::Output;
use super::{EntryId, Env, Judge, unsupported};
use crate::deny::Denial;
use crate::tree;

/// The subqueries that a query is grouped by.
#[derive(Debug, Default)]
pub(super) struct Queries {
    /// As the client has written them.
    written: Vec<tree::Node>,
    /// How many relations of the queries around are grouped where they stand.
    around: usize,
    /// Whether there are grouping sets, in which what is not grouped by is NULL.
    sets: bool,
}

impl Judge<'_> {
    /// Finds the subqueries of a GROUP BY that is not judged yet.
    pub(super) fn queries_of(&self, group_clause: &[Node]) -> Queries {
        Queries {
            written: tree::all_of("SubLink", &group_clause),
            around: self.grouped.len(),
            sets: group_clause
                .iter()
                .any(|item| matches!(item.node, Some(NodeEnum::GroupingSet(_)))),
        }
    }

    /// Judges a subquery of an expression; one that the query is grouped by as if it stood there.
    pub(super) fn sublink(
        &mut self,
        link: &mut SubLink,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let queries = std::mem::take(&mut self.group_queries);
        let mut written = queries.written.iter();
        let groups = if written.any(|query| tree::is_same(query, link)) {
            let around = queries.around.min(self.grouped.len());
            self.grouped.split_off(around)
        } else {
            Vec::new()
        };
        let mark = self.findings.places.held.len();
        let judged = self.subquery(link, scope, env);
        let barred = queries.sets && self.is_held_by(mark, &groups);
        self.grouped.extend(groups);
        self.group_queries = queries;
        if barred {
            return Err(unsupported(
                "a grouping set of a subquery whose condition may fail on a row of the query around",
            )
            .hint("Compute the subquery in a subselect in FROM, and group by its column."));
        }
        judged
    }

    /// Whether one of these relations admits its rows to a condition that was held back since the mark.
    fn is_held_by(&self, mark: usize, relations: &[EntryId]) -> bool {
        let places = relations.iter().filter_map(|id| self.places.get(id));
        let places: Vec<i32> = places.copied().collect();
        let mut held = self.findings.places.held.iter().skip(mark);
        held.any(|held| held.by.iter().any(|place| places.contains(place)))
    }

    pub(super) fn grouping(
        &mut self,
        items: &mut [Node],
        scope: &Scope<'_>,
        labels: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut facts = Facts::default();
        for item in items {
            if let Some(NodeEnum::GroupingSet(set)) = item.node.as_mut() {
                facts.absorb(&self.grouping(&mut set.content, scope, labels, env)?);
            } else if let Some(NodeEnum::RowExpr(row)) = item.node.as_mut() {
                facts.absorb(&self.grouping(&mut row.args, scope, labels, env)?);
            } else {
                facts.absorb(&self.labelled(item, scope, labels, env)?);
            }
        }
        Ok(facts)
    }

    /// Judges what sees groups instead of rows, and tells whether a condition in it leaks over them.
    pub(super) fn over<T>(
        &mut self,
        groups: &[EntryId],
        judge: impl FnOnce(&mut Self) -> Result<T, Denial>,
    ) -> Result<(T, bool), Denial> {
        let around = self.grouped.len();
        let leaked = std::mem::replace(&mut self.over_groups, false);
        self.grouped.extend(groups);
        let judged = judge(self);
        self.grouped.truncate(around);
        let leaks = self.over_groups;
        self.over_groups |= leaked;
        Ok((judged?, leaks))
    }

    /// A condition of HAVING. Where one in it leaks over the groups, it must wait for them.
    pub(super) fn condition_over(
        &mut self,
        condition: &mut Node,
        groups: &[EntryId],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let judged = self.over(groups, |judge| judge.expression(condition, scope, env));
        let (mut facts, leaks) = judged?;
        if leaks {
            facts.leaky = true;
            facts.reads.extend(groups);
        }
        Ok(facts)
    }

    /// The select list of a query. Where a condition in it leaks, all that it gives does.
    pub(super) fn targets_over(
        &mut self,
        targets: &mut [Node],
        groups: &[EntryId],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let (mut output, leaks) = self.over(groups, |judge| judge.targets(targets, scope, env))?;
        if leaks {
            output.leaky = true;
            output.reads.extend(groups);
            output.columns.iter_mut().for_each(|it| it.plain = false);
        }
        Ok(output)
    }
}
