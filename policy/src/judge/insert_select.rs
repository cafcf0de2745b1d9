//! INSERT … SELECT: the tenant column of every row that a query gives is the session's.
//!
//! A column that the client left out is appended to the select list. One that it gave is left alone
//! where it is shown to be the session's; elsewhere it is looked at when the row is made, and a row
//! of another tenant raises, as WITH CHECK does under row level security. Where the select list is not
//! yet the rows that are written (INTERSECT and EXCEPT leave some out, a function makes several of
//! one) the query is wrapped first, and what comes out of it is looked at.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, InsertStmt, Node, ResTarget, SelectStmt, SetOperation};

use super::expression::Facts;
use super::insert::{column_target, list_columns};
use super::labels::figured_name;
use super::names::{Scope, Ty, strings};
use super::output::Output;
use super::{EntryId, EntryKind, Judge, unsupported, value, via};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

/// A tenant column that the client's query gives, and its place in the select list.
struct Given<'k> {
    key: &'k Key,
    at: usize,
    table: &'k str,
}

impl Judge<'_> {
    /// Checks and fills the tenant columns of a query's rows.
    pub(super) fn select_rows(
        &mut self,
        target: EntryId,
        insert: &mut InsertStmt,
        output: &Output,
        keys: &[Key],
        columns: &[String],
        table: &str,
    ) -> Result<(), Denial> {
        if keys.is_empty() {
            return Ok(());
        }
        let (given, missing): (Vec<&Key>, Vec<&Key>) =
            keys.iter().partition(|key| columns.contains(&key.column));
        // What is appended behind a list of columns has its place, however many come before.
        let listed = !insert.cols.is_empty() && given.is_empty();
        if output.open && !listed {
            return Err(unsupported("INSERT … SELECT whose columns are not known")
                .hint("Name the columns of the select list one by one."));
        }
        if !missing.is_empty() {
            list_columns(&mut insert.cols, columns);
        }
        let source = insert.select_stmt.as_mut();
        let Some(NodeEnum::SelectStmt(select)) = source.and_then(|source| source.node.as_mut())
        else {
            return Err(unsupported("this kind of INSERT"));
        };
        if !select.values_lists.is_empty() {
            return Err(
                unsupported("INSERT of VALUES with ORDER BY, LIMIT or OFFSET")
                    .hint("Leave them out, or write SELECT … FROM (VALUES …)."),
            );
        }
        let places = given.into_iter().map(|key| {
            let at = columns.iter().position(|column| *column == key.column);
            let at = at.ok_or_else(|| value::unproven(key, table))?;
            Ok(Given { key, at, table })
        });
        let given = places.collect::<Result<Vec<Given<'_>>, Denial>>()?;
        // What is filled beside a set operation has its place only behind it; so have several columns of a `*`.
        let behind =
            !missing.is_empty() && !is_plain(select) || given.len() > 1 && has_star(select);
        let wraps = given.iter().any(|given| {
            let refers = given.key.via.is_some() && !is_list(select);
            behind || refers || self.gives_other_rows(select, given.at)
        });
        if wraps {
            self.given_by_wrapped(select, output, &given)?;
        } else {
            for given in &given {
                self.given_tenant(select, output, given)?;
            }
        }
        for key in missing {
            self.may_fill(target, key, table)?;
            append(select, self.slot_value(key)?);
            insert.cols.push(column_target(&key.column));
        }
        self.rewritten();
        Ok(())
    }

    /// Whether the rows that are written are others than those that the select list is computed for.
    fn gives_other_rows(&self, select: &SelectStmt, at: usize) -> bool {
        if select.op == SetOperation::SetopUnion as i32 {
            let arms = [select.larg.as_deref(), select.rarg.as_deref()];
            let mut arms = arms.into_iter().flatten();
            return arms.any(|arm| self.gives_other_rows(arm, at));
        }
        if select.op != SetOperation::SetopNone as i32 {
            return true;
        }
        let item = select.target_list.get(at).and_then(item_value);
        is_plain(select) && !is_moved(select, at) && item.is_some_and(|item| self.may_be_set(item))
    }

    /// Whether an expression may have several values for one row.
    pub(super) fn may_be_set(&self, value: &NodeEnum) -> bool {
        let any = |nodes: &[Node]| {
            let mut nodes = nodes.iter().filter_map(|node| node.node.as_ref());
            nodes.any(|node| self.may_be_set(node))
        };
        let one = |node: Option<&Node>| {
            let node = node.and_then(|node| node.node.as_ref());
            node.is_some_and(|node| self.may_be_set(node))
        };
        match value {
            NodeEnum::FuncCall(call) => self.returns_set(call) || any(&call.args),
            NodeEnum::TypeCast(cast) => one(cast.arg.as_deref()),
            NodeEnum::CollateClause(collate) => one(collate.arg.as_deref()),
            NodeEnum::AIndirection(steps) => one(steps.arg.as_deref()),
            NodeEnum::AExpr(expr) => one(expr.lexpr.as_deref()) || one(expr.rexpr.as_deref()),
            NodeEnum::AArrayExpr(array) => any(&array.elements),
            NodeEnum::MinMaxExpr(expr) => any(&expr.args),
            NodeEnum::RowExpr(row) => any(&row.args),
            NodeEnum::NamedArgExpr(argument) => one(argument.arg.as_deref()),
            // Elsewhere the server refuses such a function, or it is a query's of its own.
            _ => false,
        }
    }

    /// What the query gives is written only where its outputs hold.
    fn given_by_wrapped(
        &mut self,
        select: &mut SelectStmt,
        output: &Output,
        given: &[Given<'_>],
    ) -> Result<(), Denial> {
        // Behind a subquery's border a literal has the type text, whatever column it goes to; a set
        // operation has given it one before.
        let untyped = output.columns.iter().any(|it| it.ty == Ty::Adaptable);
        if untyped && select.op == SetOperation::SetopNone as i32 {
            let what = "INSERT … SELECT with a literal beside a function of several rows";
            return Err(unsupported(what).hint("Cast the literal to the type of its column."));
        }
        rewrite::wrap_columns(select, output.columns.len());
        for given in given {
            let column = output.columns.get(given.at);
            let column = column.filter(|column| column.ty != Ty::Adaptable);
            let ty = column.ok_or_else(|| given.unproven())?.ty;
            match given.key.via {
                Some(_) => self.check_reference_item(select, ty, given)?,
                None => self.check_item(select, given)?,
            }
        }
        Ok(())
    }

    fn check_reference_item(
        &mut self,
        select: &mut SelectStmt,
        ty: Ty,
        given: &Given<'_>,
    ) -> Result<(), Denial> {
        let facts = Facts {
            ty,
            ..Facts::default()
        };
        let value = item(select, given.at).and_then(|target| target.val.as_deref_mut());
        let value = value.ok_or_else(|| given.unproven())?;
        self.check_reference(value, &facts, given.key, given.table)
    }

    fn given_tenant(
        &mut self,
        select: &mut SelectStmt,
        output: &Output,
        given: &Given<'_>,
    ) -> Result<(), Denial> {
        if given.key.via.is_some() {
            return self.given_reference(select, output, given);
        }
        if select.op == SetOperation::SetopUnion as i32 {
            return self.given_by_union(select, given);
        }
        if !is_plain(select) {
            return Err(given.unproven());
        }
        if is_moved(select, given.at) {
            return self.given_by_star(select, output, given);
        }
        let column = output.columns.get(given.at);
        let own = column.is_some_and(|column| column.tenant == Some(given.key.slot));
        let sole = matches!(&*select.from_clause, [only] if is_relation(only));
        let target = item(select, given.at).ok_or_else(|| given.unproven())?;
        let Some(value) = target.val.as_deref() else {
            return Err(given.unproven());
        };
        let known = match value.node.as_ref() {
            Some(NodeEnum::ColumnRef(column)) => own && self.is_in_every_row(column, sole),
            _ => self.is_own_value(value, given.key, given.table, &Scope::NOWHERE)?,
        };
        if !known {
            keep_name(target);
            return self.check_item(select, given);
        }
        Ok(())
    }

    /// Whether a tenant column plainly belongs to one relation, whose rows no outer join makes up.
    fn is_in_every_row(&self, column: &ColumnRef, sole: bool) -> bool {
        match strings(&column.fields).as_deref() {
            Ok([_]) => sole,
            // A relation of another query may have the name, too: then the value is looked at in vain.
            Ok([relation, _]) => !self.entries.iter().any(|entry| {
                let nullable = matches!(entry.kind, EntryKind::Scoped { nullable: true, .. });
                nullable && entry.name == *relation
            }),
            _ => false,
        }
    }

    /// A reference to a parent is checked in the list of a plain SELECT; of any other query it is
    /// what comes out that is checked.
    fn given_reference(
        &mut self,
        select: &mut SelectStmt,
        output: &Output,
        given: &Given<'_>,
    ) -> Result<(), Denial> {
        let column = output.columns.get(given.at);
        let target = item(select, given.at);
        let (Some(column), Some(target)) = (column, target) else {
            return Err(given.unproven());
        };
        keep_name(target);
        self.check_reference_item(select, column.ty, given)
    }

    /// Every arm of a UNION is looked at when it runs: what one arm shows says nothing of another.
    fn given_by_union(&mut self, select: &mut SelectStmt, given: &Given<'_>) -> Result<(), Denial> {
        if select.op == SetOperation::SetopUnion as i32 {
            for arm in [select.larg.as_deref_mut(), select.rarg.as_deref_mut()] {
                self.given_by_union(arm.ok_or_else(|| given.unproven())?, given)?;
            }
            return Ok(());
        }
        if !is_plain(select) || is_moved(select, given.at) {
            return Err(given.unproven());
        }
        if let Some(target) = item(select, given.at) {
            keep_name(target);
        }
        self.check_item(select, given)
    }

    /// `SELECT *`: the query is wrapped, so that the column has a name.
    fn given_by_star(
        &mut self,
        select: &mut SelectStmt,
        output: &Output,
        given: &Given<'_>,
    ) -> Result<(), Denial> {
        // Behind a subquery's border a literal has the type text, whatever column it goes to.
        let are_columns = select
            .target_list
            .iter()
            .all(|target| matches!(item_value(target), Some(NodeEnum::ColumnRef(_))));
        if !are_columns {
            return Err(
                unsupported("INSERT … SELECT with both * and other expressions").hint(
                    "Write the tenant column in front of the *, or name the columns one by one.",
                ),
            );
        }
        rewrite::wrap_columns(select, output.columns.len());
        self.check_item(select, given)
    }

    fn check_item(&mut self, select: &mut SelectStmt, given: &Given<'_>) -> Result<(), Denial> {
        let value = item(select, given.at).and_then(|target| target.val.as_deref_mut());
        self.check_when_run(value.ok_or_else(|| given.unproven())?, given.key)
    }

    /// Whether a value is the session's by what is written there; a foreign literal is refused.
    pub(super) fn is_own_value(
        &mut self,
        value: &Node,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
    ) -> Result<bool, Denial> {
        self.refuse_computed(value, key, table)?;
        match self.tenant_value(value, key, table, scope, value::Purpose::Written) {
            Ok(()) => Ok(true),
            Err(denial) if denial.reason == DenyReason::ForeignTenantValue => Err(denial),
            Err(_) => Ok(false),
        }
    }

    /// The same where a type that is not the column's must stay the server's error.
    pub(super) fn check_written(
        &mut self,
        value: &mut Node,
        facts: &Facts,
        key: &Key,
        table: &str,
    ) -> Result<(), Denial> {
        if facts.aggregate || !self.compares(facts.ty, key.value_type) {
            return Err(value::unproven(key, table));
        }
        self.check_when_run(value, key)
    }

    /// Has a value looked at when the row is made.
    pub(super) fn check_when_run(&mut self, value: &mut Node, key: &Key) -> Result<(), Denial> {
        let own = self.slot_value(key)?;
        let given = rewrite::take(value);
        *value = rewrite::checked(given, own);
        Ok(())
    }
}

