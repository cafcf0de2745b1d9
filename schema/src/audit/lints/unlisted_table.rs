//! A table is neither scoped nor listed in the policy.
//!
//! Why: pgwarden denies it, so the application can't use it; and nobody has said whether it holds
//! tenants' rows.
//!
//! Fix: List it in policy.toml: `scope = "global"`, `via`, or a column of its own.

use pgwarden_policy::scopes::RelationScope;

use super::belonging::belonging;
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
    let found = belonging(facts);
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
            && !found.contains_key(&it.oid)
    });
    let tables = tables.map(|it| (it, "the policy says nothing about it: clients can't use it"));
    tables
        .chain(elsewhere(facts))
        .map(|(it, why)| Draft::new(it.full_name(), why))
        .collect()
}

/// The tables in schemas that the policy does not look at.
fn elsewhere(facts: &Facts) -> impl Iterator<Item = (&Relation, &'static str)> {
    let tenant = &facts.scoping.policy.tenant.column;
    let tables = facts.tables_elsewhere().filter(|it| !it.partition);
    tables.map(move |it| match it.column(tenant) {
        Some(_) => (
            it,
            "the policy says nothing about its schema, but it has the tenant's column: \
             clients can't use it, and nothing was looked for in it",
        ),
        None => (
            it,
            "the policy says nothing about its schema: clients can't use it",
        ),
    })
}
