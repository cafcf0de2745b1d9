//! A view over scoped tables runs with its owner's rights.
//!
//! Why: Policies are those of the view's owner, not of who asks: to an owner above row level
//! security every tenant's rows are open.
//!
//! Fix: Set security_invoker (PostgreSQL 15 and later).

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "view_without_invoker",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let views = facts
        .relations()
        .filter(|it| it.kind == 'v' && !it.security_invoker);
    views
        .filter_map(|it| {
            let shown = facts.shown_by(it);
            let first = shown.first()?;
            let why = format!(
                "it shows {} with the rights of {}",
                first.full_name(),
                it.owner
            );
            let fix = format!("ALTER VIEW {} SET (security_invoker = on);", it.sql);
            Some(Draft::new(it.full_name(), why).fix(fix))
        })
        .collect()
}
