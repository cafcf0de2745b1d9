//! Rows belong to a tenant that does not exist.
//!
//! Why: They are left from a deleted tenant, or were never anybody's; whoever gets that id next
//! gets the rows.
//!
//! Fix: Give them to a tenant, or delete them; then add (or validate) the foreign key.

use crate::audit::counts::shown;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "rows_of_unknown_tenant",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns().filter_map(|it| {
        let count = *facts.counts.orphans.get(&it.table.oid)?;
        let why = format!("{} of tenants that don't exist", shown(count));
        Some(Draft::new(it.full_name(), why))
    });
    columns.collect()
}
