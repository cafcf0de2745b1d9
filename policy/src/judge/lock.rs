//! LOCK TABLE.
//!
//! Row level security says nothing of locks, so PostgreSQL lets whoever may write a row of a table
//! stop all others. The modes that SELECT, SELECT FOR UPDATE and UPDATE take by themselves hold up no
//! other tenant's rows, and pass; the stronger ones only where the policy has `lock = "allow"`.

use pg_query::NodeEnum;
use pg_query::protobuf::LockStmt;

use super::statement::refused;
use super::{Judge, unsupported};
use crate::catalog::RelationKind;
use crate::deny::Denial;
use crate::plan::StatementKind;

/// `AccessShareLock`, which SELECT takes.
const ACCESS_SHARE: i32 = 1;
/// `RowExclusiveLock`, which INSERT, UPDATE and DELETE take.
const ROW_EXCLUSIVE: i32 = 3;

impl Judge<'_> {
    /// Judges LOCK TABLE: tables that the session may read, or write where the mode is a writer's.
    pub(super) fn lock(&mut self, lock: &mut LockStmt) -> Result<StatementKind, Denial> {
        let default = self.bound.policy.defaults.lock;
        let allowed = self.request.facts.lock.unwrap_or(default);
        if lock.mode > ROW_EXCLUSIVE && !allowed {
            return Err(refused("LOCK in this mode").hint(
                "It would hold up all tenants. Use SELECT … FOR UPDATE on the rows, or a mode up to ROW EXCLUSIVE.",
            ));
        }
        for relation in &mut lock.relations {
            let Some(NodeEnum::RangeVar(range)) = relation.node.as_mut() else {
                return Err(unsupported("this kind of name"));
            };
            let kind = self.find_relation(&range.schemaname, &range.relname)?.kind;
            if !matches!(kind, RelationKind::Table | RelationKind::PartitionedTable) {
                return Err(
                    refused("LOCK of what is not a table").hint("Lock the tables behind a view.")
                );
            }
            self.relation_reference(range, lock.mode > ACCESS_SHARE)?;
        }
        Ok(StatementKind::Utility)
    }
}
