//! The application's SQL names a column that does not exist.
//!
//! Why: The statement fails when it runs, as in "column organizations.status does not exist".
//!
//! Fix: Add the column, or correct the statement.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "sql_unknown_column",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let missing = facts.missing.iter().filter_map(|it| {
        let name = format!("{}.{}", it.relation, it.column.as_ref()?);
        let why = format!("column {name} does not exist");
        Some(Draft::new(name, why).at(it.place.clone()))
    });
    missing.collect()
}
