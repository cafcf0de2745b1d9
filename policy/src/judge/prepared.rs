//! PREPARE, EXECUTE and DEALLOCATE.
//!
//! The statement inside PREPARE is judged like any other, and the session's values are written into
//! it: EXECUTE gives values for the client's own parameters only. One of those that an INSERT puts
//! into the tenant column is checked when it runs (form I10). What is known of a name (which
//! text it stands for, and what the verdict was based on) is the session's to keep; it learns of
//! names by the effects.
//!
//! Several of them may stand in one message, beside statements that change nothing which a verdict rests
//! on: what EXECUTE runs was judged by what was known before the message. Behind the end of a transaction, which may
//! bring another search_path back, nothing is run by its name.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    DeallocateStmt, ExecuteStmt, Node, PrepareStmt, RawStmt, TransactionStmtKind,
};

use super::names::{Scope, Ty};
use super::{Env, Judge, refuse_reserved, unsupported};
use crate::deny::Denial;
use crate::plan::{Effect, StatementKind};

impl Judge<'_> {
    /// Judges `PREPARE name (types) AS statement`.
    pub(super) fn prepare(&mut self, prepare: &mut PrepareStmt) -> Result<StatementKind, Denial> {
        refuse_reserved(&prepare.name)?;
        let before = self.findings.effects.len();
        let types = prepare.argtypes.iter().map(|given| self.argument(given));
        self.prepared_types = types.collect::<Result<_, _>>()?;
        let Some(inner) = prepare.query.as_mut().and_then(|query| query.node.as_mut()) else {
            return Err(unsupported("PREPARE without a statement"));
        };
        self.preparing = true;
        self.optimizable(inner)?;
        self.preparing = false;
        self.prepared_types.clear();
        self.refuse_delayed_effects("PREPARE", before)?;
        self.prepares(&prepare.name);
        Ok(StatementKind::Utility)
    }

    fn argument(&self, given: &Node) -> Result<Ty, Denial> {
        match given.node.as_ref() {
            Some(NodeEnum::TypeName(name)) => self.type_name(name),
            _ => Err(unsupported("this type of a parameter")),
        }
    }

    /// Judges `EXECUTE name (values)`, also where it is explained.
    pub(super) fn execute(&mut self, execute: &mut ExecuteStmt) -> Result<StatementKind, Denial> {
        refuse_reserved(&execute.name)?;
        let nowhere = Scope {
            items: &[],
            outer: None,
        };
        self.expressions(&mut execute.params, &nowhere, &Env::default())?;
        self.executes(&execute.name);
        Ok(StatementKind::Utility)
    }

    pub(super) fn deallocate(
        &mut self,
        deallocate: &DeallocateStmt,
    ) -> Result<StatementKind, Denial> {
        let effect = if deallocate.isall || deallocate.name.is_empty() {
            Effect::DeallocateAll
        } else {
            refuse_reserved(&deallocate.name)?;
            Effect::Deallocate(deallocate.name.clone())
        };
        self.findings.effects.push(effect);
        Ok(StatementKind::Utility)
    }

    /// Notes that a name stands for this text from now on.
    pub(super) fn prepares(&mut self, name: &str) {
        let effect = Effect::Prepare(name.to_owned());
        self.findings.effects.push(effect);
    }

    /// Notes that what a name stands for is run.
    pub(super) fn executes(&mut self, name: &str) {
        let effect = Effect::Execute(name.to_owned());
        self.findings.effects.push(effect);
    }

    /// Looks at the statements of a message that names prepared ones.
    pub(super) fn names_beside(&self, statements: &[RawStmt]) -> Result<(), Denial> {
        let nodes = || {
            statements
                .iter()
                .filter_map(|raw| raw.stmt.as_ref()?.node.as_ref())
        };
        if statements.len() < 2 || !nodes().any(names) {
            return Ok(());
        }
        if !nodes().all(may_stand_beside) {
            return Err(beside("this statement"));
        }
        let mut statements = nodes().skip_while(|node| !ends_transaction(node));
        if statements.any(runs) {
            return Err(beside("the end of a transaction before EXECUTE"));
        }
        Ok(())
    }

    /// The same, once they were judged.
    pub(super) fn effects_beside(&self) -> Result<(), Denial> {
        let effects = &self.findings.effects;
        let named = |it: &Effect| {
            matches!(
                it,
                Effect::Prepare(_) | Effect::Execute(_) | Effect::Deallocate(_)
            )
        };
        let plain = |it: &Effect| {
            matches!(
                it,
                Effect::DeallocateAll | Effect::Setting(_) | Effect::RollbackTo
            )
        };
        let alone = self.findings.statements < 2 || !effects.iter().any(named);
        if alone || effects.iter().all(|it| named(it) || plain(it)) {
            return Ok(());
        }
        Err(beside("a statement that changes more of the session"))
    }

    /// What runs later must change nothing of the session then: nobody would notice.
    pub(super) fn refuse_delayed_effects(&self, kind: &str, before: usize) -> Result<(), Denial> {
        if self.findings.effects.len() == before {
            return Ok(());
        }
        let what = format!("{kind} of a statement that changes settings");
        Err(unsupported(&what).hint("Use SET, or run the statement itself."))
    }
}

/// Whether a statement names a prepared one.
fn names(statement: &NodeEnum) -> bool {
    match statement {
        NodeEnum::PrepareStmt(_) => true,
        NodeEnum::DeallocateStmt(deallocate) => !deallocate.isall && !deallocate.name.is_empty(),
        _ => runs(statement),
    }
}

/// Whether it is EXECUTE, or EXPLAIN of it.
fn runs(statement: &NodeEnum) -> bool {
    let explained = match statement {
        NodeEnum::ExplainStmt(explain) => explain.query.as_ref().and_then(|it| it.node.as_ref()),
        _ => None,
    };
    matches!(explained.unwrap_or(statement), NodeEnum::ExecuteStmt(_))
}

/// Whether nothing that a verdict rests on is another behind a statement, but by effects.
fn may_stand_beside(statement: &NodeEnum) -> bool {
    matches!(
        statement,
        NodeEnum::PrepareStmt(_)
            | NodeEnum::ExecuteStmt(_)
            | NodeEnum::DeallocateStmt(_)
            | NodeEnum::ExplainStmt(_)
            | NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::TransactionStmt(_)
            | NodeEnum::VariableSetStmt(_)
            | NodeEnum::VariableShowStmt(_)
    )
}

/// Whether settings of a transaction may be others behind it.
fn ends_transaction(statement: &NodeEnum) -> bool {
    let NodeEnum::TransactionStmt(transaction) = statement else {
        return false;
    };
    !matches!(
        transaction.kind(),
        TransactionStmtKind::TransStmtBegin
            | TransactionStmtKind::TransStmtStart
            | TransactionStmtKind::TransStmtSavepoint
            | TransactionStmtKind::TransStmtRelease
    )
}

fn beside(what: &str) -> Denial {
    let what = format!("{what} beside PREPARE, EXECUTE or DEALLOCATE in one message");
    unsupported(&what).hint("Send them in messages of their own.")
}
