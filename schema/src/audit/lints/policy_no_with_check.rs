//! A policy for writes has no WITH CHECK.
//!
//! Why: PostgreSQL then checks written rows by USING. Whoever later loosens USING, to show more
//! rows, loosens what may be written, too.
//!
//! Fix: Write the check out.

use super::{policy_name, policy_wrong_claim};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_no_with_check",
    level: Level::Note,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let found = facts.deciding().filter(|(table, policy)| {
        // What keeps tenants apart badly is no better when it is written twice.
        let keeps = |it: &String| facts.restricts(table, it);
        matches!(policy.command, '*' | 'w')
            && policy.check.is_none()
            && policy.using.as_ref().is_none_or(keeps)
            && policy_wrong_claim::why(facts, table, policy).is_none()
    });
    found
        .map(|(table, policy)| {
            let why =
                "written rows are checked by USING: what is shown decides what may be written";
            let using = policy.using.as_deref().unwrap_or("false");
            let fix = format!(
                "ALTER POLICY {} ON {} WITH CHECK ({using});",
                policy.sql, table.sql
            );
            Draft::new(policy_name(table, policy), why).fix(fix)
        })
        .collect()
}