impl Given<'_> {
    fn unproven(&self) -> Denial {
        match self.key.via {
            Some(_) => via::unproven_reference(self.key, self.table),
            None => value::unproven(self.key, self.table),
        }
    }
}

/// Whether each item of the select list is a column of what is written. DISTINCT needs what ORDER BY
/// names in the list as it was.
fn is_list(select: &SelectStmt) -> bool {
    is_plain(select) && !has_star(select) && select.distinct_clause.is_empty()
}

fn is_relation(item: &Node) -> bool {
    matches!(item.node, Some(NodeEnum::RangeVar(_)))
}

fn is_plain(select: &SelectStmt) -> bool {
    select.op == SetOperation::SetopNone as i32 && select.values_lists.is_empty()
}

fn item(select: &mut SelectStmt, at: usize) -> Option<&mut ResTarget> {
    match select.target_list.get_mut(at)?.node.as_mut()? {
        NodeEnum::ResTarget(target) => Some(target),
        _ => None,
    }
}

fn item_value(target: &Node) -> Option<&NodeEnum> {
    match target.node.as_ref()? {
        NodeEnum::ResTarget(target) => target.val.as_deref()?.node.as_ref(),
        _ => None,
    }
}

/// Names a column as it was called: ORDER BY may use the name, which a check would hide.
fn keep_name(target: &mut ResTarget) {
    let value = target.val.as_deref();
    let column = value.filter(|value| matches!(value.node, Some(NodeEnum::ColumnRef(_))));
    if let Some(column) = column.filter(|_| target.name.is_empty()) {
        target.name = figured_name(column);
    }
}

/// Whether the select list has an item that stands for several columns.
fn has_star(select: &SelectStmt) -> bool {
    select.target_list.iter().any(is_several)
}

/// Whether such an item stands in front of this column of the result, or gives it: then the item of
/// this number is another.
fn is_moved(select: &SelectStmt, at: usize) -> bool {
    let stars = select.target_list.iter().position(is_several);
    stars.is_some_and(|star| star <= at)
}

fn is_several(target: &Node) -> bool {
    match item_value(target) {
        Some(NodeEnum::ColumnRef(reference)) => reference.fields.iter().any(is_star),
        Some(NodeEnum::AIndirection(steps)) => steps.indirection.iter().any(is_star),
        _ => false,
    }
}

fn is_star(field: &Node) -> bool {
    matches!(field.node, Some(NodeEnum::AStar(_)))
}

/// Appends a value to what a query gives.
fn append(select: &mut SelectStmt, value: Node) {
    if !is_plain(select) {
        rewrite::wrap(select);
    }
    if select.group_clause.is_empty() || !select.target_list.is_empty() {
        select.target_list.push(rewrite::target(value));
    }
}
