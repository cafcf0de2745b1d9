//! The barrier: no expression that can raise an error, or that calls a function which is not
//! leakproof, sees a row before the tenant's predicate has admitted it.
//!
//! PostgreSQL evaluates the conjuncts of WHERE and ON in an order of its own choice, so an added
//! predicate alone does not protect a row from `1/(amount-777)`. Only such conjuncts can run
//! early; select lists, GROUP BY, ORDER BY and aggregates run on rows that passed. So a conjunct
//! that is not leakproof is wrapped:
//!
//! * over a scoped relation, `CASE WHEN <predicate> THEN <conjunct> ELSE false END`;
//! * over a derived table or CTE, whose columns the planner would replace by their definitions and
//!   evaluate inside, the derived table becomes a fence (`OFFSET 0`);
//! * over an aliased join, which hides the names of its relations, the join becomes a fence (`joined`);
//! * in ON of a FULL JOIN each side of an equality has a barrier of its own (`full_join`);
//! * in HAVING, which the planner may move into WHERE, `count(*) >= 0` holds it back.
//!
//! A subquery of a query with GROUP BY sees groups of rows that passed (`groups.rs`).

use pg_query::NodeEnum;
use pg_query::protobuf::{BoolExprType, Node};

use super::coercion::BOOL;
use super::expression::Facts;
use super::names::{Scope, Ty};
use super::{CteId, EntryId, EntryKind, Held, Judge, full_join, unsupported};
use crate::deny::Denial;
use crate::{rewrite, tree};

