//! A policy is for PUBLIC on a table that everybody has a grant on.
//!
//! Why: Nobody has said who the policy is for, so it also decides for roles that never logged in,
//! such as anon: what it lets through is all that protects the rows.
//!
//! Fix: Name the roles, or take the grant away.

use super::policy_name;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_for_public",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let found = facts.permissive().filter(|(table, policy)| {
        let everybody = table.is_granted_to("PUBLIC") || table.is_granted_to("anon");
        everybody && policy.roles.iter().any(|it| it == "PUBLIC")
    });
    found
        .map(|(table, policy)| {
            let why = "it is for PUBLIC, and PUBLIC or anon has a grant on the table";
            let draft = Draft::new(policy_name(table, policy), why);
            let known = facts
                .snapshot
                .roles
                .iter()
                .any(|it| it.name == "authenticated");
            match known {
                true => draft.fix(format!(
                    "ALTER POLICY {} ON {} TO authenticated;",
                    policy.sql, table.sql
                )),
                false => draft.fix(format!("REVOKE ALL ON {} FROM PUBLIC;", table.sql)),
            }
        })
        .collect()
}
