//! Of what kind the statements of a text are, by the top of its tree: for the records of those that are denied.

use pg_query::NodeEnum;
use pg_query::protobuf::ParseResult;

use crate::plan::StatementKind;

/// The kind of a text.
pub(crate) fn of(tree: &ParseResult) -> StatementKind {
    let nodes = tree
        .stmts
        .iter()
        .map(|raw| raw.stmt.as_ref()?.node.as_ref());
    let kinds: Vec<_> = nodes
        .map(|node| node.map_or(StatementKind::Utility, of_one))
        .collect();
    together(&kinds)
}

/// The kind of several statements.
pub(crate) fn together(kinds: &[StatementKind]) -> StatementKind {
    match kinds {
        [] => StatementKind::Empty,
        [first, rest @ ..] if rest.iter().all(|kind| kind == first) => *first,
        _ => StatementKind::Several,
    }
}

fn of_one(node: &NodeEnum) -> StatementKind {
    match node {
        NodeEnum::SelectStmt(_) => StatementKind::Select,
        NodeEnum::InsertStmt(_) => StatementKind::Insert,
        NodeEnum::UpdateStmt(_) => StatementKind::Update,
        NodeEnum::DeleteStmt(_) => StatementKind::Delete,
        NodeEnum::MergeStmt(_) => StatementKind::Merge,
        NodeEnum::CopyStmt(_) => StatementKind::Copy,
        NodeEnum::TransactionStmt(_) => StatementKind::Transaction,
        NodeEnum::VariableSetStmt(_) | NodeEnum::VariableShowStmt(_) | NodeEnum::DiscardStmt(_) => {
            StatementKind::Setting
        }
        _ => StatementKind::Utility,
    }
}
