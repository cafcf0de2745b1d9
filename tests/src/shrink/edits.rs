//! The ways to make a statement smaller. They are numbered, outer parts first, so that big parts go
//! first. None of them makes rows depend on the plan: an order goes only where no LIMIT needs it.

use pg_query::protobuf::{
    AConst, CommonTableExpr, DeleteStmt, InsertStmt, MergeStmt, Node, OnConflictClause,
    ReturningClause, SelectStmt, UpdateStmt, WithClause,
};
use pg_query::{DeparseOptions, NodeEnum};

/// What came of an edit.
pub(super) enum Edited {
    /// A smaller statement.
    Text(String),
    /// No statement.
    Unwritable,
    /// There is no edit of that number.
    NoMore,
}

/// Makes edit number `number` of a statement.
pub(super) fn edited(sql: &str, number: usize) -> Edited {
    let Ok(mut parsed) = pg_query::parse(sql, 0) else {
        return Edited::NoMore;
    };
    let mut cut = Cut {
        left: number,
        made: false,
    };
    for raw in &mut parsed.protobuf.stmts {
        if let Some(node) = raw.stmt.as_deref_mut() {
            statement(node, &mut cut);
        }
    }
    if !cut.made {
        return Edited::NoMore;
    }
    let text = parsed.deparse(DeparseOptions::default()).ok();
    let sound = text.filter(|text| pg_query::parse(text, 0).is_ok());
    sound.map_or(Edited::Unwritable, Edited::Text)
}

/// Counts the edits down to the one that is made.
struct Cut {
    left: usize,
    made: bool,
}

impl Cut {
    /// Whether this one is to be made.
    fn here(&mut self) -> bool {
        if self.made {
            return false;
        }
        self.made = self.left == 0;
        self.left = self.left.saturating_sub(1);
        self.made
    }

    fn clear<T>(&mut self, part: &mut Option<T>) {
        if part.is_some() && self.here() {
            *part = None;
        }
    }

    /// Drops one of a list of which so many must stay.
    fn drop_one<T>(&mut self, list: &mut Vec<T>, least: usize) {
        for at in 0..list.len() {
            if list.len() > least && self.here() {
                list.remove(at);
                return;
            }
        }
    }
}

fn statement(node: &mut Node, cut: &mut Cut) {
    match node.node.as_mut() {
        Some(NodeEnum::SelectStmt(it)) => select(it, cut),
        Some(NodeEnum::InsertStmt(it)) => insert(it, cut),
        Some(NodeEnum::UpdateStmt(it)) => update(it, cut),
        Some(NodeEnum::DeleteStmt(it)) => delete(it, cut),
        Some(NodeEnum::MergeStmt(it)) => merge(it, cut),
        Some(NodeEnum::PrepareStmt(it)) => inside(it.query.as_deref_mut(), cut),
        Some(NodeEnum::DeclareCursorStmt(it)) => inside(it.query.as_deref_mut(), cut),
        Some(NodeEnum::ExplainStmt(it)) => inside(it.query.as_deref_mut(), cut),
        Some(NodeEnum::CopyStmt(it)) => inside(it.query.as_deref_mut(), cut),
        Some(NodeEnum::CreateTableAsStmt(it)) => inside(it.query.as_deref_mut(), cut),
        _ => {}
    }
}

fn inside(query: Option<&mut Node>, cut: &mut Cut) {
    if let Some(query) = query {
        statement(query, cut);
    }
}

fn with(clause: &mut Option<WithClause>, cut: &mut Cut) {
    cut.clear(clause);
    let Some(with) = clause else { return };
    cut.drop_one(&mut with.ctes, 1);
    for cte in &mut with.ctes {
        if let Some(NodeEnum::CommonTableExpr(cte)) = cte.node.as_mut() {
            let cte: &mut CommonTableExpr = cte;
            inside(cte.ctequery.as_deref_mut(), cut);
        }
    }
}

