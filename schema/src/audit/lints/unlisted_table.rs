//! A table is neither scoped nor listed in the policy.
//!
//! Why: pgwarden denies it, so the application can't use it; and nobody has said whether it holds
//! tenants' rows.
//!
//! Fix: List it in policy.toml: `scope = "global"`, `via`, or a column of its own.

use pgwarden_policy::scopes::RelationScope;

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::scoping::is_about;
use crate::audit::snapshot::Relation;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "unlisted_table",
    level: Level::Note,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    if !facts.scoping.given {
        return Vec::new();
    }
    let listed = |table: &Relation| {
        facts
            .scoping
            .policy
            .tables
            .iter()
            .any(|it| is_about(it, table))
    };
    let tables = facts.tables().filter(|it| !it.partition && !listed(it));
    let tables = tables.filter(|it| {
        facts.scoping.scopes.get(&it.oid) == Some(&RelationScope::Denied)
            && super::belongs_to_tenants(facts, it).is_none()
    });
    tables
        .map(|it| {
            Draft::new(
                it.full_name(),
                "the policy says nothing about it: clients can't use it",
            )
        })
        .collect()
}
