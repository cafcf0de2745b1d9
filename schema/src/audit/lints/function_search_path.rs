//! A SECURITY DEFINER function takes its search_path from the caller.
//!
//! Why: Whoever can create a table or function somewhere puts it in front, and it runs with the
//! owner's rights.
//!
//! Fix: Give the function a search_path of its own.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "function_search_path",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let functions = facts.functions();
    let functions = functions.filter(|it| it.security_definer && !it.fixed_search_path);
    functions
        .map(|it| {
            let why = format!(
                "it runs as {}, but finds its names where the caller says",
                it.owner
            );
            let fix = format!(
                "ALTER ROUTINE {} SET search_path = {}, pg_temp;",
                it.sql,
                ident(&it.schema)
            );
            Draft::new(it.sql.clone(), why).fix(fix)
        })
        .collect()
}