fn select(it: &mut SelectStmt, cut: &mut Cut) {
    with(&mut it.with_clause, cut);
    if let (Some(left), Some(right)) = (&it.larg, &it.rarg) {
        for side in [left.clone(), right.clone()] {
            if cut.here() {
                let around = it.with_clause.take();
                *it = *side;
                it.with_clause = it.with_clause.take().or(around);
                return;
            }
        }
    }
    cut.clear(&mut it.where_clause);
    cut.clear(&mut it.having_clause);
    cut.clear(&mut it.limit_count);
    cut.clear(&mut it.limit_offset);
    let counted = it.limit_count.is_some() || it.limit_offset.is_some();
    if !it.sort_clause.is_empty() && !counted && cut.here() {
        it.sort_clause.clear();
    }
    cut.drop_one(&mut it.distinct_clause, 0);
    cut.drop_one(&mut it.locking_clause, 0);
    cut.drop_one(&mut it.group_clause, 0);
    cut.drop_one(&mut it.from_clause, 0);
    cut.drop_one(&mut it.target_list, 1);
    cut.drop_one(&mut it.values_lists, 1);
    for item in &mut it.from_clause {
        from_item(item, cut);
    }
    for side in [&mut it.larg, &mut it.rarg].into_iter().flatten() {
        select(side, cut);
    }
    expressions(&mut it.target_list, cut);
    expressions(it.where_clause.as_deref_mut(), cut);
    expressions(it.having_clause.as_deref_mut(), cut);
    expressions(&mut it.group_clause, cut);
    expressions(&mut it.values_lists, cut);
}

fn from_item(item: &mut Node, cut: &mut Cut) {
    match item.node.as_mut() {
        Some(NodeEnum::JoinExpr(join)) => {
            for side in [join.larg.clone(), join.rarg.clone()].into_iter().flatten() {
                if cut.here() {
                    *item = *side;
                    return;
                }
            }
            for side in [&mut join.larg, &mut join.rarg].into_iter().flatten() {
                from_item(side, cut);
            }
            expressions(join.quals.as_deref_mut(), cut);
        }
        Some(NodeEnum::RangeSubselect(derived)) => inside(derived.subquery.as_deref_mut(), cut),
        _ => {}
    }
}

fn insert(it: &mut InsertStmt, cut: &mut Cut) {
    with(&mut it.with_clause, cut);
    cut.clear(&mut it.on_conflict_clause);
    returning(&mut it.returning_clause, cut);
    if let Some(NodeEnum::SelectStmt(rows)) =
        it.select_stmt.as_mut().and_then(|it| it.node.as_mut())
    {
        for at in 0..it.cols.len() {
            if it.cols.len() > 1 && cut.here() {
                it.cols.remove(at);
                drop_column(rows, at);
                return;
            }
        }
    }
    inside(it.select_stmt.as_deref_mut(), cut);
    if let Some(conflict) = it.on_conflict_clause.as_deref_mut() {
        on_conflict(conflict, cut);
    }
}

/// A column of what is to be inserted.
fn drop_column(rows: &mut SelectStmt, at: usize) {
    let drop = |list: &mut Vec<Node>| {
        if at < list.len() {
            list.remove(at);
        }
    };
    drop(&mut rows.target_list);
    for row in &mut rows.values_lists {
        if let Some(NodeEnum::List(row)) = row.node.as_mut() {
            drop(&mut row.items);
        }
    }
}

fn on_conflict(it: &mut OnConflictClause, cut: &mut Cut) {
    cut.clear(&mut it.where_clause);
    cut.drop_one(&mut it.target_list, 1);
    expressions(&mut it.target_list, cut);
    expressions(it.where_clause.as_deref_mut(), cut);
}

fn update(it: &mut UpdateStmt, cut: &mut Cut) {
    with(&mut it.with_clause, cut);
    returning(&mut it.returning_clause, cut);
    cut.clear(&mut it.where_clause);
    cut.drop_one(&mut it.target_list, 1);
    cut.drop_one(&mut it.from_clause, 0);
    for item in &mut it.from_clause {
        from_item(item, cut);
    }
    expressions(&mut it.target_list, cut);
    expressions(it.where_clause.as_deref_mut(), cut);
}

fn delete(it: &mut DeleteStmt, cut: &mut Cut) {
    with(&mut it.with_clause, cut);
    returning(&mut it.returning_clause, cut);
    cut.clear(&mut it.where_clause);
    cut.drop_one(&mut it.using_clause, 0);
    for item in &mut it.using_clause {
        from_item(item, cut);
    }
    expressions(it.where_clause.as_deref_mut(), cut);
}

fn merge(it: &mut MergeStmt, cut: &mut Cut) {
    with(&mut it.with_clause, cut);
    returning(&mut it.returning_clause, cut);
    cut.drop_one(&mut it.merge_when_clauses, 1);
    if let Some(source) = it.source_relation.as_deref_mut() {
        from_item(source, cut);
    }
    expressions(it.join_condition.as_deref_mut(), cut);
    for clause in &mut it.merge_when_clauses {
        if let Some(NodeEnum::MergeWhenClause(when)) = clause.node.as_mut() {
            cut.clear(&mut when.condition);
            expressions(when.condition.as_deref_mut(), cut);
            expressions(&mut when.target_list, cut);
            expressions(&mut when.values, cut);
        }
    }
}

