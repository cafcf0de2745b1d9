//! The trigger that keeps a row's tenant does not fire when the tenant column is updated.
//!
//! Why: It fires after the fact, for the statement, or for other columns only, so the column can be
//! changed.
//!
//! Fix: Make it BEFORE UPDATE OF the column FOR EACH ROW.

use super::guard::Guard;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "immutability_trigger_coverage",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().map(|it| (it, Guard::of(facts, &it)));
    columns
        .filter(|(_, guard)| matches!(guard, Guard::Uncovered(_)))
        .map(|(it, guard)| {
            let why = format!(
                "{} does not fire before each update of the column",
                guard.name()
            );
            Draft::new(it.full_name(), why).fix(guard.sql(facts, &it))
        })
        .collect()
}
