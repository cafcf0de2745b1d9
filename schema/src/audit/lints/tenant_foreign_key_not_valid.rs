//! The foreign key of the tenant column was never validated.
//!
//! Why: Rows that were there before it may refer to tenants that don't exist.
//!
//! Fix: Validate it; readers and writers go on meanwhile.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_foreign_key_not_valid",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let keys = facts.tenant_columns().flat_map(|it| {
        let keys = it.foreign_keys().filter(|key| !key.validated);
        keys.map(move |key| (it, key))
    });
    keys.map(|(it, key)| {
        let why = format!("{} is NOT VALID: older rows were never checked", key.name);
        Draft::new(it.full_name(), why).fix(format!(
            "ALTER TABLE {} VALIDATE CONSTRAINT {};",
            it.table.sql, key.sql
        ))
    })
    .collect()
}
