//! UPDATE and DELETE.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeleteStmt, Node, RangeVar, ResTarget, ReturningClause, UpdateStmt};

use super::barrier::Clause;
use super::expression::Facts;
use super::from::Level;
use super::names::{Item, Scope, Ty};
use super::operation::Shape;
use super::select::Output;
use super::{EntryId, EntryKind, Env, Judge, unsupported, value, via};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

impl Judge<'_> {
    /// Judges an UPDATE.
    pub(super) fn update(
        &mut self,
        update: &mut UpdateStmt,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mut with = update.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        let (target, level) =
            self.write_level(update.relation.as_mut(), &mut update.from_clause, &inner)?;
        let scope = Scope {
            items: &level.items,
            outer: None,
        };
        // A row that FROM brings twice is written once, with either's values.
        let once = update.from_clause.is_empty();
        self.assignments(&mut update.target_list, (target, once), &scope, &inner)?;
        self.quals(&mut update.where_clause, &scope, &inner, Clause::Where)?;
        let output = self.returning(update.returning_clause.as_mut(), &scope, &inner)?;
        self.demand_filters(&level.relations);
        self.fence(&mut update.from_clause, &level);
        self.guard_where(&mut update.where_clause, &level)?;
        self.fence_ctes(with.as_mut(), &inner);
        update.with_clause = with;
        Ok(Output {
            risky: true,
            sealed: true,
            ..output
        })
    }

    /// Judges a DELETE.
    pub(super) fn delete(
        &mut self,
        delete: &mut DeleteStmt,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mut with = delete.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        let (_, level) =
            self.write_level(delete.relation.as_mut(), &mut delete.using_clause, &inner)?;
        let scope = Scope {
            items: &level.items,
            outer: None,
        };
        self.quals(&mut delete.where_clause, &scope, &inner, Clause::Where)?;
        let output = self.returning(delete.returning_clause.as_mut(), &scope, &inner)?;
        self.demand_filters(&level.relations);
        self.fence(&mut delete.using_clause, &level);
        self.guard_where(&mut delete.where_clause, &level)?;
        self.fence_ctes(with.as_mut(), &inner);
        delete.with_clause = with;
        Ok(Output {
            risky: true,
            sealed: true,
            ..output
        })
    }

    /// The target and the FROM or USING items of an UPDATE or DELETE.
    fn write_level(
        &mut self,
        relation: Option<&mut RangeVar>,
        from: &mut [Node],
        env: &Env<'_>,
    ) -> Result<(EntryId, Level), Denial> {
        let Some(relation) = relation else {
            return Err(unsupported("a write without a table"));
        };
        let mut level = Level::default();
        let target = self.write_target(relation)?;
        if matches!(
            self.entry(target).map(|entry| &entry.kind),
            Some(EntryKind::Scoped { .. })
        ) {
            level.guarded_in_where.push(target);
        }
        level.relations.push(target);
        // The target can't be named by LATERAL items, but by everything else.
        self.range_items(from, &mut level, None, env)?;
        level.items.insert(0, Item::new(target));
        Ok((target, level))
    }

    fn guard_where(&mut self, clause: &mut Option<Box<Node>>, level: &Level) -> Result<(), Denial> {
        let mut predicates = Vec::new();
        for id in &level.guarded_in_where {
            predicates.extend(self.predicate(*id)?);
        }
        rewrite::prepend(clause, predicates);
        Ok(())
    }

    /// RETURNING.
    pub(super) fn returning(
        &mut self,
        clause: Option<&mut ReturningClause>,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let Some(clause) = clause else {
            return Ok(Output::default());
        };
        if !clause.options.is_empty() {
            return Err(unsupported("RETURNING WITH (OLD AS, NEW AS)"));
        }
        self.targets(&mut clause.exprs, scope, env)
    }

    /// SET of an UPDATE or of ON CONFLICT DO UPDATE. Where each row is made `once`, a tenant column
    /// may be computed: the value is looked at then.
    pub(super) fn assignments(
        &mut self,
        targets: &mut [Node],
        (target, once): (EntryId, bool),
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let (keys, table) = self.keys_of(target);
        for node in targets {
            let Some(NodeEnum::ResTarget(assignment)) = node.node.as_mut() else {
                return Err(unsupported("this kind of SET"));
            };
            let key = keys
                .iter()
                .find(|key| key.column == assignment.name)
                .cloned();
            let reference = key.as_ref().filter(|key| key.via.is_some());
            let own = key.as_ref().filter(|key| key.via.is_none());
            let unproven = match own {
                Some(key) => self.tenant_assignment(assignment, key, &table, scope).err(),
                None => None,
            };
            let computed = once && is_computed(assignment);
            let check = match unproven {
                Some(denial) if denial.reason != DenyReason::UnprovenTenantValue || !computed => {
                    return Err(denial);
                }
                unproven => unproven.is_some(),
            };
            self.indirection(&mut assignment.indirection, scope, env)?;
            let facts = self.assigned(assignment, scope, env)?;
            let whole = assignment.indirection.is_empty();
            let stored = self.column_type(target, &assignment.name);
            self.allow_assignment(facts.ty, if whole { stored } else { Ty::Unknown })?;
            if let Some(key) = reference {
                self.assigned_reference(assignment, &facts, key, &table)?;
            }
            if let (Some(key), Some(value), true) = (own, assignment.val.as_mut(), check) {
                self.check_written(value, &facts, key, &table)?;
            }
        }
        Ok(())
    }

    fn assigned(
        &mut self,
        assignment: &mut ResTarget,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        match assignment
            .val
            .as_mut()
            .and_then(|value| value.node.as_mut())
        {
            Some(NodeEnum::SetToDefault(_)) => Ok(Facts {
                ty: Ty::Adaptable,
                ..Facts::default()
            }),
            Some(NodeEnum::MultiAssignRef(multi)) => {
                // Every column of `(a, b) = …` carries the same source, of which the server reads
                // the first; all of them are judged, so that all are rewritten alike.
                match multi.source.as_mut() {
                    Some(source) if row_with_default(source) => {
                        self.row_defaults(source, scope, env)
                    }
                    Some(source) => {
                        let (facts, shape) = self.operand(source, scope, env)?;
                        let at = usize::try_from(multi.colno - 1).unwrap_or(usize::MAX);
                        let ty = match shape {
                            Shape::Row(types) => types.get(at).copied().unwrap_or_default(),
                            Shape::One(_) | Shape::Items(_) | Shape::Array(..) => Ty::Unknown,
                        };
                        Ok(Facts { ty, ..facts })
                    }
                    None => Err(unsupported("an empty SET")),
                }
            }
            Some(_) => match assignment.val.as_mut() {
                Some(value) => self.kept(value, scope, env),
                None => Err(unsupported("an empty SET")),
            },
            None => Err(unsupported("an empty SET")),
        }
    }

    fn row_defaults(
        &mut self,
        source: &mut Node,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let Some(NodeEnum::RowExpr(row)) = source.node.as_mut() else {
            return Ok(Facts::default());
        };
        for value in &mut row.args {
            if !matches!(value.node, Some(NodeEnum::SetToDefault(_))) {
                self.expression(value, scope, env)?;
            }
        }
        Ok(Facts::default())
    }

    /// A reference to a parent is checked where it stands alone.
    fn assigned_reference(
        &mut self,
        assignment: &mut ResTarget,
        facts: &Facts,
        key: &Key,
        table: &str,
    ) -> Result<(), Denial> {
        let whole = assignment.indirection.is_empty();
        match assignment.val.as_deref_mut().filter(|_| whole) {
            Some(value)
                if !matches!(
                    value.node,
                    Some(NodeEnum::MultiAssignRef(_) | NodeEnum::SetToDefault(_))
                ) =>
            {
                self.check_reference(value, facts, key, table)
            }
            _ => Err(via::unproven_reference(key, table)),
        }
    }

    /// The tenant column may be set only to the session's own value.
    fn tenant_assignment(
        &mut self,
        assignment: &ResTarget,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        self.rewritten();
        if !assignment.indirection.is_empty() {
            return Err(value::unproven(key, table));
        }
        let Some(assigned) = assignment.val.as_deref() else {
            return Err(value::unproven(key, table));
        };
        if let Some(NodeEnum::MultiAssignRef(multi)) = assigned.node.as_ref() {
            let at = usize::try_from(multi.colno)
                .ok()
                .and_then(|n| n.checked_sub(1));
            let source = multi
                .source
                .as_deref()
                .and_then(|source| source.node.as_ref());
            return match (source, at) {
                (Some(NodeEnum::RowExpr(row)), Some(at)) => match row.args.get(at) {
                    Some(value) => self.tenant_value(value, key, table, scope),
                    None => Err(value::unproven(key, table)),
                },
                _ => Err(value::unproven(key, table)),
            };
        }
        self.tenant_value(assigned, key, table, scope)
    }

    /// The type of a target's column.
    pub(super) fn column_type(&self, target: EntryId, name: &str) -> Ty {
        let mut columns = self.entry(target).into_iter().flat_map(|it| &it.columns);
        let found = columns.find(|column| column.name == name);
        found.map_or(Ty::Unknown, |column| column.ty)
    }

    /// The keys of a scoped target and its name for messages.
    pub(super) fn keys_of(&self, target: EntryId) -> (Vec<Key>, String) {
        let Some(entry) = self.entry(target) else {
            return (Vec::new(), String::new());
        };
        match &entry.kind {
            EntryKind::Scoped { keys, table, .. } => (keys.clone(), table.clone()),
            _ => (Vec::new(), entry.name.clone()),
        }
    }
}

/// Whether one expression is assigned to the whole column.
fn is_computed(assignment: &ResTarget) -> bool {
    let value = assignment.val.as_deref();
    let parts = matches!(
        value.and_then(|value| value.node.as_ref()),
        None | Some(NodeEnum::MultiAssignRef(_) | NodeEnum::SetToDefault(_))
    );
    assignment.indirection.is_empty() && !parts
}

fn row_with_default(source: &Node) -> bool {
    match source.node.as_ref() {
        Some(NodeEnum::RowExpr(row)) => row
            .args
            .iter()
            .any(|arg| matches!(arg.node, Some(NodeEnum::SetToDefault(_)))),
        _ => false,
    }
}
