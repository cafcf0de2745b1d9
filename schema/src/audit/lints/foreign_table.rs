//! A foreign table holds rows of tenants.
//!
//! Why: Row level security can't be put on it, and the other server sees one user, whoever asks.
//!
//! Fix: Revoke it from tenants' roles, or guard it by a view that compares the tenant; then accept
//! it by a suppression.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "foreign_table",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let column = &facts.scoping.policy.tenant.column;
    let tables = facts.relations().filter(|it| it.kind == 'f').filter(|it| {
        it.column(column).is_some() || it.parents.iter().any(|oid| facts.is_scoped(*oid))
    });
    tables
        .map(|it| {
            Draft::new(
                it.full_name(),
                "it holds rows of tenants, and no policy can guard it",
            )
        })
        .collect()
}
