//! `WHERE CURRENT OF`: the cursors at whose rows the session may write.
//!
//! The statement has no room for a predicate, so it is let through only for cursors of DECLARE that are
//! known to lock rows of the session's own in that very table, and not since a rollback to a
//! savepoint, which gives locks back. What a name stands for is noted when it is sent: a statement
//! that fails ends the transaction, and its cursors with it.

use std::collections::HashMap;

use pgwarden_policy::{Denial, DenyReason, Effect, Plan};

use super::names::Basis;

/// How many cursors are remembered; what is written where another stands is refused.
const REMEMBERED: usize = 1000;

/// The cursors that lock rows of the session's own: by name, the relation and what that was judged by.
#[derive(Debug, Default, Clone)]
pub(super) struct Cursors(HashMap<String, (String, Basis)>);

impl Cursors {
    /// A statement is on its way.
    pub(super) fn follow(&mut self, plan: &Plan, basis: Basis) {
        if plan.observed.is_some() {
            self.clear();
        }
        for effect in &plan.effects {
            self.apply(effect, basis);
        }
    }

    fn apply(&mut self, effect: &Effect, basis: Basis) {
        match effect {
            Effect::Declare { cursor, locks } => {
                self.forget(cursor);
                if let Some(relation) = locks.as_ref().filter(|_| self.0.len() < REMEMBERED) {
                    self.0.insert(cursor.clone(), (relation.clone(), basis));
                }
            }
            Effect::Close(cursor) => self.forget(cursor),
            Effect::CloseAll | Effect::RollbackTo | Effect::ClaimsLost => self.clear(),
            _ => {}
        }
    }

    /// A portal of the protocol takes the name, or the name is closed.
    pub(super) fn forget_portal(&mut self, name: &[u8]) {
        if !self.0.is_empty() {
            self.forget(&String::from_utf8_lossy(name));
        }
    }

    fn forget(&mut self, cursor: &str) {
        self.0.remove(cursor);
    }

    /// The transaction has ended, or gone back.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Refuses to write where a cursor stands that is not known to stand at a row of the session's.
    pub(super) fn check(&self, plan: &Plan, basis: Basis) -> Result<(), Denial> {
        let written = |effect: &Effect| matches!(effect, Effect::CurrentOf { .. });
        if !plan.effects.iter().any(written) {
            return Ok(());
        }
        // Statements before it in the same message count, too.
        let mut then = self.clone();
        for effect in &plan.effects {
            if let Effect::CurrentOf { cursor, relation } = effect
                && !then.locks(cursor, relation, basis)
            {
                return Err(unknown(relation));
            }
            then.apply(effect, basis);
        }
        Ok(())
    }

    fn locks(&self, cursor: &str, relation: &str, basis: Basis) -> bool {
        let known = self.0.get(cursor);
        known.is_some_and(|(locked, judged)| locked == relation && judged.engine == basis.engine)
    }
}

fn unknown(relation: &str) -> Denial {
    let text = "WHERE CURRENT OF a cursor that is not known to lock this table's rows";
    Denial::new(DenyReason::UnsupportedConstruct, text)
        .table(relation)
        .hint(
            "DECLARE it FOR SELECT … FROM this table alone … FOR UPDATE, in this transaction, and \
             again after ROLLBACK TO SAVEPOINT.",
        )
}
