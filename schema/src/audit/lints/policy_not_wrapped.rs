//! A policy calls a function once for each row.
//!
//! Why: PostgreSQL evaluates `f()` for every row that it looks at, but `(SELECT f())` once for the
//! statement; on a large table that is the difference between milliseconds and seconds.
//!
//! Fix: Wrap the call in a sub-select.

use super::{alter_policy_sql, policy_name};
use crate::audit::expression::Expression;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_not_wrapped",
    level: Level::Note,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let found = facts.deciding().filter_map(|(table, policy)| {
        let texts = [policy.using.as_deref(), policy.check.as_deref()];
        let parsed = texts.into_iter().flatten().filter_map(Expression::parse);
        let call = parsed.flat_map(|it| it.repeated_calls()).next()?;
        let why = format!("{call} runs once for each row: wrap it as (SELECT {call})");
        let draft = Draft::new(policy_name(table, policy), why);
        Some(alter_policy_sql(facts, table, policy, draft))
    });
    found.collect()
}
