//! policy.toml names a table or column that does not exist.
//!
//! Why: pgwarden does not start with such a policy, and what was meant is not guarded.
//!
//! Fix: Correct the name in policy.toml, or remove the entry.

use pgwarden_policy::rules::{Scope, TableRule};

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::scoping::is_about;
use crate::audit::snapshot::Relation;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "policy_entry_unknown",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let misfits = facts.scoping.misfits.iter();
    misfits
        .filter_map(|rule| {
            let name = rule.name.to_string();
            let relations = &facts.snapshot.relations;
            let Some(table) = relations.iter().find(|it| is_about(rule, it)) else {
                return Some(Draft::new(
                    name,
                    "policy.toml lists it, but there is no such table",
                ));
            };
            let missing = unknown(facts, rule, table)?;
            let why = format!("policy.toml names {missing}, which does not exist");
            Some(Draft::new(format!("{name}.{missing}"), why))
        })
        .collect()
}

/// The first name that is not there; the tenant's own column is another lint's.
fn unknown(facts: &Facts, rule: &TableRule, table: &Relation) -> Option<String> {
    match &rule.scope {
        Scope::Keys(keys) => {
            let tenant = &facts.scoping.policy.tenant.column;
            let keys = keys.iter().filter(|it| it.column != *tenant);
            let mut missing = keys.filter(|it| table.column(&it.column).is_none());
            missing.next().map(|it| it.column.clone())
        }
        Scope::Via {
            column,
            parent,
            key,
        } => {
            if table.column(column).is_none() {
                return Some(column.clone());
            }
            let relations = &facts.snapshot.relations;
            let found = relations
                .iter()
                .find(|it| it.schema == parent.schema && it.name == parent.name);
            match found {
                None => Some(parent.to_string()),
                Some(parent) => parent.column(key).is_none().then(|| key.clone()),
            }
        }
        Scope::Discovered | Scope::Global(_) => None,
    }
}
