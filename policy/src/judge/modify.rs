//! UPDATE and DELETE.

use pg_query::protobuf::{DeleteStmt, Node, RangeVar, UpdateStmt};

use super::from::Level;
use super::names::{Item, Scope};
use super::output::Output;
use super::{EntryId, EntryKind, Env, Judge, unsupported};
use crate::deny::Denial;
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
        self.assignments(&mut update.target_list, target, &scope, &inner)?;
        let current = self.current_of(
            update.where_clause.as_deref(),
            update.relation.as_ref(),
            target,
            &level,
        )?;
        let mut tests = Vec::new();
        if !current {
            (_, tests) = self.filter(&mut update.where_clause, &level, &scope, &inner)?;
        }
        let output = self.returning(update.returning_clause.as_mut(), target, &scope, &inner)?;
        self.demand_filters(&level.relations);
        self.fence(&mut update.from_clause, &level);
        if !current {
            self.guard_where(&mut update.where_clause, &level, tests)?;
        }
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
        let (target, level) =
            self.write_level(delete.relation.as_mut(), &mut delete.using_clause, &inner)?;
        let scope = Scope {
            items: &level.items,
            outer: None,
        };
        let current = self.current_of(
            delete.where_clause.as_deref(),
            delete.relation.as_ref(),
            target,
            &level,
        )?;
        let mut tests = Vec::new();
        if !current {
            (_, tests) = self.filter(&mut delete.where_clause, &level, &scope, &inner)?;
        }
        let output = self.returning(delete.returning_clause.as_mut(), target, &scope, &inner)?;
        self.demand_filters(&level.relations);
        self.fence(&mut delete.using_clause, &level);
        if !current {
            self.guard_where(&mut delete.where_clause, &level, tests)?;
        }
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
        if level.risky || !level.guarded_in_where.is_empty() {
            self.refuse_a_name_twice(&level.items)?;
        }
        Ok((target, level))
    }

    fn guard_where(
        &mut self,
        clause: &mut Option<Box<Node>>,
        level: &Level,
        tests: Vec<Node>,
    ) -> Result<(), Denial> {
        let mut predicates = Vec::new();
        for id in &level.guarded_in_where {
            predicates.extend(self.predicate(*id)?);
        }
        predicates.extend(tests);
        rewrite::prepend(clause, predicates);
        Ok(())
    }
}
