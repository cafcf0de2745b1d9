//! The foreign key of the tenant column does not cascade.
//!
//! Why: A tenant can't be deleted completely: its rows stand in the way, or stay behind without it.
//!
//! Fix: Replace the key by one with ON DELETE CASCADE.

use super::tenant_key_sql;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_foreign_key_no_cascade",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let Some((tenants, _)) = facts.tenants() else {
        return Vec::new();
    };
    let kept = facts.tenant_columns().flat_map(|it| {
        let keys = it.foreign_keys();
        let keys = keys.filter(|key| key.target == tenants.oid && key.on_delete != 'c');
        keys.map(move |key| (it, key))
    });
    kept.filter_map(|(it, key)| {
        let why = format!("{} keeps rows when their tenant is deleted", key.name);
        let fix = tenant_key_sql(facts, it, Some(&key.sql))?;
        Some(Draft::new(it.full_name(), why).fix(fix))
    })
    .collect()
}
