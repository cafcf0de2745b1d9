//! PUBLIC or anon has privileges on what shows tenants' rows.
//!
//! Why: Roles that belong to no tenant can reach the rows; a policy is all that stands between.
//!
//! Fix: Revoke them.

use super::{is_everybody, revoke_sql};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "grant_to_public",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let scoped = facts.relations().filter(|it| match it.kind {
        'S' => false,
        _ => facts.is_scoped(it.oid) || !facts.shown_by(it).is_empty(),
    });
    scoped
        .filter_map(|it| {
            let fix = revoke_sql(it, "TABLE")?;
            let held = it
                .grants
                .iter()
                .filter(|grant| is_everybody(&grant.grantee));
            let held: Vec<&str> = held.map(|grant| grant.privilege.as_str()).collect();
            let why = format!("everybody has {} on it", held.join(", "));
            Some(Draft::new(it.full_name(), why).fix(fix))
        })
        .collect()
}
