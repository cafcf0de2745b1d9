//! Rows have no tenant.
//!
//! Why: No tenant sees them, and NOT NULL can't be set before they are given to somebody.
//!
//! Fix: Fill them through their parent or user; what is nobody's goes to a quarantine.

use crate::audit::counts::shown;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "rows_without_tenant",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().filter_map(|it| {
        let count = *facts.counts.nulls.get(&it.table.oid)?;
        let why = format!("{} without a tenant", shown(count));
        Some(Draft::new(it.full_name(), why))
    });
    columns.collect()
}
