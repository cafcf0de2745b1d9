//! INSERT: the tenant column of every row is the session's, whether the client wrote it or not.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    InsertStmt, List, Node, OnConflictAction, OnConflictClause, ResTarget, SelectStmt, SetOperation,
};

use super::names::{Column, Item, Scope, Ty};
use super::output::Output;
use super::{Entry, EntryId, EntryKind, Env, Judge, unsupported};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rewrite;
use crate::rules::MissingValue;

impl Judge<'_> {
    /// Judges an INSERT.
    pub(super) fn insert(
        &mut self,
        insert: &mut InsertStmt,
        env: &Env<'_>,
    ) -> Result<Output, Denial> {
        let mut with = insert.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        let Some(relation) = insert.relation.as_mut() else {
            return Err(unsupported("INSERT without a table"));
        };
        let target = self.write_target(relation)?;
        self.source(insert, target, &inner)?;
        let items = [Item::new(target)];
        let scope = Scope {
            items: &items,
            outer: None,
        };
        if let Some(conflict) = insert.on_conflict_clause.as_mut() {
            self.on_conflict(conflict, target, &scope, &inner)?;
        }
        let output = self.returning(insert.returning_clause.as_mut(), target, &scope, &inner)?;
        self.fence_ctes(with.as_mut(), &inner);
        insert.with_clause = with;
        Ok(Output {
            risky: true,
            sealed: true,
            ..output
        })
    }

    fn source(
        &mut self,
        insert: &mut InsertStmt,
        target: EntryId,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let (keys, table) = self.keys_of(target);
        let mut columns = self.insert_columns(&mut insert.cols, target, !keys.is_empty())?;
        let Some(source) = insert.select_stmt.as_mut() else {
            return self.default_values(target, insert, &keys, &table);
        };
        let Some(NodeEnum::SelectStmt(select)) = source.node.as_mut() else {
            return Err(unsupported("this kind of INSERT"));
        };
        if is_values(select) {
            let width = row_width(select);
            if !keys.is_empty() {
                enough_values(insert.cols.len(), width)?;
            }
            columns.truncate(width.max(insert.cols.len()));
            self.values_rows(target, select, &keys, &columns, &table, env)?;
            self.fill_rows(target, insert, &keys, &columns, &table)
        } else {
            let output = self.select(select, None, env)?;
            let width = output.columns.len();
            if !keys.is_empty() && !output.open {
                enough_values(insert.cols.len(), width)?;
                if width == 0 {
                    return Err(unsupported("INSERT of a query without columns"));
                }
            }
            if insert.cols.is_empty() && !output.open {
                columns.truncate(width);
            }
            for (at, given) in output.columns.iter().enumerate() {
                let stored = columns.get(at).map(|name| self.column_type(target, name));
                self.allow_assignment(given.ty, stored.unwrap_or_default())?;
            }
            if output.open {
                self.allow_assignment(Ty::Unknown, Ty::Unknown)?;
            }
            self.select_rows(target, insert, &output, &keys, &columns, &table)
        }
    }

    /// The columns that the source's values go to, by position.
    pub(super) fn insert_columns(
        &mut self,
        given: &mut [Node],
        target: EntryId,
        scoped: bool,
    ) -> Result<Vec<String>, Denial> {
        let nowhere = Scope {
            items: &[],
            outer: None,
        };
        if given.is_empty() {
            let columns = self.entry(target).map(|entry| &entry.columns);
            return Ok(columns
                .map(|c| c.iter().map(|c| c.name.clone()).collect())
                .unwrap_or_default());
        }
        let mut columns = Vec::with_capacity(given.len());
        let keys = self.keys_of(target).0;
        for node in given {
            let Some(NodeEnum::ResTarget(column)) = node.node.as_mut() else {
                return Err(unsupported("this kind of column list"));
            };
            let is_key = keys.iter().any(|key| key.column == column.name);
            if scoped && is_key && !column.indirection.is_empty() {
                return Err(unsupported("a part of the tenant column"));
            }
            self.indirection(&mut column.indirection, &nowhere, &Env::default())?;
            columns.push(column.name.clone());
        }
        Ok(columns)
    }

    /// `DEFAULT VALUES` becomes the tenant column alone.
    fn default_values(
        &mut self,
        target: EntryId,
        insert: &mut InsertStmt,
        keys: &[Key],
        table: &str,
    ) -> Result<(), Denial> {
        if keys.is_empty() {
            return Ok(());
        }
        let mut row = Vec::with_capacity(keys.len());
        for key in keys {
            self.may_fill(target, key, table)?;
            insert.cols.push(column_target(&key.column));
            row.push(self.slot_value(key)?);
        }
        self.rewritten();
        let list = rewrite::node(NodeEnum::List(List { items: row }));
        let select = SelectStmt {
            values_lists: vec![list],
            limit_option: pg_query::protobuf::LimitOption::Default as i32,
            op: SetOperation::SetopNone as i32,
            ..SelectStmt::default()
        };
        let node = rewrite::node(NodeEnum::SelectStmt(Box::new(select)));
        insert.select_stmt = Some(Box::new(node));
        Ok(())
    }

    /// Judges the rows of VALUES: given tenant values are the session's, DEFAULT becomes it.
    fn values_rows(
        &mut self,
        target: EntryId,
        select: &mut SelectStmt,
        keys: &[Key],
        columns: &[String],
        table: &str,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let nowhere = &Scope {
            items: &[],
            outer: None,
        };
        let mut with = select.with_clause.take();
        let inner = self.with(with.as_mut(), None, env)?;
        same_width(select)?;
        for list in &mut select.values_lists {
            let Some(NodeEnum::List(list)) = list.node.as_mut() else {
                return Err(unsupported("this kind of VALUES"));
            };
            if list.items.len() > columns.len() {
                return Err(Denial {
                    sqlstate: "42601",
                    message: "INSERT has more expressions than target columns".to_owned(),
                    ..Denial::new(DenyReason::SyntaxError, "")
                });
            }
            for (value, column) in list.items.iter_mut().zip(columns) {
                let key = keys.iter().find(|key| key.column == *column);
                let default = matches!(value.node, Some(NodeEnum::SetToDefault(_)));
                match key {
                    Some(key) if default => {
                        self.may_fill(target, key, table)?;
                        *value = self.slot_value(key)?;
                        self.rewritten();
                    }
                    Some(key) if key.via.is_some() => {
                        let facts = self.expression(value, nowhere, &inner)?;
                        self.check_reference(value, &facts, key, table)?;
                    }
                    Some(key) => {
                        let known = self.is_own_value(value, key, table, nowhere)?;
                        self.expression(value, nowhere, &inner)?;
                        if !known {
                            self.check_when_run(value, key)?;
                        }
                        self.rewritten();
                    }
                    None if default => {}
                    None => {
                        let facts = self.kept(value, nowhere, &inner)?;
                        self.allow_assignment(facts.ty, self.column_type(target, column))?;
                    }
                }
            }
        }
        self.fence_ctes(with.as_mut(), &inner);
        select.with_clause = with;
        Ok(())
    }

    /// Appends the tenant columns that the client left out to VALUES.
    fn fill_rows(
        &mut self,
        target: EntryId,
        insert: &mut InsertStmt,
        keys: &[Key],
        columns: &[String],
        table: &str,
    ) -> Result<(), Denial> {
        let missing: Vec<&Key> = keys
            .iter()
            .filter(|key| !columns.contains(&key.column))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        list_columns(&mut insert.cols, columns);
        for key in missing {
            self.may_fill(target, key, table)?;
            insert.cols.push(column_target(&key.column));
            let value = self.slot_value(key)?;
            let Some(NodeEnum::SelectStmt(select)) = insert
                .select_stmt
                .as_mut()
                .and_then(|source| source.node.as_mut())
            else {
                continue;
            };
            for list in &mut select.values_lists {
                if let Some(NodeEnum::List(list)) = list.node.as_mut() {
                    list.items.push(value.clone());
                }
            }
        }
        self.rewritten();
        Ok(())
    }

    pub(super) fn may_fill(&self, target: EntryId, key: &Key, table: &str) -> Result<(), Denial> {
        let wish = self
            .wishes
            .get(&target)
            .map(|(_, missing_value)| *missing_value);
        if wish == Some(MissingValue::Fill) && key.via.is_none() {
            return Ok(());
        }
        Err(Denial::new(
            DenyReason::MissingValue,
            format!("INSERT must give column \"{}\"", key.column),
        )
        .table(table))
    }

    fn on_conflict(
        &mut self,
        conflict: &mut OnConflictClause,
        target: EntryId,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        if let Some(infer) = conflict.infer.as_mut() {
            for element in &mut infer.index_elems {
                let Some(NodeEnum::IndexElem(element)) = element.node.as_mut() else {
                    return Err(unsupported("this kind of ON CONFLICT"));
                };
                if !element.opclassopts.is_empty() {
                    return Err(unsupported("operator class options"));
                }
                self.optional(element.expr.as_mut(), scope, env)?;
            }
            self.truth(infer.where_clause.as_mut(), scope, env)?;
        }
        if conflict.action != OnConflictAction::OnconflictUpdate as i32 {
            return Ok(());
        }
        let excluded = self.excluded(target);
        let items = [Item::new(target), Item::new(excluded)];
        let scope = Scope {
            items: &items,
            outer: None,
        };
        self.assignments(&mut conflict.target_list, target, &scope, env)?;
        self.truth(conflict.where_clause.as_mut(), &scope, env)?;
        self.guard_conflict(conflict, target)
    }

    /// `excluded`: the row that was to be inserted. Its tenant is the session's.
    fn excluded(&mut self, target: EntryId) -> EntryId {
        let columns: Vec<Column> = self
            .entry(target)
            .map(|entry| entry.columns.clone())
            .unwrap_or_default();
        self.add_entry(Entry {
            name: "excluded".to_owned(),
            schema: None,
            columns,
            open: false,
            kind: EntryKind::Free { writable: true },
        })
    }

    /// A conflicting row of another tenant raises, as it does under row level security.
    fn guard_conflict(
        &mut self,
        conflict: &mut OnConflictClause,
        target: EntryId,
    ) -> Result<(), Denial> {
        let predicates = self.predicate(target)?;
        let Some(admitted) = rewrite::and(predicates) else {
            return Ok(());
        };
        let (keys, _) = self.keys_of(target);
        let name = self
            .entry(target)
            .map(|entry| entry.name.clone())
            .unwrap_or_default();
        let Some(key) = keys.first() else {
            return Ok(());
        };
        let raise = rewrite::raise_at(
            rewrite::CONFLICT_MARKER,
            rewrite::column(&[&name, &key.column]),
        );
        let wanted = match conflict.where_clause.take() {
            Some(condition) => *condition,
            None => rewrite::boolean(true),
        };
        conflict.where_clause = Some(Box::new(rewrite::case(admitted, wanted, raise)));
        Ok(())
    }
}

