//! Which tables hold nothing of a tenant: what the server says of their rows, everybody may know.

use super::{Access, Bound, Guard};
use crate::catalog::{Relation, RelationKind};

/// How the schema of a session's temporary tables begins on the server. No role may make another like it.
const TEMPORARY: &str = "pg_temp_";

impl Bound {
    /// Whether the session may read all rows of a table, and of each table that its foreign keys name: the error of a
    /// foreign key names the one that refers, and may show a value of the other.
    pub(crate) fn tells_of_no_tenant(&self, schema: &str, name: &str) -> bool {
        if schema.starts_with(TEMPORARY) {
            // It stands alone, and holds what its session has put there.
            return true;
        }
        let Some(relation) = self.catalog.relation(schema, name) else {
            return false;
        };
        let mut named = relation.references.iter();
        self.is_open(relation)
            && named.all(|oid| {
                let named = self.catalog.relation_by_oid(*oid);
                named.is_some_and(|named| self.is_open(named))
            })
    }

    fn is_open(&self, relation: &Relation) -> bool {
        let is_table = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        );
        let guard = self.relations.get(&relation.oid).map(|it| &it.guard);
        is_table && matches!(guard, Some(Guard::Global(Access::Read | Access::Write)))
    }
}
