//! A policy lets rows through without looking at their tenant.
//!
//! Why: Permissive policies are joined by OR, and so are the arms of one: each of them must compare
//! the tenant column, or lets other tenants' rows through.
//!
//! Fix: Compare the tenant column in every arm; or make the policy restrictive.

use super::{alter_policy_sql, policy_name};
use crate::audit::expression::Expression;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_ignores_tenant",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let found = facts.permissive().filter(|(table, policy)| {
        let texts = [policy.using.as_deref(), policy.check.as_deref()];
        texts.into_iter().flatten().any(|it| {
            !facts.restricts(table, it)
                && !Expression::parse(it).is_some_and(|it| it.is_always_true())
        })
    });
    found
        .map(|(table, policy)| {
            let why = "rows pass on a condition that does not look at their tenant";
            alter_policy_sql(
                facts,
                table,
                policy,
                Draft::new(policy_name(table, policy), why),
            )
        })
        .collect()
}
