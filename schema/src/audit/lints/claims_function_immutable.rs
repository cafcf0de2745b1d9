//! A function that reads the session's claims or settings says that it is IMMUTABLE.
//!
//! Why: PostgreSQL calls such a function once and keeps its value in a plan, also in the plan of a
//! prepared statement, which the next request on the same connection uses: a policy then admits the
//! rows of somebody else.
//!
//! Fix: Make it STABLE: it is then called for each statement.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "claims_function_immutable",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let functions = facts.functions();
    let functions = functions.filter(|it| it.immutable && facts.reads_session(it));
    functions
        .map(|it| {
            let why = "it reads what each session has for itself, but a plan may keep the value \
                       that one of them had";
            let fix = format!("ALTER FUNCTION {} STABLE;", it.sql);
            Draft::new(it.sql.clone(), why).fix(fix)
        })
        .collect()
}
