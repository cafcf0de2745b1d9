//! A materialised view holds rows of scoped tables.
//!
//! Why: It is a copy of every tenant's rows, and row level security can't be put on it.
//!
//! Fix: Make it a table with the tenant column and a policy, or a view; where it holds sums only,
//! accept it by a suppression.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "materialized_view",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let views = facts.relations().filter(|it| it.kind == 'm');
    views
        .filter_map(|it| {
            let shown = facts.shown_by(it);
            let first = shown.first()?;
            let why = format!(
                "it is a copy of {} that no policy guards",
                first.full_name()
            );
            Some(Draft::new(it.full_name(), why))
        })
        .collect()
}
