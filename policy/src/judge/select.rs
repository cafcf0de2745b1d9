//! SELECT, VALUES, TABLE, set operations and WITH.

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ResTarget, SelectStmt, SetOperation};

use super::barrier::Clause;
use super::expression::Facts;
use super::from::Level;
use super::labels::figured_name;
use super::names::{Column, Item, Scope};
use super::output::{Output, combine, common_type};
use super::{EntryId, EntryKind, Env, Judge, refuse_reserved, unsupported, width};
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

type Iter<'i> = std::slice::Iter<'i, EntryId>;

impl Judge<'_> {
    /// Judges a SELECT in any of its forms.
    pub(super) fn select(
        &mut self,
        select: &mut SelectStmt,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        if select.into_clause.is_some() {
            return Err(unsupported("SELECT INTO"));
        }
        let mut with = select.with_clause.take();
        let inner = self.with(with.as_mut(), outer, env)?;
        let output = match SetOperation::try_from(select.op).unwrap_or(SetOperation::Undefined) {
            SetOperation::SetopNone if select.values_lists.is_empty() => {
                self.plain_select(select, outer, &inner)
            }
            SetOperation::SetopNone => self.values(select, outer, &inner),
            SetOperation::SetopUnion | SetOperation::SetopIntersect | SetOperation::SetopExcept => {
                self.set_operation(select, outer, &inner)
            }
            SetOperation::Undefined => Err(unsupported("this set operation")),
        };
        self.fence_ctes(with.as_mut(), &inner);
        select.with_clause = with;
        let mut output = output?;
        output.sealed |= select.limit_count.is_some() || select.limit_offset.is_some();
        output.risky |= inner
            .ctes
            .iter()
            .any(|(_, id)| self.cte(*id).is_some_and(|c| c.risky));
        if output.sealed {
            for column in &mut output.columns {
                column.sealed = true;
            }
        }
        Ok(output)
    }

    fn plain_select(
        &mut self,
        select: &mut SelectStmt,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mark = self.entries.len();
        let mut level = Level::default();
        let around = std::mem::take(&mut self.group_queries);
        self.range_items(&mut select.from_clause, &mut level, outer, env)?;
        let items = std::mem::take(&mut level.items);
        let scope = Scope {
            items: &items,
            outer,
        };
        let grouped = !select.group_clause.is_empty();
        let mut groups = Vec::new();
        if grouped {
            groups.extend(&level.relations);
            groups.extend(items.iter().map(|item| item.entry));
        }
        self.group_queries = self.queries_of(&select.group_clause);
        let mut output = self.targets_over(&mut select.target_list, &groups, &scope, env)?;
        let mut aggregate = output.columns.iter().any(|column| column.sealed);
        let (filter, tests) = self.filter(&mut select.where_clause, &level, &scope, env)?;
        self.demand_filters(&level.relations);

        let by_output = self.output_scope(&output);
        let names = [Item::new(by_output)];
        let labels = Scope {
            items: &names,
            outer: Some(&scope),
        };
        let group = self.grouping(&mut select.group_clause, &scope, &labels, env)?;
        output.absorb(&group);
        aggregate |= select.having_clause.is_some();
        let having = self.quals(
            &mut select.having_clause,
            &scope,
            env,
            Clause::Having(&groups),
        )?;
        // No barrier of this query's HAVING keeps it from a row of an outer query.
        if having.reads.iter().any(|entry| *entry < mark) {
            output.absorb(&having);
        }
        for window in &mut select.window_clause {
            let Some(NodeEnum::WindowDef(window)) = window.node.as_mut() else {
                return Err(unsupported("this kind of WINDOW"));
            };
            output.absorb(&self.window(window, &scope, env)?);
        }
        let (sorted, leaks) = self.over(&groups, |judge| {
            let mut distinct = Facts::default();
            for node in &mut select.distinct_clause {
                if node.node.is_some() {
                    distinct.absorb(&judge.labelled(node, &scope, &labels, env)?);
                }
            }
            let sorted = judge.sort_by(&mut select.sort_clause, &scope, &labels, env)?;
            distinct.absorb(&sorted);
            Ok(distinct)
        })?;
        output.absorb(&sorted);
        output.leaky |= leaks;
        self.group_queries = around;
        output.absorb(&self.limits(select, outer, env)?);
        self.locking(select, &items, &level)?;
        self.refuse_fenced_joins(select, &level)?;

        self.fence(&mut select.from_clause, &level);
        let mut predicates = Vec::new();
        for id in &level.guarded_in_where {
            predicates.extend(self.predicate(*id)?);
        }
        predicates.extend(tests);
        rewrite::prepend(&mut select.where_clause, predicates);
        output.risky = level.risky;
        output.reads.extend(&level.reads);
        output.depends = level.depends;
        output.depends.extend(filter.reads);
        output.depends.extend(having.reads);
        output.single_row = (items.is_empty() || aggregate) && !grouped;
        Ok(output)
    }

    /// The select list (or RETURNING), and the columns that it gives.
    pub(super) fn targets(
        &mut self,
        targets: &mut [Node],
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mut output = Output::default();
        for node in targets {
            let Some(NodeEnum::ResTarget(target)) = node.node.as_mut() else {
                return Err(unsupported("this kind of select list"));
            };
            refuse_reserved(&target.name)?;
            self.target(target, &mut output, scope, env)?;
        }
        Ok(output)
    }

    fn target(
        &mut self,
        target: &mut ResTarget,
        output: &mut Output,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let Some(value) = target.val.as_mut() else {
            return Err(unsupported("an empty target"));
        };
        if let Some(NodeEnum::ColumnRef(reference)) = value.node.as_ref()
            && let Some(qualifier) = Self::star_target(reference)
        {
            let (columns, open) = self.star(qualifier, scope)?;
            output.open |= open;
            output.columns.extend(columns);
            width::check_targets(output.columns.len())?;
            output
                .reads
                .extend(scope.items.iter().map(|item| item.entry));
            return Ok(());
        }
        // `(row).*` gives columns that we don't know.
        let spread = matches!(
            value.node.as_ref(),
            Some(NodeEnum::AIndirection(steps))
                if steps.indirection.iter().any(|s| matches!(s.node, Some(NodeEnum::AStar(_))))
        );
        let name = if target.name.is_empty() {
            figured_name(value)
        } else {
            target.name.clone()
        };
        self.refuse_row_of_view(value, scope)?;
        let facts = self.kept(value, scope, env)?;
        output.absorb(&facts);
        output.open |= spread;
        if !spread {
            output.columns.push(Column {
                name,
                ty: facts.ty,
                plain: !facts.leaky,
                sealed: facts.sealed,
                tenant: facts.tenant,
                hidden: false,
                unstarred: false,
            });
        }
        width::check_targets(output.columns.len())
    }

    /// An entry through which ORDER BY and GROUP BY name output columns.
    pub(super) fn output_scope(&mut self, output: &Output) -> EntryId {
        let columns = output
            .columns
            .iter()
            .map(|c| Column {
                sealed: true,
                ..c.clone()
            })
            .collect();
        self.add_entry(super::Entry {
            name: String::new(),
            schema: None,
            columns,
            open: false,
            kind: EntryKind::Free { writable: true },
        })
    }

    /// A GROUP BY item or the like: a name of an output column only if it is nothing else.
    pub(super) fn labelled(
        &mut self,
        node: &mut Node,
        scope: &Scope<'_>,
        labels: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        if let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref()
            && reference.fields.len() == 1
        {
            return match self.resolve(reference, scope) {
                Ok(_) => self.kept(node, scope, env),
                Err(denial) if denial.sqlstate == "42703" => self.kept(node, labels, env),
                Err(denial) => Err(denial),
            };
        }
        self.kept(node, scope, env)
    }

    pub(super) fn sort_by(
        &mut self,
        items: &mut [Node],
        scope: &Scope<'_>,
        labels: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let mut facts = Facts::default();
        for item in items {
            let Some(NodeEnum::SortBy(sort)) = item.node.as_mut() else {
                return Err(unsupported("this kind of ORDER BY"));
            };
            let Some(node) = sort.node.as_mut() else {
                return Err(unsupported("an empty ORDER BY"));
            };
            let sorted = self.labelled(node, scope, labels, env)?;
            self.sort_operator(sort, sorted.ty)?;
            facts.absorb(&sorted);
        }
        Ok(facts)
    }

    /// LIMIT and OFFSET see no FROM item of their own query.
    pub(super) fn limits(
        &mut self,
        select: &mut SelectStmt,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let nothing = Scope { items: &[], outer };
        let mut facts = self.number(select.limit_count.as_mut(), &nothing, env)?;
        facts.absorb(&self.number(select.limit_offset.as_mut(), &nothing, env)?);
        Ok(facts)
    }

    /// FOR UPDATE and its kind: rows that may not be written may not be locked.
    fn locking(
        &mut self,
        select: &SelectStmt,
        items: &[Item],
        level: &Level,
    ) -> Result<(), Denial> {
        for clause in &select.locking_clause {
            let Some(NodeEnum::LockingClause(clause)) = clause.node.as_ref() else {
                return Err(unsupported("this kind of locking clause"));
            };
            for relation in &clause.locked_rels {
                let Some(NodeEnum::RangeVar(range)) = relation.node.as_ref() else {
                    return Err(unsupported("this kind of locking clause"));
                };
                let scope = Scope { items, outer: None };
                if !range.schemaname.is_empty()
                    || self.find_item(None, &range.relname, &scope).is_none()
                {
                    let sqlstate = match range.schemaname.is_empty() {
                        true => "42P01",
                        false => "42601",
                    };
                    return Err(Denial {
                        sqlstate,
                        message: format!(
                            "relation \"{}\" in a locking clause is not found in FROM",
                            range.relname
                        ),
                        ..Denial::new(DenyReason::AmbiguousColumn, "")
                    });
                }
            }
        }
        let locks = !select.locking_clause.is_empty();
        if locks {
            self.findings.primary_only.set(true);
        }
        let read_only = level.relations.iter().any(|id| {
            let kind = self.entry(*id).map(|entry| &entry.kind);
            matches!(kind, Some(EntryKind::Free { writable: false }))
        });
        if locks && read_only {
            return Err(Denial::new(
                DenyReason::ReadOnlyRelation,
                "rows of a relation that may only be read can't be locked",
            ));
        }
        Ok(())
    }

    fn values(
        &mut self,
        select: &mut SelectStmt,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let scope = Scope { items: &[], outer };
        let mut output = Output {
            single_row: select.values_lists.len() == 1,
            ..Output::default()
        };
        for (row, list) in select.values_lists.iter_mut().enumerate() {
            let Some(NodeEnum::List(list)) = list.node.as_mut() else {
                return Err(unsupported("this kind of VALUES"));
            };
            for (at, value) in list.items.iter_mut().enumerate() {
                let facts = self.kept(value, &scope, env)?;
                output.absorb(&facts);
                let name = format!("column{}", at + 1);
                let column = Column {
                    ty: facts.ty,
                    plain: !facts.leaky,
                    ..Column::opaque(&name)
                };
                match output.columns.get_mut(at) {
                    None if row == 0 => output.columns.push(column),
                    None => {}
                    Some(known) => {
                        known.plain &= column.plain;
                        self.unify(known.ty, column.ty)?;
                        known.ty = common_type(known.ty, column.ty);
                    }
                }
            }
        }
        let label = self.output_scope(&output);
        let names = [Item::new(label)];
        let labels = Scope {
            items: &names,
            outer,
        };
        output.absorb(&self.sort_by(&mut select.sort_clause, &labels, &labels, env)?);
        output.absorb(&self.limits(select, outer, env)?);
        Ok(output)
    }

    fn set_operation(
        &mut self,
        select: &mut SelectStmt,
        outer: Option<&Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let (Some(larg), Some(rarg)) = (select.larg.as_mut(), select.rarg.as_mut()) else {
            return Err(unsupported("a set operation with one side"));
        };
        let left = self.select(larg, outer, env)?;
        let right = self.select(rarg, outer, env)?;
        for (left, right) in left.columns.iter().zip(&right.columns) {
            self.unify(left.ty, right.ty)?;
        }
        let mut output = combine(left, right);
        let label = self.output_scope(&output);
        let names = [Item::new(label)];
        let labels = Scope {
            items: &names,
            outer,
        };
        output.absorb(&self.sort_by(&mut select.sort_clause, &labels, &labels, env)?);
        output.absorb(&self.limits(select, outer, env)?);
        if !select.locking_clause.is_empty() {
            return Err(unsupported("FOR UPDATE with a set operation"));
        }
        Ok(output)
    }

    /// Makes the derived tables of a FROM clause that need it fences.
    pub(super) fn fence(&mut self, items: &mut [Node], level: &Level) {
        let mut derived = level.derived.iter();
        let mut joins = level.joins.iter();
        for item in items {
            self.fence_item(item, &mut derived, &mut joins);
        }
    }

    fn fence_item(&mut self, node: &mut Node, derived: &mut Iter<'_>, joins: &mut Iter<'_>) {
        match node.node.as_mut() {
            Some(NodeEnum::JoinExpr(join)) => {
                for side in [join.larg.as_mut(), join.rarg.as_mut()]
                    .into_iter()
                    .flatten()
                {
                    self.fence_item(side, derived, joins);
                }
                if join.alias.is_some()
                    && let Some(id) = joins.next()
                {
                    self.fence_joined(node, *id);
                }
            }
            Some(NodeEnum::RangeSubselect(range)) if !rewrite::is_injected(range) => {
                let fenced = derived.next().is_some_and(|id| self.fenced.contains(id));
                if let Some(NodeEnum::SelectStmt(select)) = range
                    .subquery
                    .as_mut()
                    .and_then(|query| query.node.as_mut())
                    && fenced
                    && select.limit_offset.is_none()
                {
                    select.limit_offset = Some(Box::new(rewrite::integer(0)));
                    self.rewritten();
                }
            }
            _ => {}
        }
    }
}
