//! DECLARE, FETCH, MOVE and CLOSE.
//!
//! The query of a cursor is judged at DECLARE, with the session's values written into it, and what
//! FETCH gives are its rows. `WHERE CURRENT OF` is refused: the grammar has no room for a predicate
//! beside it.

use pg_query::NodeEnum;
use pg_query::protobuf::{ClosePortalStmt, DeclareCursorStmt, FetchStmt};

use super::{Env, Judge, refuse_reserved, unsupported};
use crate::deny::Denial;
use crate::plan::{Effect, StatementKind};

/// `CURSOR_OPT_HOLD` of the grammar.
const WITH_HOLD: i32 = 0x20;

impl Judge<'_> {
    /// Judges `DECLARE name CURSOR FOR query`.
    pub(super) fn declare(
        &mut self,
        declare: &mut DeclareCursorStmt,
    ) -> Result<StatementKind, Denial> {
        refuse_reserved(&declare.portalname)?;
        let before = self.findings.effects.len();
        match declare.query.as_mut().and_then(|query| query.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, None, &Env::default())?,
            _ => return Err(unsupported("a cursor for this statement")),
        };
        self.refuse_delayed_effects("DECLARE CURSOR", before)?;
        Ok(self.holds(declare))
    }

    /// Notes a cursor that outlives its transaction.
    pub(super) fn holds(&mut self, declare: &DeclareCursorStmt) -> StatementKind {
        if declare.options & WITH_HOLD != 0 {
            let effect = Effect::Hold(declare.portalname.clone());
            self.findings.effects.push(effect);
        }
        StatementKind::Utility
    }

    /// Judges FETCH and MOVE.
    pub(super) fn fetch(&mut self, fetch: &FetchStmt) -> Result<StatementKind, Denial> {
        refuse_reserved(&fetch.portalname)?;
        let effect = Effect::Fetch(fetch.portalname.clone());
        self.findings.effects.push(effect);
        Ok(StatementKind::Utility)
    }

    /// CLOSE.
    pub(super) fn close(&mut self, close: &ClosePortalStmt) -> Result<StatementKind, Denial> {
        refuse_reserved(&close.portalname)?;
        self.findings.effects.push(if close.portalname.is_empty() {
            Effect::CloseAll
        } else {
            Effect::Close(close.portalname.clone())
        });
        Ok(StatementKind::Utility)
    }
}
