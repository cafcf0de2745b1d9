//! PUBLIC or anon has privileges on a sequence of a scoped table.
//!
//! Why: Its value tells how many rows all tenants have made, and setval makes their inserts fail.
//!
//! Fix: Revoke them.

use super::revoke_sql;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "sequence_exposed",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let sequences = facts
        .relations()
        .filter(|it| it.kind == 'S' && it.owned_by.is_some_and(|table| facts.is_scoped(table)));
    sequences
        .filter_map(|it| {
            let why = "everybody can see or change how many rows all tenants have made";
            Some(Draft::new(it.full_name(), why).fix(revoke_sql(it, "SEQUENCE")?))
        })
        .collect()
}
