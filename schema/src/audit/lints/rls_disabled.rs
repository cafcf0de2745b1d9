//! Row level security is off for a scoped table.
//!
//! Why: Whoever reaches the database beside pgwarden sees every tenant's rows.
//!
//! Fix: Enable it, with a policy in place first, or nobody but the owner sees anything.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "rls_disabled",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let tables = facts.guarded().filter(|it| !it.row_security);
    let tables = tables.map(|it| {
        let why = match it.policies.len() {
            0 => "the table's rows are open to every role that has a grant",
            _ => "the table has policies, but row level security is off: they do nothing",
        };
        (it, why)
    });
    // A partition is guarded by its own switch when it is named itself.
    let why = "the partition can be named itself, which its parent's policies don't see";
    let partitions = facts.open_partitions();
    let partitions = partitions.filter(|(it, root)| facts.is_scoped(root.oid) && !it.row_security);
    let partitions = partitions.map(|it| (it.0, why));
    tables
        .chain(partitions)
        .map(|(it, why)| {
            let own = match it.policies.is_empty() {
                true => facts.policy_sql(it).map(|sql| sql + "\n").unwrap_or_default(),
                false => String::new(),
            };
            let sql = &it.sql;
            let fix = format!(
                "{own}ALTER TABLE {sql} ENABLE ROW LEVEL SECURITY;\nALTER TABLE {sql} FORCE ROW LEVEL SECURITY;"
            );
            Draft::new(it.full_name(), why).fix(fix)
        })
        .collect()
}
