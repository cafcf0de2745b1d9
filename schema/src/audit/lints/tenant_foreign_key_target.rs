//! The tenant column refers to another table than that of the tenants.
//!
//! Why: What the key checks is not what the policy compares: the same number may be a tenant's and
//! somebody else's.
//!
//! Fix: Replace the key.

use super::tenant_key_sql;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "tenant_foreign_key_target",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let Some((tenants, id)) = facts.tenants() else {
        return Vec::new();
    };
    let wrong = facts.tenant_columns().flat_map(|it| {
        let keys = it
            .foreign_keys()
            .filter(|key| key.target != tenants.oid || !key.target_columns.contains(&id.name));
        keys.map(move |key| (it, key))
    });
    wrong
        .map(|(it, key)| {
            let target = facts.relation(key.target).map(|it| it.full_name());
            let target = target.unwrap_or_else(|| "another table".to_owned());
            let why = format!(
                "{} refers to {target}, not to {}",
                key.name,
                tenants.full_name()
            );
            let draft = Draft::new(it.full_name(), why);
            match tenant_key_sql(facts, it, Some(&key.sql)) {
                Some(sql) => draft.fix(sql),
                None => draft,
            }
        })
        .collect()
}
