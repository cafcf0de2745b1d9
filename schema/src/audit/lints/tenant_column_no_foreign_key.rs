//! The tenant column has no foreign key to the table of the tenants.
//!
//! Why: Rows of tenants that never existed can be written, and rows of deleted ones stay.
//!
//! Fix: Add the key NOT VALID, then validate it: writers are not kept waiting.

use super::tenant_key_sql;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_column_no_foreign_key",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let columns = facts.tenant_columns();
    let columns = columns.filter(|it| it.foreign_keys().next().is_none());
    columns
        .filter_map(|it| {
            let why = "nothing makes sure that the row's tenant exists";
            let fix = tenant_key_sql(facts, it, None)?;
            Some(Draft::new(it.full_name(), why).fix(fix))
        })
        .collect()
}
