//! PREPARE, EXECUTE and DEALLOCATE.
//!
//! The statement inside PREPARE is judged like any other, and the session's values are written into
//! it: EXECUTE gives values for the client's own parameters only. One of those that an INSERT puts
//! into the tenant column is checked when it runs (form I10). What is known of a name (which
//! text it stands for, and what the verdict was based on) is the session's to keep; it learns of
//! names by the effects.

use pg_query::NodeEnum;
use pg_query::protobuf::{DeallocateStmt, ExecuteStmt, Node, PrepareStmt};

use super::names::{Scope, Ty};
use super::{Env, Judge, refuse_reserved, unsupported};
use crate::deny::Denial;
use crate::plan::{Effect, StatementKind};

impl Judge<'_> {
    /// Judges `PREPARE name (types) AS statement`.
    pub(super) fn prepare(&mut self, prepare: &mut PrepareStmt) -> Result<StatementKind, Denial> {
        self.names_alone()?;
        refuse_reserved(&prepare.name)?;
        let types = prepare.argtypes.iter().map(|given| self.argument(given));
        self.prepared_types = types.collect::<Result<_, _>>()?;
        let Some(inner) = prepare.query.as_mut().and_then(|query| query.node.as_mut()) else {
            return Err(unsupported("PREPARE without a statement"));
        };
        self.preparing = true;
        self.optimizable(inner)?;
        self.preparing = false;
        self.refuse_delayed_effects("PREPARE", 0)?;
        self.prepares(&prepare.name);
        Ok(StatementKind::Utility)
    }

    fn argument(&self, given: &Node) -> Result<Ty, Denial> {
        match given.node.as_ref() {
            Some(NodeEnum::TypeName(name)) => self.type_name(name),
            _ => Err(unsupported("this type of a parameter")),
        }
    }

    /// Judges `EXECUTE name (values)`.
    pub(super) fn execute(&mut self, execute: &mut ExecuteStmt) -> Result<StatementKind, Denial> {
        self.names_alone()?;
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
            self.names_alone()?;
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

    /// The session keeps one text for a name, so a message must not hold more than that.
    pub(super) fn names_alone(&self) -> Result<(), Denial> {
        if self.findings.statements > 1 {
            return Err(unsupported(
                "PREPARE, EXECUTE or DEALLOCATE beside other statements in one message",
            )
            .hint("Send them in messages of their own."));
        }
        Ok(())
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