/// A bare VALUES list, as INSERT takes it.
fn is_values(select: &SelectStmt) -> bool {
    select.op == SetOperation::SetopNone as i32
        && !select.values_lists.is_empty()
        && select.sort_clause.is_empty()
        && select.limit_count.is_none()
        && select.limit_offset.is_none()
}

fn row_widths(select: &SelectStmt) -> impl Iterator<Item = usize> {
    select
        .values_lists
        .iter()
        .map(|list| match list.node.as_ref() {
            Some(NodeEnum::List(list)) => list.items.len(),
            _ => 0,
        })
}

fn row_width(select: &SelectStmt) -> usize {
    row_widths(select).max().unwrap_or(0)
}

/// Rows get values of ours: the server would count with them.
fn same_width(select: &SelectStmt) -> Result<(), Denial> {
    let mut widths = row_widths(select);
    let first = widths.next();
    if widths.all(|width| Some(width) == first) {
        return Ok(());
    }
    Err(Denial {
        sqlstate: "42601",
        message: "VALUES lists must all be the same length".to_owned(),
        ..Denial::new(DenyReason::SyntaxError, "")
    })
}

/// What follows a listed column that has no value would take its place.
pub(super) fn enough_values(listed: usize, width: usize) -> Result<(), Denial> {
    if width >= listed {
        return Ok(());
    }
    Err(Denial {
        sqlstate: "42601",
        message: "INSERT has more target columns than expressions".to_owned(),
        ..Denial::new(DenyReason::SyntaxError, "")
    })
}

/// Writes out the column list that the client left implicit.
pub(super) fn list_columns(given: &mut Vec<Node>, columns: &[String]) {
    if given.is_empty() {
        *given = columns.iter().map(|name| column_target(name)).collect();
    }
}

pub(super) fn column_target(name: &str) -> Node {
    rewrite::node(NodeEnum::ResTarget(Box::new(ResTarget {
        name: name.to_owned(),
        location: -1,
        ..ResTarget::default()
    })))
}