/// Where a condition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause<'c> {
    Where,
    /// ON, with the relations whose rows it may leave out.
    On(&'c [EntryId]),
    /// ON of a FULL JOIN, which leaves out no row; `joinable` when an equality is in it.
    Full {
        joinable: bool,
    },
    /// HAVING, with the relations whose rows are grouped.
    Having(&'c [EntryId]),
}

impl Judge<'_> {
    /// Judges a condition, conjunct by conjunct, and puts the barrier where it is needed. Says what
    /// the condition reads and leaks, for the queries around.
    pub(super) fn quals(
        &mut self,
        clause: &mut Option<Box<Node>>,
        scope: &Scope<'_>,
        env: &super::Env<'_>,
        place: Clause<'_>,
    ) -> Result<Facts, Denial> {
        match clause.as_deref_mut() {
            Some(condition) => self.condition(condition, scope, env, place),
            None => Ok(Facts::default()),
        }
    }

    /// A condition; the parts of AND, however nested, are conjuncts of their own.
    fn condition(
        &mut self,
        condition: &mut Node,
        scope: &Scope<'_>,
        env: &super::Env<'_>,
        place: Clause<'_>,
    ) -> Result<Facts, Denial> {
        if let Some(NodeEnum::BoolExpr(expr)) = condition.node.as_mut()
            && expr.boolop == BoolExprType::AndExpr as i32
        {
            let mut all = Facts::default();
            for conjunct in &mut expr.args {
                all.absorb(&self.condition(conjunct, scope, env, place)?);
            }
            return Ok(all);
        }
        self.conjunct(condition, scope, env, place)
    }

    fn conjunct(
        &mut self,
        conjunct: &mut Node,
        scope: &Scope<'_>,
        env: &super::Env<'_>,
        place: Clause<'_>,
    ) -> Result<Facts, Denial> {
        match place {
            Clause::Where => {
                let all: Vec<EntryId> = scope.items.iter().map(|item| item.entry).collect();
                self.note_filter(conjunct, &all, scope)?;
            }
            Clause::On(narrowed) => self.note_filter(conjunct, narrowed, scope)?,
            Clause::Full { .. } | Clause::Having(_) => {}
        }
        if matches!(place, Clause::Full { .. })
            && let Some(equality) = full_join::equality(conjunct)
        {
            return self.full_join_equality(equality, scope, env);
        }
        let begins = self.place_before_views(&*conjunct);
        let written = self.seek_needed(place, conjunct);
        let facts = match place {
            Clause::Having(groups) => self.condition_over(conjunct, groups, scope, env)?,
            Clause::Where | Clause::On(_) | Clause::Full { .. } => {
                self.expression(conjunct, scope, env)?
            }
        };
        self.allow_assignment(facts.ty, Ty::Known(BOOL))?;
        if !facts.leaky || facts.reads.is_empty() {
            return Ok(facts);
        }
        if let Clause::Having(_) = place {
            if !facts.aggregate && self.reads_tenant(&facts) {
                let held = rewrite::take(conjunct);
                let always = rewrite::after_grouping();
                self.hold(begins, &held, Vec::new());
                *conjunct = rewrite::case(always, held, rewrite::boolean(false));
                self.rewritten();
            }
            return Ok(facts);
        }
        let mut seen = facts.reads.clone();
        seen.retain(|id| !self.grouped.contains(id));
        self.over_groups |= seen.len() < facts.reads.len();
        let predicates = self.admissions(&seen, scope)?;
        if let Some(admitted) = rewrite::and(predicates) {
            if (place == Clause::Full { joinable: false }) {
                return Err(full_join::not_joinable());
            }
            let guarded = rewrite::take(conjunct);
            self.note_needed(written.as_ref());
            self.hold(begins, &guarded, self.admitting(&seen));
            *conjunct = rewrite::case(admitted, guarded, rewrite::boolean(false));
            self.rewritten();
        }
        Ok(facts)
    }

    /// Claims that a condition stands behind a barrier; the proof holds us to it.
    pub(super) fn hold(&mut self, place: Option<i32>, condition: &Node, by: Vec<i32>) {
        let at = place.unwrap_or_else(|| tree::anchor_of(condition));
        self.findings.places.held.push(Held { at, by });
    }

    /// The scoped relations that an expression reads, by place.
    pub(super) fn admitting(&self, reads: &[EntryId]) -> Vec<i32> {
        let scoped = |id: &&EntryId| {
            let kind = self.entry(**id).map(|entry| &entry.kind);
            matches!(kind, Some(EntryKind::Scoped { .. }))
        };
        let scoped = reads.iter().filter(scoped);
        scoped
            .map(|id| self.places.get(id).copied().unwrap_or(-1))
            .collect()
    }

    /// Claims the fences that were found to be needed of these entries and CTEs, and all after them;
    /// the proof holds us to them.
    pub(super) fn claim_fences(&mut self, entries: EntryId, ctes: CteId) {
        for id in self.fenced.extract_if(|id| *id >= entries) {
            if let Some(join) = self.joins.get(&id) {
                self.findings.places.fenced_joins.push(join.clone());
                continue;
            }
            let claimed = match self.views.contains(&id) {
                true => &mut self.findings.places.fenced_views,
                false => &mut self.findings.places.fences,
            };
            claimed.extend(self.places.get(&id));
        }
        let wanted: Vec<CteId> = self.fenced_ctes.extract_if(|id| *id >= ctes).collect();
        let wanted = wanted.iter().filter_map(|id| self.ctes.get(*id));
        let queries = wanted.filter(|cte| !cte.sealed).map(|cte| cte.place);
        self.findings.places.fences.extend(queries);
    }

    fn reads_tenant(&self, facts: &Facts) -> bool {
        facts
            .reads
            .iter()
            .any(|id| match self.entry(*id).map(|entry| &entry.kind) {
                Some(EntryKind::Free { .. }) | None => false,
                Some(EntryKind::Derived { risky, .. } | EntryKind::Join { risky, .. }) => *risky,
                Some(EntryKind::Cte { cte }) => self.cte(*cte).is_some_and(|cte| cte.risky),
                Some(EntryKind::Scoped { .. } | EntryKind::Merged(_)) => true,
            })
    }

    /// The predicates that admit the rows which a leaky conjunct reads. Derived tables and CTEs
    /// among them become fences.
    pub(super) fn admissions(
        &mut self,
        reads: &[EntryId],
        scope: &Scope<'_>,
    ) -> Result<Vec<Node>, Denial> {
        let mut predicates = Vec::new();
        for id in reads {
            match self.entry(*id).map(|entry| &entry.kind) {
                Some(EntryKind::Scoped { .. }) => {
                    self.refuse_shadowed(*id, scope)?;
                    predicates.extend(self.admission(*id)?);
                }
                Some(EntryKind::Derived {
                    risky: true,
                    sealed: false,
                }) => {
                    self.fenced.insert(*id);
                }
                Some(EntryKind::Cte { cte }) => {
                    let cte = *cte;
                    if self.cte(cte).is_some_and(|cte| cte.risky && !cte.sealed) {
                        self.fenced_ctes.insert(cte);
                    }
                }
                Some(EntryKind::Join { risky: true, .. }) => self.fence_join(*id)?,
                Some(
                    EntryKind::Derived { .. }
                    | EntryKind::Join { .. }
                    | EntryKind::Merged(_)
                    | EntryKind::Free { .. },
                )
                | None => {}
            }
        }
        Ok(predicates)
    }

    /// The predicate names its relation; if the conjunct's query has another of that name, the
    /// predicate would mean that one.
    fn refuse_shadowed(&self, id: EntryId, scope: &Scope<'_>) -> Result<(), Denial> {
        let Some(entry) = self.entry(id) else {
            return Ok(());
        };
        if self.find_item(None, &entry.name, scope) == Some(id) {
            return Ok(());
        }
        Err(
            unsupported("a condition on a table of an outer query whose name is shadowed")
                .hint("Give the tables different aliases."),
        )
    }

    /// What admits a row to a leaky condition: the predicate, or that an outer join made the row.
    /// (`tableoid` is NULL in no row of a table.)
    fn admission(&mut self, id: EntryId) -> Result<Vec<Node>, Denial> {
        let predicates = self.predicate(id)?;
        let Some(entry) = self.entry(id) else {
            return Ok(predicates);
        };
        let EntryKind::Scoped { nullable: true, .. } = entry.kind else {
            return Ok(predicates);
        };
        // A column alias list may call a column so, which can be NULL in a row of another tenant.
        if entry.columns.iter().any(|column| column.name == "tableoid") {
            return Err(unsupported("a column alias \"tableoid\""));
        }
        let made_up = rewrite::is_null(rewrite::column(&[&entry.name, "tableoid"]));
        let either = predicates
            .into_iter()
            .map(|predicate| rewrite::or(predicate, made_up.clone()));
        Ok(either.collect())
    }

    /// The tenant's predicate for a scoped relation: one condition for each key.
    pub(super) fn predicate(&mut self, id: EntryId) -> Result<Vec<Node>, Denial> {
        let Some(entry) = self.entry(id) else {
            return Ok(Vec::new());
        };
        let EntryKind::Scoped { keys, .. } = &entry.kind else {
            return Ok(Vec::new());
        };
        let (name, keys) = (entry.name.clone(), keys.clone());
        let mut predicates = Vec::with_capacity(keys.len());
        for key in &keys {
            let column = rewrite::column(&[&name, &key.column]);
            predicates.push(self.admits(column, key)?);
        }
        self.rewritten();
        Ok(predicates)
    }
}
