//! The partitions of a table. What PostgreSQL does to a partitioned table at once, and under a lock
//! for as long as it reads all rows, is done one partition after the other instead, and the table
//! takes it over.

use std::collections::HashMap;

use pgwarden_policy::catalog::Oid;

use crate::audit::facts::Facts;
use crate::audit::snapshot::Relation;

/// A partition, or a partition's partition.
#[derive(Debug)]
pub(super) struct Partition<'a> {
    pub(super) table: &'a Relation,
    /// Estimated.
    pub(super) rows: i64,
}

impl Partition<'_> {
    /// Whether it holds rows itself.
    pub(super) fn is_leaf(&self) -> bool {
        self.table.kind != 'p'
    }
}

/// All partitions below a table, those that are partitioned themselves before theirs.
pub(super) fn below<'a>(
    facts: &'a Facts,
    table: &Relation,
    rows: &HashMap<Oid, i64>,
) -> Vec<Partition<'a>> {
    let mut found: Vec<Partition<'a>> = Vec::new();
    let mut open = vec![table.oid];
    while let Some(oid) = open.pop() {
        let relations = facts.snapshot.relations.iter();
        let own = relations.filter(|it| it.partition && it.parents.contains(&oid));
        for table in own {
            let rows = rows.get(&table.oid).copied().unwrap_or(0);
            found.push(Partition { table, rows });
            open.push(table.oid);
        }
    }
    found
}
