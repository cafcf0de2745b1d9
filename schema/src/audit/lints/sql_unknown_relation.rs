//! The application's SQL names a relation that does not exist.
//!
//! Why: The statement fails when it runs.
//!
//! Fix: Create it, or correct the statement.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "sql_unknown_relation",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let missing = facts.missing.iter().filter(|it| it.column.is_none());
    missing
        .map(|it| {
            let why = format!("relation {} does not exist", it.relation);
            Draft::new(it.relation.clone(), why).at(it.place.clone())
        })
        .collect()
}
