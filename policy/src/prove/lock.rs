//! LOCK TABLE: no row is read, so nothing is guarded; what holds up other tenants is the policy's to allow.

use super::{Gap, Step, Walk, need};
use crate::catalog::RelationKind;
use crate::tree::Node;

/// `RowExclusiveLock`.
const ROW_EXCLUSIVE: i64 = 3;

impl<'a> Walk<'a> {
    pub(super) fn lock(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !self.claims.enforce {
            return self.fields(original, rewritten, &[]);
        }
        need(
            rewritten.int("mode") <= ROW_EXCLUSIVE || self.claims.lock,
            "a lock holds up other tenants",
        )?;
        let (before, after) = (original.list("relations"), rewritten.list("relations"));
        need(before.len() == after.len(), "a list has another length")?;
        for pair in before.iter().zip(after) {
            let (Some(table), Some(there)) = (pair.0.as_node(), pair.1.as_node()) else {
                return Err(Gap("not a relation"));
            };
            self.pair(table, there);
            self.relation(table, there)?;
            let temporary = there.text("schemaname") == "pg_temp";
            let is_table =
                |kind| matches!(kind, RelationKind::Table | RelationKind::PartitionedTable);
            need(
                temporary || is_table(self.decided_table(table)?.kind),
                "what is locked is not a table",
            )?;
        }
        self.fields(original, rewritten, &["relations"])
    }
}
