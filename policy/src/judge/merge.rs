//! MERGE.
//!
//! Row level security hides another tenant's rows of the target from the join itself, so that a
//! source row which meets only such rows is NOT MATCHED. A predicate in ON does the same: the target
//! is either inner joined or the nullable side. Nothing in ON may hide rows of the source, which
//! would come out as NOT MATCHED, so relations of the source get guard joins of their own.
//!
//! Conditions and values of WHEN run on joined rows and need no barrier, but for NOT MATCHED BY
//! SOURCE: what ON hides of the target comes out there, so that each such WHEN has the predicate as its
//! own condition, or as a barrier around it. RETURNING gives what was matched or written.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CmdType, MergeMatchKind, MergeStmt, MergeWhenClause, Node, ReturningClause, a_const,
};

use super::barrier::Clause;
use super::expression::Facts;
use super::from::Level;
use super::insert::{column_target, enough_values, list_columns};
use super::names::{Item, Scope};
use super::output::Output;
use super::{EntryId, Env, Judge, unsupported};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

impl Judge<'_> {
    /// Judges a MERGE.
    pub(super) fn merge(&mut self, merge: &mut MergeStmt, env: &Env<'_>) -> Result<Output, Denial> {
        let mut with = merge.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        let (Some(relation), Some(source)) = (
            merge.relation.as_mut(),
            merge.source_relation.as_deref_mut(),
        ) else {
            return Err(unsupported("MERGE without a table"));
        };
        let target = self.write_target(relation)?;
        let source = std::slice::from_mut(source);
        let mut level = Level {
            without_where: true,
            relations: vec![target],
            ..Level::default()
        };
        self.range_items(source, &mut level, None, &inner)?;
        let matching = Matching {
            target: vec![Item::new(target)],
            // `*` of RETURNING has the source's columns first.
            both: [level.items.as_slice(), &[Item::new(target)]].concat(),
            source: std::mem::take(&mut level.items),
        };
        self.refuse_a_name_twice(&matching.both)?;
        let never = merge.join_condition.as_deref().is_some_and(is_false);
        let mut read = self.quals(
            &mut merge.join_condition,
            &scope_of(&matching.both),
            &inner,
            Clause::On(&[target]),
        )?;
        let mut by_source = false;
        for clause in &mut merge.merge_when_clauses {
            let Some(NodeEnum::MergeWhenClause(when)) = clause.node.as_mut() else {
                return Err(unsupported("this kind of WHEN"));
            };
            by_source |= is_by_source(when);
            read.absorb(&self.when(when, target, &matching, &inner)?);
        }
        let output =
            self.merged_output(merge.returning_clause.as_mut(), target, &matching, &inner)?;
        read.reads.extend(output.reads.iter().copied());
        if !never || by_source {
            self.refuse_unread_target(target, &read.reads)?;
        }
        self.demand_filters(&level.relations);
        self.fence(source, &level);
        let predicates = self.predicate(target)?;
        rewrite::prepend(&mut merge.join_condition, predicates);
        self.fence_ctes(with.as_mut(), &inner);
        merge.with_clause = with;
        Ok(Output {
            risky: true,
            sealed: true,
            ..output
        })
    }

    fn merged_output(
        &mut self,
        returning: Option<&mut ReturningClause>,
        target: EntryId,
        matching: &Matching,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let around = std::mem::replace(&mut self.merging, true);
        let output = self.returning(returning, target, &scope_of(&matching.both), env);
        self.merging = around;
        output
    }

    /// Judges a WHEN, and says what its condition reads.
    fn when(
        &mut self,
        when: &mut MergeWhenClause,
        target: EntryId,
        matching: &Matching,
        env: &Env<'_>,
    ) -> Result<Facts, Denial> {
        let by_source = is_by_source(when);
        let items = match MergeMatchKind::try_from(when.match_kind) {
            Ok(MergeMatchKind::MergeWhenMatched) => &matching.both,
            Ok(MergeMatchKind::MergeWhenNotMatchedByTarget) => &matching.source,
            Ok(MergeMatchKind::MergeWhenNotMatchedBySource) => &matching.target,
            Ok(MergeMatchKind::Undefined) | Err(_) => {
                return Err(unsupported("this kind of WHEN"));
            }
        };
        let scope = scope_of(items);
        let read = self.truth(when.condition.as_mut(), &scope, env)?;
        if by_source && let Some(admitted) = rewrite::and(self.predicate(target)?) {
            let own = when.condition.take();
            when.condition = Some(Box::new(match own {
                Some(own) => rewrite::case(admitted, *own, rewrite::boolean(false)),
                None => admitted,
            }));
        }
        self.action(when, target, &scope, env)?;
        Ok(read)
    }

    /// Row level security hides rows of the target only from a MERGE that reads columns of it; one
    /// that reads none matches foreign rows, and fails at them, or inserts nothing because of them.
    fn refuse_unread_target(&self, target: EntryId, read: &[EntryId]) -> Result<(), Denial> {
        let scoped = !self.keys_of(target).0.is_empty();
        if scoped && !read.contains(&target) {
            return Err(
                unsupported("MERGE that reads no column of its target in ON or WHEN")
                    .hint("Compare a column of the target in ON: without one even row level security matches every tenant's rows."),
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
        if !keys.is_empty() {
            enough_values(when.target_list.len(), when.values.len())?;
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
    /// source, by its full name. Any other is looked at when the row is made.
    fn merged_tenant(
        &mut self,
        given: &mut Node,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let known =
            self.is_own_value(given, key, table, scope)? && self.is_always_there(given, scope)?;
        let facts = self.expression(given, scope, env)?;
        if !known {
            self.check_written(given, &facts, key, table)?;
        }
        self.rewritten();
        Ok(())
    }
}

/// The relations of a MERGE, as its parts may name them.
struct Matching {
    target: Vec<Item>,
    source: Vec<Item>,
    both: Vec<Item>,
}

fn scope_of(items: &[Item]) -> Scope<'_> {
    Scope { items, outer: None }
}

fn is_by_source(when: &MergeWhenClause) -> bool {
    when.match_kind == MergeMatchKind::MergeWhenNotMatchedBySource as i32
}

/// Whether a condition is the word `false`: nothing matches, whoever's rows there are.
fn is_false(condition: &Node) -> bool {
    let Some(NodeEnum::AConst(constant)) = condition.node.as_ref() else {
        return false;
    };
    matches!(&constant.val, Some(a_const::Val::Boolval(value)) if !value.boolval)
}
