//! Indexes hold the tenant column, but none leads with it.
//!
//! Why: A B-tree is searched from its first column on: the filter by tenant reads the whole index,
//! everybody's entries included.
//!
//! Fix: Create an index that leads with the tenant column.

use super::{IndexUse, tenant_index_sql};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_index_not_leading",
    level: Level::Note,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns();
    let columns = columns.filter(|it| IndexUse::of(it) == IndexUse::Behind);
    columns
        .map(|it| {
            let why = "indexes hold the column behind others only: the filter by tenant reads all of them";
            Draft::new(it.full_name(), why).fix(tenant_index_sql(&it))
        })
        .collect()
}
