//! Cursors, and what is written where one stands.
//!
//! `WHERE CURRENT OF` takes no predicate. What guards the row is a cursor whose query is of this table
//! alone, guarded like any query, and locks its rows: nobody can give one to another tenant before
//! the transaction ends. The session looks whether the cursor is such, by the effects that are
//! checked here.

use super::{Decision, Gap, Step, Walk, need};
use crate::plan::Effect;
use crate::tree::Node;

/// `LCS_FORSHARE` and all above.
const FOR_SHARE: i64 = pg_query::protobuf::LockClauseStrength::LcsForshare as i64;
const SETOP_NONE: i64 = 1;

impl<'a> Walk<'a> {
    /// DECLARE: its query is judged; it may have been said to lock its rows.
    pub(super) fn declared(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.fields(original, rewritten, &[])?;
        let name = original.text("portalname");
        for effect in &self.claims.findings.effects {
            if let Effect::Declare {
                cursor,
                locks: Some(relation),
            } = effect
                && cursor == name
            {
                let query = original.node("query").ok_or(Gap("a cursor of nothing"))?;
                need(
                    self.locks(query, relation),
                    "a cursor does not lock its rows",
                )?;
                self.cursors += 1;
            }
        }
        Ok(())
    }

    /// Closes a text: each cursor that was claimed was found.
    pub(super) fn all_declared(&self) -> Step {
        let locks = |effect: &&Effect| matches!(effect, Effect::Declare { locks: Some(_), .. });
        let claimed = self.claims.findings.effects.iter().filter(locks).count();
        need(self.cursors >= claimed, "a cursor was not found")
    }

    /// Whether a query is of one table, whose rows it locks against all writers.
    fn locks(&self, query: &Node, relation: &str) -> bool {
        let plain = query.has_only(&[
            "target_list",
            "from_clause",
            "where_clause",
            "sort_clause",
            "limit_offset",
            "limit_count",
            "limit_option",
            "locking_clause",
            "op",
        ]) && query.int("op") == SETOP_NONE
            && !query.holds("SubLink");
        let ([from], [locking]) = (query.list("from_clause"), query.list("locking_clause")) else {
            return false;
        };
        let (Some(from), Some(locking)) = (from.as_node(), locking.as_node()) else {
            return false;
        };
        let decided = self.decision(from.location());
        let same = matches!(
            decided,
            Some(Decision::Relation { schema, name, scoped })
                if *relation == format!("{schema}.{name}")
                    && scoped.iter().all(|key| key.via.is_none())
        );
        plain && from.kind == "RangeVar" && locking.int("strength") >= FOR_SHARE && same
    }

    /// The rows that an UPDATE or DELETE is of: those of its condition, or the one of a cursor.
    pub(super) fn written_rows_of(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (before, after) = (
            original.node("where_clause"),
            rewritten.node("where_clause"),
        );
        let current = before.filter(|before| before.kind == "CurrentOfExpr");
        let (Some(current), true) = (current, self.claims.enforce) else {
            return self.filter(before, after);
        };
        let table = original.node("relation").ok_or(Gap("no target"))?;
        self.optional(before, after)?;
        let alone =
            original.list("from_clause").is_empty() && original.list("using_clause").is_empty();
        need(alone, "the row of a cursor is written beside others")?;
        let Some(Decision::Relation {
            schema,
            name,
            scoped,
        }) = self.decision(table.location())
        else {
            return Err(Gap("not a table"));
        };
        if scoped.is_empty() {
            return Ok(());
        }
        let relation = format!("{schema}.{name}");
        let wanted = Effect::CurrentOf {
            cursor: current.text("cursor_name").to_owned(),
            relation,
        };
        let direct = scoped.iter().all(|key| key.via.is_none());
        need(
            direct && self.claims.findings.effects.contains(&wanted),
            "the row of a cursor is not looked at",
        )?;
        let level = self.levels.last_mut().ok_or(Gap("no query"))?;
        level.iter_mut().for_each(super::Source::guarded_by_cursor);
        Ok(())
    }
}
