//! Row level security is on, but there is no policy.
//!
//! Why: Nobody but those above row level security sees a row, so the application runs as one of
//! those.
//!
//! Fix: Create the tenant's policy.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "no_policy",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let tables = facts.guarded().filter(|it| it.row_security);
    let tables = tables.filter(|it| !it.policies.iter().any(|policy| policy.permissive));
    tables
        .map(|it| {
            let why = "no policy lets a row through: only roles above row level security can use the table";
            let draft = Draft::new(it.full_name(), why);
            match facts.policy_sql(it) {
                Some(sql) => draft.fix(sql),
                None => draft,
            }
        })
        .collect()
}
