//! Transaction control, settings, and what clears a session.

use pg_query::NodeEnum;
use pg_query::protobuf::{
    CallStmt, DiscardMode, DiscardStmt, Node, TransactionStmt, TransactionStmtKind,
    VariableSetKind, VariableSetStmt, a_const,
};

use super::names::Scope;
use super::{Env, Judge, unsupported};
use crate::builtin::settings;
use crate::deny::{Denial, DenyReason};
use crate::plan::{Effect, StatementKind};

impl Judge<'_> {
    pub(super) fn transaction(
        &mut self,
        transaction: &TransactionStmt,
    ) -> Result<StatementKind, Denial> {
        let kind = TransactionStmtKind::try_from(transaction.kind)
            .unwrap_or(TransactionStmtKind::Undefined);
        match kind {
            TransactionStmtKind::TransStmtBegin
            | TransactionStmtKind::TransStmtStart
            | TransactionStmtKind::TransStmtCommit
            | TransactionStmtKind::TransStmtRollback
            | TransactionStmtKind::TransStmtSavepoint
            | TransactionStmtKind::TransStmtRelease => Ok(StatementKind::Transaction),
            TransactionStmtKind::TransStmtRollbackTo => {
                self.findings.effects.push(Effect::RollbackTo);
                Ok(StatementKind::Transaction)
            }
            TransactionStmtKind::Undefined
            | TransactionStmtKind::TransStmtPrepare
            | TransactionStmtKind::TransStmtCommitPrepared
            | TransactionStmtKind::TransStmtRollbackPrepared => Err(Denial::new(
                DenyReason::UnsupportedStatement,
                "two-phase commit is not supported",
            )
            .hint(
                "A prepared transaction outlives its session, and any tenant could end it. Use COMMIT.",
            )),
        }
    }

    /// CALL of a procedure that the policy lists. What it does to the session is not known, nor
    /// whether it ends the transaction in which the claims were set; so they are set again.
    pub(super) fn call_procedure(&mut self, call: &mut CallStmt) -> Result<StatementKind, Denial> {
        let Some(function) = call.funccall.as_mut() else {
            return Err(unsupported("CALL of nothing"));
        };
        let nowhere = Scope {
            items: &[],
            outer: None,
        };
        let mut given = Vec::with_capacity(function.args.len());
        for arg in &mut function.args {
            given.push(self.expression(arg, &nowhere, &Env::default())?.ty);
        }
        self.function(function, &given)?;
        self.findings
            .effects
            .extend([Effect::ClaimsLost, Effect::SearchPath]);
        Ok(StatementKind::Utility)
    }

    /// SET, SET LOCAL, RESET, RESET ALL.
    pub(super) fn set(&mut self, set: &VariableSetStmt) -> Result<StatementKind, Denial> {
        let kind = VariableSetKind::try_from(set.kind).unwrap_or(VariableSetKind::Undefined);
        match kind {
            VariableSetKind::VarResetAll => {
                self.findings
                    .effects
                    .extend([Effect::ClaimsLost, Effect::SearchPath]);
            }
            VariableSetKind::VarSetMulti => return self.set_several(set),
            VariableSetKind::VarSetValue => {
                let value = self.setting_value(&set.args)?;
                if settings::is_taken_token(&set.name, &value) {
                    return Ok(StatementKind::Setting);
                }
                let effect = settings::check(&self.bound.policy, &set.name, Some(&value))?;
                self.findings.effects.extend(effect);
                self.sets(&set.name);
            }
            VariableSetKind::VarSetDefault
            | VariableSetKind::VarReset
            | VariableSetKind::VarSetCurrent => {
                let effect = settings::check(&self.bound.policy, &set.name, None)?;
                self.findings.effects.extend(effect);
                self.sets(&set.name);
            }
            VariableSetKind::Undefined => return Err(unsupported("this form of SET")),
        }
        Ok(StatementKind::Setting)
    }

    /// SET TRANSACTION, SET SESSION CHARACTERISTICS; a snapshot of another session is refused.
    fn set_several(&mut self, set: &VariableSetStmt) -> Result<StatementKind, Denial> {
        match set.name.as_str() {
            "TRANSACTION" => Ok(StatementKind::Setting),
            "SESSION CHARACTERISTICS" => {
                for setting in ["isolation", "read_only", "deferrable"] {
                    self.sets(&format!("default_transaction_{setting}"));
                }
                Ok(StatementKind::Setting)
            }
            _ => Err(unsupported("SET TRANSACTION SNAPSHOT").hint(
                "A snapshot is another session's. Read in one transaction, REPEATABLE READ.",
            )),
        }
    }

    /// The value as one text; its literals are pinned, as the verdict depends on them.
    fn setting_value(&mut self, args: &[Node]) -> Result<String, Denial> {
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.setting_part(arg)?);
        }
        Ok(values.join(", "))
    }

    fn setting_part(&mut self, arg: &Node) -> Result<String, Denial> {
        match arg.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => {
                self.pin(constant.location);
                match constant.val.as_ref() {
                    Some(a_const::Val::Sval(text)) => Ok(text.sval.clone()),
                    Some(a_const::Val::Ival(number)) => Ok(number.ival.to_string()),
                    Some(a_const::Val::Fval(number)) => Ok(number.fval.clone()),
                    Some(a_const::Val::Boolval(value)) => Ok(value.boolval.to_string()),
                    Some(a_const::Val::Bsval(_)) | None => {
                        Err(unsupported("this value of a setting"))
                    }
                }
            }
            // SET TIME ZONE INTERVAL '…'
            Some(NodeEnum::TypeCast(cast)) => match cast.arg.as_deref() {
                Some(arg) => self.setting_part(arg),
                None => Err(unsupported("this value of a setting")),
            },
            _ => Err(unsupported("this value of a setting")),
        }
    }

    /// The identity guard alone, for a break-glass role.
    pub(super) fn guard_setting(&mut self, set: &VariableSetStmt) -> Result<StatementKind, Denial> {
        let kind = VariableSetKind::try_from(set.kind).unwrap_or(VariableSetKind::Undefined);
        if kind == VariableSetKind::VarResetAll {
            self.findings
                .effects
                .extend([Effect::ClaimsLost, Effect::SearchPath]);
            return Ok(StatementKind::Setting);
        }
        if settings::is_identity(&set.name) {
            let value = self.setting_value(&set.args)?;
            if kind == VariableSetKind::VarSetValue && settings::is_taken_token(&set.name, &value) {
                return Ok(StatementKind::Setting);
            }
            return Err(settings::identity(&set.name));
        }
        if kind == VariableSetKind::VarSetValue && settings::is_judged_by_value(&set.name) {
            let value = self.setting_value(&set.args)?;
            settings::check_reading(&set.name, Some(&value))?;
        }
        if set.name.eq_ignore_ascii_case("search_path") {
            self.findings.effects.push(Effect::SearchPath);
        }
        self.sets(&set.name);
        Ok(StatementKind::Setting)
    }

    /// Notes that a setting may change; `search_path` has an effect of its own.
    pub(super) fn sets(&mut self, name: &str) {
        let name = name.to_ascii_lowercase();
        if name != "search_path" {
            self.findings.effects.push(Effect::Setting(name));
        }
    }

    pub(super) fn discard(&mut self, discard: &DiscardStmt) -> Result<StatementKind, Denial> {
        match DiscardMode::try_from(discard.target).unwrap_or(DiscardMode::Undefined) {
            DiscardMode::DiscardAll => self.findings.effects.extend([
                Effect::ClaimsLost,
                Effect::SearchPath,
                Effect::Temporaries,
                Effect::DeallocateAll,
                Effect::CloseAll,
            ]),
            DiscardMode::DiscardPlans | DiscardMode::DiscardSequences => {}
            DiscardMode::DiscardTemp => self.findings.effects.push(Effect::Temporaries),
            DiscardMode::Undefined => return Err(unsupported("this form of DISCARD")),
        }
        Ok(StatementKind::Setting)
    }
}
