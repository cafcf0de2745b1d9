//! The tenant column accepts NULL.
//!
//! Why: A row without a tenant is nobody's: no tenant sees it, so it is lost to the application,
//! and a policy that is kind to NULL shows it to all.
//!
//! Fix: Fill the rows that lack it, then set NOT NULL. On a large table a validated CHECK first
//! avoids the long lock.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_column_nullable",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().filter(|it| !it.column.not_null);
    columns
        .map(|it| {
            let why = "the column accepts NULL: rows without a tenant can be written";
            Draft::new(it.full_name(), why).fix(format!(
                "ALTER TABLE {} ALTER COLUMN {} SET NOT NULL;",
                it.table.sql, it.column.sql
            ))
        })
        .collect()
}
