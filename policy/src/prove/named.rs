//! PREPARE, EXECUTE and DEALLOCATE: which names a message gives, runs and drops, and in which of its statements.
//!
//! EXECUTE takes no predicate: what it runs was guarded when it was prepared, and the session looks whether it may
//! still run, by the effects that are checked here. So they must be told in the order of the statements, each of
//! its own one; and where there are several, the others must leave alone what a verdict rests on.

use pg_query::protobuf::{DiscardMode, TransactionStmtKind};

use super::{Step, need};
use crate::judge::Findings;
use crate::plan::Effect;
use crate::tree::{Node, Value};

/// What may stand beside a statement that names a prepared one.
const BESIDE: &[&str] = &[
    "PrepareStmt",
    "ExecuteStmt",
    "DeallocateStmt",
    "ExplainStmt",
    "SelectStmt",
    "InsertStmt",
    "UpdateStmt",
    "DeleteStmt",
    "MergeStmt",
    "TransactionStmt",
    "VariableSetStmt",
    "VariableShowStmt",
];

/// What may end no transaction, nor go back in one.
const GOING_ON: &[TransactionStmtKind] = &[
    TransactionStmtKind::TransStmtBegin,
    TransactionStmtKind::TransStmtStart,
    TransactionStmtKind::TransStmtSavepoint,
    TransactionStmtKind::TransStmtRelease,
];

/// Compares the names in a text with the effects that are claimed.
pub(super) fn named(original: &Node, findings: &Findings) -> Step {
    let statements = original.list("stmts").iter();
    let statements: Vec<&Node> = statements.filter_map(statement).collect();
    need(
        statements.len() == original.list("stmts").len(),
        "a statement of nothing",
    )?;
    need(
        findings.steps.len() == findings.effects.len(),
        "an effect is of no statement",
    )?;
    let claimed = findings.effects.iter().zip(&findings.steps);
    let claimed: Vec<_> = claimed.filter(|(it, _)| is_of_names(it)).collect();
    let there = statements.iter().enumerate();
    let there = there.filter_map(|(step, statement)| Some((effect(statement)?, step)));
    let there: Vec<_> = there.collect();
    let same = |(claimed, there): (&(&Effect, &usize), &(Effect, usize))| {
        *claimed.0 == there.0 && *claimed.1 == there.1
    };
    need(
        claimed.len() == there.len() && claimed.iter().zip(&there).all(same),
        "a name of a prepared statement is told wrongly",
    )?;
    let names = there
        .iter()
        .any(|(effect, _)| *effect != Effect::DeallocateAll);
    if names && statements.len() > 1 {
        stands_beside(&statements)?;
        need(
            !findings.effects.iter().any(changes_facts),
            "what a prepared statement rests on is changed beside it",
        )?;
    }
    Ok(())
}

fn statement(raw: &Value) -> Option<&Node> {
    raw.as_node()?.node("stmt")
}

fn effect(statement: &Node) -> Option<Effect> {
    let name = || statement.text("name").to_owned();
    match statement.kind {
        "PrepareStmt" => Some(Effect::Prepare(name())),
        "ExecuteStmt" => Some(Effect::Execute(name())),
        "ExplainStmt" => statement.node("query").and_then(effect),
        "DeallocateStmt" if statement.text("name").is_empty() => Some(Effect::DeallocateAll),
        "DeallocateStmt" => Some(Effect::Deallocate(name())),
        "DiscardStmt" if statement.int("target") == i64::from(DiscardMode::DiscardAll as i32) => {
            Some(Effect::DeallocateAll)
        }
        _ => None,
    }
}

fn is_of_names(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::Prepare(_) | Effect::Execute(_) | Effect::Deallocate(_) | Effect::DeallocateAll
    )
}

fn changes_facts(effect: &Effect) -> bool {
    matches!(
        effect,
        Effect::SearchPath | Effect::ClaimsLost | Effect::Temporaries
    )
}

fn stands_beside(statements: &[&Node]) -> Step {
    let mut ended = false;
    for statement in statements {
        need(
            BESIDE.contains(&statement.kind),
            "a statement stands beside a prepared one",
        )?;
        need(
            !(ended && matches!(effect(statement), Some(Effect::Execute(_)))),
            "EXECUTE behind the end of a transaction",
        )?;
        let goes_on = |kind: &TransactionStmtKind| statement.int("kind") == i64::from(*kind as i32);
        ended |= statement.kind == "TransactionStmt" && !GOING_ON.iter().any(goes_on);
    }
    Ok(())
}