fn returning(clause: &mut Option<ReturningClause>, cut: &mut Cut) {
    cut.clear(clause);
    if let Some(returning) = clause {
        cut.drop_one(&mut returning.exprs, 1);
        expressions(&mut returning.exprs, cut);
    }
}

fn expressions<'n>(nodes: impl IntoIterator<Item = &'n mut Node>, cut: &mut Cut) {
    for node in nodes {
        expression(node, cut);
    }
}

/// Puts a part of an expression in its place, or NULL.
fn expression(slot: &mut Node, cut: &mut Cut) {
    if is_value(slot) {
        let parts: Vec<Node> = children(slot).into_iter().map(|it| it.clone()).collect();
        for part in parts.into_iter().filter(is_value) {
            if cut.here() {
                *slot = part;
                return;
            }
        }
        if !is_constant(slot) && cut.here() {
            *slot = null();
            return;
        }
    }
    match slot.node.as_mut() {
        Some(NodeEnum::BoolExpr(it)) => cut.drop_one(&mut it.args, 2),
        Some(NodeEnum::CaseExpr(it)) => cut.drop_one(&mut it.args, 1),
        Some(NodeEnum::FuncCall(it)) => cut.clear(&mut it.agg_filter),
        Some(NodeEnum::SubLink(it)) => inside(it.subselect.as_deref_mut(), cut),
        _ => {}
    }
    expressions(children(slot), cut);
}

fn null() -> Node {
    let value = AConst {
        isnull: true,
        ..AConst::default()
    };
    Node {
        node: Some(NodeEnum::AConst(value)),
    }
}

fn is_constant(node: &Node) -> bool {
    matches!(
        node.node,
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_) | NodeEnum::SetToDefault(_))
    )
}

/// Whether it stands for a value by itself.
fn is_value(node: &Node) -> bool {
    !matches!(
        node.node,
        None | Some(
            NodeEnum::ResTarget(_)
                | NodeEnum::List(_)
                | NodeEnum::CaseWhen(_)
                | NodeEnum::SortBy(_)
                | NodeEnum::SelectStmt(_)
                | NodeEnum::GroupingSet(_)
                | NodeEnum::MultiAssignRef(_)
        )
    )
}

/// The expressions in an expression.
fn children(node: &mut Node) -> Vec<&mut Node> {
    let mut found: Vec<&mut Node> = Vec::new();
    match node.node.as_mut() {
        Some(NodeEnum::BoolExpr(it)) => found.extend(&mut it.args),
        Some(NodeEnum::AExpr(it)) => {
            found.extend(it.lexpr.as_deref_mut());
            found.extend(it.rexpr.as_deref_mut());
        }
        Some(NodeEnum::FuncCall(it)) => {
            found.extend(&mut it.args);
            found.extend(it.agg_filter.as_deref_mut());
        }
        Some(NodeEnum::CaseExpr(it)) => {
            found.extend(it.arg.as_deref_mut());
            found.extend(&mut it.args);
            found.extend(it.defresult.as_deref_mut());
        }
        Some(NodeEnum::CaseWhen(it)) => {
            found.extend(it.expr.as_deref_mut());
            found.extend(it.result.as_deref_mut());
        }
        Some(NodeEnum::SubLink(it)) => found.extend(it.testexpr.as_deref_mut()),
        Some(NodeEnum::CoalesceExpr(it)) => found.extend(&mut it.args),
        Some(NodeEnum::MinMaxExpr(it)) => found.extend(&mut it.args),
        Some(NodeEnum::NullTest(it)) => found.extend(it.arg.as_deref_mut()),
        Some(NodeEnum::BooleanTest(it)) => found.extend(it.arg.as_deref_mut()),
        Some(NodeEnum::TypeCast(it)) => found.extend(it.arg.as_deref_mut()),
        Some(NodeEnum::AIndirection(it)) => found.extend(it.arg.as_deref_mut()),
        Some(NodeEnum::AArrayExpr(it)) => found.extend(&mut it.elements),
        Some(NodeEnum::RowExpr(it)) => found.extend(&mut it.args),
        Some(NodeEnum::List(it)) => found.extend(&mut it.items),
        Some(NodeEnum::GroupingSet(it)) => found.extend(&mut it.content),
        Some(NodeEnum::ResTarget(it)) => found.extend(it.val.as_deref_mut()),
        _ => {}
    }
    found
}
