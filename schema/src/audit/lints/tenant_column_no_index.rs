//! No index holds the tenant column.
//!
//! Why: Every statement is filtered by the tenant; without an index it reads everybody's rows to
//! find one tenant's.
//!
//! Fix: Create one that leads with it, or put it first in those that queries use.

use super::{IndexUse, tenant_index_sql};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_column_no_index",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns();
    let columns = columns.filter(|it| IndexUse::of(it) == IndexUse::None);
    columns
        .map(|it| {
            let why = "every statement filters by the tenant, and no index helps it";
            Draft::new(it.full_name(), why).fix(tenant_index_sql(&it))
        })
        .collect()
}
