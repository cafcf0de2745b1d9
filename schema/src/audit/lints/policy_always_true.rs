//! A policy lets every row through.
//!
//! Why: Permissive policies are joined by OR: one that is always true undoes all others.
//!
//! Fix: Compare the tenant column; or drop the policy.

use super::{alter_policy_sql, policy_name};
use crate::audit::expression::Expression;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_always_true",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let is_true = |text: &Option<String>| {
        let parsed = text.as_deref().and_then(Expression::parse);
        parsed.is_some_and(|it| it.is_always_true())
    };
    let found = facts.permissive();
    let found = found.filter(|(_, it)| is_true(&it.using) || is_true(&it.check));
    found
        .map(|(table, policy)| {
            let part = if is_true(&policy.using) {
                "USING"
            } else {
                "WITH CHECK"
            };
            let why = format!("{part} is always true: every tenant's rows pass");
            alter_policy_sql(
                facts,
                table,
                policy,
                Draft::new(policy_name(table, policy), why),
            )
        })
        .collect()
}
