//! MERGE.
//!
//! Row level security hides another tenant's rows of the target from the join itself, so that a
//! source row which meets only such rows is NOT MATCHED. A predicate in ON does the same: the target
//! is either inner joined or the nullable side. Nothing in ON may hide rows of the source, which
//! would come out as NOT MATCHED, so relations of the source get guard joins of their own.
//!
//! Conditions and values of WHEN run on joined rows and need no barrier. Refused is what takes more
//! than a left join (NOT MATCHED BY SOURCE, where foreign rows of the target would come out), and
//! RETURNING.

use pg_query::NodeEnum;
use pg_query::protobuf::{CmdType, MergeMatchKind, MergeStmt, MergeWhenClause, Node};

use super::barrier::Clause;
use super::from::Level;
use super::insert::{column_target, list_columns};
use super::names::{Item, Scope};
use super::{EntryId, EntryKind, Env, Judge, unsupported, value};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

impl Judge<'_> {
    /// Judges a MERGE at the top of a statement.
    pub(super) fn merge(&mut self, merge: &mut MergeStmt, env: &Env<'_>) -> Result<(), Denial> {
        if merge.returning_clause.is_some() {
            return Err(unsupported("MERGE … RETURNING"));
        }
        let mut with = merge.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        let (Some(relation), Some(source)) = (
            merge.relation.as_mut(),
            merge.source_relation.as_deref_mut(),
        ) else {
            return Err(unsupported("MERGE without a table"));
        };
        let target = self.relation_reference(relation, true)?;
        let source = std::slice::from_mut(source);
        let mut level = Level {
            without_where: true,
            relations: vec![target],
            ..Level::default()
        };
        self.range_items(source, &mut level, None, &inner)?;
        let mut both = vec![Item::new(target)];
        both.extend(level.items.iter().cloned());
        let joined = Scope {
            items: &both,
            outer: None,
        };
        let from_source = Scope {
            items: &level.items,
            outer: None,
        };
        let mut read = self.quals(
            &mut merge.join_condition,
            &joined,
            &inner,
            Clause::On(&[target]),
        )?;
        for clause in &mut merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = clause.node.as_mut() else {
                return Err(unsupported("this kind of WHEN"));
            };
            let scope = match MergeMatchKind::try_from(when.match_kind) {
                Ok(MergeMatchKind::MergeWhenMatched) => &joined,
                Ok(MergeMatchKind::MergeWhenNotMatchedByTarget) => &from_source,
                Ok(MergeMatchKind::MergeWhenNotMatchedBySource | MergeMatchKind::Undefined)
                | Err(_) => return Err(unsupported("WHEN NOT MATCHED BY SOURCE")),
            };
            read.absorb(&self.optional(when.condition.as_mut(), scope, &inner)?);
            self.action(when, target, scope, &inner)?;
        }
        self.refuse_unread_target(target, &read.reads)?;
        self.demand_filters(&level.relations);
        self.fence(source, &level);
        let predicates = self.predicate(target)?;
        rewrite::prepend(&mut merge.join_condition, predicates);
        self.fence_ctes(with.as_mut(), &inner);
        merge.with_clause = with;
        Ok(())
    }

    /// Row level security hides rows of the target only from a MERGE that reads columns of it; one
    /// that reads none matches foreign rows, and fails at them.
    fn refuse_unread_target(&self, target: EntryId, read: &[EntryId]) -> Result<(), Denial> {
        let scoped = !self.keys_of(target).0.is_empty();
        if scoped && !read.contains(&target) {
            return Err(
                unsupported("MERGE that reads no column of its target in ON or WHEN")
                    .hint("Compare a column of the target in ON."),
            );
        }
        Ok(())
    }

    fn action(
        &mut self,
        when: &mut MergeWhenClause,
        target: EntryId,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        match CmdType::try_from(when.command_type) {
            Ok(CmdType::CmdUpdate) => self.assignments(&mut when.target_list, target, scope, env),
            Ok(CmdType::CmdDelete | CmdType::CmdNothing) => Ok(()),
            Ok(CmdType::CmdInsert) => self.merged_row(when, target, scope, env),
            Ok(
                CmdType::Undefined
                | CmdType::CmdUnknown
                | CmdType::CmdSelect
                | CmdType::CmdMerge
                | CmdType::CmdUtility,
            )
            | Err(_) => Err(unsupported("this action of MERGE")),
        }
    }

    /// The row of an INSERT: its tenant is the session's.
    fn merged_row(
        &mut self,
        when: &mut MergeWhenClause,
        target: EntryId,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let (keys, table) = self.keys_of(target);
        let mut columns = self.insert_columns(&mut when.target_list, target, !keys.is_empty())?;
        if when.values.len() > columns.len() {
            return Err(Denial {
                sqlstate: "42601",
                message: "INSERT has more expressions than target columns".to_owned(),
                ..Denial::new(DenyReason::SyntaxError, "")
            });
        }
        if when.target_list.is_empty() {
            columns.truncate(when.values.len());
        }
        for (value, column) in when.values.iter_mut().zip(&columns) {
            let key = keys.iter().find(|key| key.column == *column);
            let default = matches!(value.node, Some(NodeEnum::SetToDefault(_)));
            match key {
                Some(key) if default => {
                    self.may_fill(target, key, &table)?;
                    *value = self.slot_value(key)?;
                    self.rewritten();
                }
                Some(key) if key.via.is_some() => {
                    let facts = self.expression(value, scope, env)?;
                    self.check_reference(value, &facts, key, &table)?;
                }
                Some(key) => self.merged_tenant(value, key, &table, scope, env)?,
                None if default => {}
                None => {
                    let facts = self.kept(value, scope, env)?;
                    self.allow_assignment(facts.ty, self.column_type(target, column))?;
                }
            }
        }
        for key in keys.iter().filter(|key| !columns.contains(&key.column)) {
            self.may_fill(target, key, &table)?;
            list_columns(&mut when.target_list, &columns);
            when.target_list.push(column_target(&key.column));
            when.values.push(self.slot_value(key)?);
            self.rewritten();
        }
        Ok(())
    }

    /// A tenant value: a literal, a parameter, or the tenant column of a guarded relation of the
    /// source, by its full name.
    fn merged_tenant(
        &mut self,
        given: &mut Node,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        self.tenant_value(given, key, table, scope)?;
        if let Some(NodeEnum::ColumnRef(reference)) = given.node.as_ref() {
            let read = self.resolve(reference, scope)?;
            let always = read.entries.iter().all(|id| {
                let kind = self.entry(*id).map(|entry| &entry.kind);
                matches!(
                    kind,
                    Some(EntryKind::Scoped {
                        nullable: false,
                        ..
                    })
                )
            });
            if reference.fields.len() != 2 || !always {
                return Err(value::unproven(key, table));
            }
        }
        self.expression(given, scope, env)?;
        self.rewritten();
        Ok(())
    }
}
