//! Nothing keeps a row's tenant from being changed.
//!
//! Why: An UPDATE by whoever is above row level security, or a bug, can give a tenant's rows to
//! another.
//!
//! Fix: A trigger before UPDATE OF the tenant column that raises.

use super::guard::Guard;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "immutability_trigger_missing",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().map(|it| (it, Guard::of(facts, &it)));
    columns
        .filter(|(_, guard)| matches!(guard, Guard::Missing))
        .map(|(it, guard)| {
            let why = "no trigger keeps the row's tenant from being changed";
            Draft::new(it.full_name(), why).fix(guard.sql(facts, &it))
        })
        .collect()
}
