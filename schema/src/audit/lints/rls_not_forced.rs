//! Row level security does not bind the table's owner.
//!
//! Why: Applications often log in as the owner, and SECURITY DEFINER functions run as it: for them
//! the policies don't exist.
//!
//! Fix: FORCE ROW LEVEL SECURITY.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "rls_not_forced",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let tables = facts.guarded().filter(|it| it.row_security && !it.forced);
    tables
        .map(|it| {
            let why = format!("policies don't bind the owner, {}", it.owner);
            let fix = format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY;", it.sql);
            Draft::new(it.full_name(), why).fix(fix)
        })
        .collect()
}
