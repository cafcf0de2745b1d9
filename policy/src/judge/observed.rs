//! The second look at a statement that was refused while the policy is only observed.
//!
//! It may go on as it came if it is of a kind whose effects are plain, names no setting of the
//! identity, calls no function that could touch it, and names no system relation. Every other kind
//! is judged as ever.

use pg_query::NodeEnum;
use pg_query::protobuf::{CopyStmt, DropStmt, ObjectType, ParseResult};

use super::{Bound, Findings, Judge, unsupported, walk};
use crate::deny::{Denial, DenyReason};
use crate::engine::Request;
use crate::plan::StatementKind;
use crate::tree::{self, Node, Value};

/// Judges a tree that was refused, for its identity guards alone. Nothing is rewritten.
pub(crate) fn observe(
    bound: &Bound,
    request: &Request<'_>,
    parameters: u16,
    tree: &mut ParseResult,
) -> Result<Findings, Denial> {
    let shown = tree::of(tree).map_err(|_| unsupported("this statement"))?;
    Judge::new(bound, request, parameters).refuse_unseen(&shown)?;
    let findings = walk(bound, request, parameters, tree, Judge::observed)?;
    if findings.changed {
        return Err(
            unsupported("this message of several statements, in observe mode,")
                .hint("Send them in messages of their own."),
        );
    }
    Ok(findings)
}

impl Judge<'_> {
    fn observed(&mut self, statement: &mut NodeEnum) -> Result<StatementKind, Denial> {
        self.refuse_names_of_claims(statement)?;
        match statement {
            NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::PrepareStmt(_) => self.break_glass(statement),
            NodeEnum::CopyStmt(copy) if is_with_client(copy) => Ok(StatementKind::Copy),
            NodeEnum::DropStmt(drop) if drops_data(drop) => Ok(StatementKind::Utility),
            NodeEnum::ExplainStmt(_)
            | NodeEnum::LockStmt(_)
            | NodeEnum::TruncateStmt(_)
            | NodeEnum::VacuumStmt(_)
            | NodeEnum::CreateStmt(_)
            | NodeEnum::CreateTableAsStmt(_)
            | NodeEnum::CreateSeqStmt(_)
            | NodeEnum::CreateEnumStmt(_)
            | NodeEnum::CreateSchemaStmt(_)
            | NodeEnum::IndexStmt(_)
            | NodeEnum::ViewStmt(_)
            | NodeEnum::AlterTableStmt(_)
            | NodeEnum::RenameStmt(_)
            | NodeEnum::CommentStmt(_)
            | NodeEnum::RefreshMatViewStmt(_) => Ok(StatementKind::Utility),
            _ => self.statement(statement),
        }
    }

    /// Refuses what could touch the identity unseen, anywhere in the tree.
    fn refuse_unseen(&self, node: &Node) -> Result<(), Denial> {
        match node.kind {
            "FuncCall" => self.refuse_unseen_call(node)?,
            "RangeVar" => refuse_session_relation(node)?,
            // EXPLAIN and CREATE TABLE AS run it, under a name that says nothing.
            "ExecuteStmt" => return Err(unsupported("EXECUTE here, in observe mode,")),
            _ => {}
        }
        let mut values = node.fields.iter().map(|(_, value)| value);
        values.try_for_each(|value| self.refuse_unseen_in(value))
    }

    fn refuse_unseen_in(&self, value: &Value) -> Result<(), Denial> {
        match value {
            Value::Node(node) => self.refuse_unseen(node),
            Value::List(items) => items
                .iter()
                .try_for_each(|item| self.refuse_unseen_in(item)),
            _ => Ok(()),
        }
    }

    fn refuse_unseen_call(&self, call: &Node) -> Result<(), Denial> {
        let name: Vec<&str> = call
            .list("funcname")
            .iter()
            .filter_map(Value::as_name)
            .collect();
        match name.as_slice() {
            // The form with a query runs SQL.
            [.., "ts_rewrite"] if call.list("args").len() == 2 => {
                Err(unsupported("ts_rewrite with a query"))
            }
            [name] => self.function_named(None, name).map(drop),
            [schema, name] => self.function_named(Some(schema), name).map(drop),
            _ => Err(unsupported("this function name")),
        }
    }
}

/// System relations hold settings of roles and databases; temporary ones outlive the statement.
fn refuse_session_relation(range: &Node) -> Result<(), Denial> {
    let (schema, name) = (range.text("schemaname"), range.text("relname"));
    let is_system = schema.starts_with("pg_")
        || schema == "information_schema"
        || schema.is_empty() && name.starts_with("pg_");
    if is_system {
        return Err(Denial::new(
            DenyReason::SystemRelation,
            "a system relation in a statement that is only observed",
        ));
    }
    if range.text("relpersistence") == "t" {
        return Err(unsupported("a temporary table"));
    }
    Ok(())
}

/// Whether the rows come from the client or go to it: not from or to a file or a program.
fn is_with_client(copy: &CopyStmt) -> bool {
    copy.filename.is_empty() && !copy.is_program
}

fn drops_data(drop: &DropStmt) -> bool {
    [
        ObjectType::ObjectTable,
        ObjectType::ObjectView,
        ObjectType::ObjectMatview,
        ObjectType::ObjectIndex,
        ObjectType::ObjectSequence,
    ]
    .iter()
    .any(|kind| drop.remove_type == *kind as i32)
}
