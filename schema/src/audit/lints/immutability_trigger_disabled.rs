//! The trigger that keeps a row's tenant is disabled.
//!
//! Why: Somebody held it off, for a backfill perhaps, and it never came back.
//!
//! Fix: Enable it.

use super::guard::Guard;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "immutability_trigger_disabled",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().map(|it| (it, Guard::of(facts, &it)));
    columns
        .filter(|(_, guard)| matches!(guard, Guard::Disabled(_)))
        .map(|(it, guard)| {
            let why = format!("{} is disabled", guard.name());
            Draft::new(it.full_name(), why).fix(guard.sql(facts, &it))
        })
        .collect()
}
