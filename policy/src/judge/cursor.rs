//! DECLARE, FETCH, MOVE and CLOSE.
//!
//! The query of a cursor is judged at DECLARE, with the session's values written into it, and what
//! FETCH gives are its rows.
//!
//! The grammar has no room for a predicate beside `WHERE CURRENT OF`, so what guards the row is the
//! cursor: it stands at a row of the session's own, and if its query locks its rows, nobody can give
//! the row to another tenant meanwhile. The session knows which cursors are such; see
//! [`Effect::Declare`].

use pg_query::NodeEnum;
use pg_query::protobuf::{
    ClosePortalStmt, DeclareCursorStmt, FetchStmt, LockClauseStrength, Node, RangeVar, SelectStmt,
};

use super::from::Level;
use super::{Decision, EntryId, Env, Judge, refuse_reserved, unsupported};
use crate::catalog::RelationKind;
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
        let decided = self.findings.places.decisions.len();
        match declare.query.as_mut().and_then(|query| query.node.as_mut()) {
            Some(NodeEnum::SelectStmt(select)) => self.select(select, None, &Env::default())?,
            _ => return Err(unsupported("a cursor for this statement")),
        };
        self.refuse_delayed_effects("DECLARE CURSOR", before)?;
        let query = declare.query.as_ref().and_then(|query| query.node.as_ref());
        let locks = match query {
            Some(NodeEnum::SelectStmt(select)) => self.locked_rows(select, decided),
            _ => None,
        };
        self.findings.effects.push(Effect::Declare {
            cursor: declare.portalname.clone(),
            locks,
        });
        Ok(self.holds(declare))
    }

    /// The table whose rows a query locks, each once and of one level, so that nobody else can write
    /// them before the transaction ends.
    fn locked_rows(&self, select: &SelectStmt, decided: usize) -> Option<String> {
        let [locking] = select.locking_clause.as_slice() else {
            return None;
        };
        let [from] = select.from_clause.as_slice() else {
            return None;
        };
        let (Some(NodeEnum::LockingClause(locking)), Some(NodeEnum::RangeVar(range))) =
            (locking.node.as_ref(), from.node.as_ref())
        else {
            return None;
        };
        let strong = matches!(
            LockClauseStrength::try_from(locking.strength),
            Ok(LockClauseStrength::LcsForshare
                | LockClauseStrength::LcsFornokeyupdate
                | LockClauseStrength::LcsForupdate)
        );
        // A subquery may lock rows of the same table for less.
        let alone = !format!("{select:?}").contains("SubLink") && select.with_clause.is_none();
        let decisions = self.findings.places.decisions.get(decided..)?;
        let [
            (
                _,
                Decision::Relation {
                    schema,
                    name,
                    scoped,
                },
            ),
        ] = decisions
        else {
            return None;
        };
        let own = scoped.iter().all(|key| key.via.is_none());
        (strong && alone && own && range.relname == *name).then(|| format!("{schema}.{name}"))
    }

    /// Whether an UPDATE or DELETE is of the row that a cursor stands at.
    pub(super) fn current_of(
        &mut self,
        clause: Option<&Node>,
        range: Option<&RangeVar>,
        target: EntryId,
        level: &Level,
    ) -> Result<bool, Denial> {
        let Some(NodeEnum::CurrentOfExpr(current)) = clause.and_then(|it| it.node.as_ref()) else {
            return Ok(false);
        };
        refuse_reserved(&current.cursor_name)?;
        if level.items.len() > 1 {
            return Err(unsupported("WHERE CURRENT OF beside other relations")
                .hint("Write by the key of the row that was fetched."));
        }
        let (keys, table) = self.keys_of(target);
        if keys.is_empty() {
            return Ok(true);
        }
        let kind = range.map(|range| self.find_relation(&range.schemaname, &range.relname));
        let kind = kind.transpose()?.map(|relation| relation.kind);
        let is_table = matches!(
            kind,
            Some(RelationKind::Table | RelationKind::PartitionedTable)
        );
        if !is_table || keys.iter().any(|key| key.via.is_some()) {
            return Err(unsupported(
                "WHERE CURRENT OF on a view, or on a table that is reached through a parent",
            )
            .table(table)
            .hint("Name the row by its key."));
        }
        self.rewritten();
        self.findings.effects.push(Effect::CurrentOf {
            cursor: current.cursor_name.clone(),
            relation: table,
        });
        Ok(true)
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
