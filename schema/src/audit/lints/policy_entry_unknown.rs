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
    let entries = misfits.filter_map(|rule| {
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
    });
    entries.chain(schemas(facts)).collect()
}

/// Schemas that are looked through for tables, and have none: unquoted names are folded.
fn schemas(facts: &Facts) -> impl Iterator<Item = Draft> {
    let policy = &facts.scoping.policy;
    let named = policy
        .defaults
        .discover
        .iter()
        .filter(|_| facts.scoping.given);
    // What nobody wrote is looked for, too.
    let named = named.filter(|it| *it != "public");
    let empty = named.filter(|name| {
        let mut relations = facts.relations().filter(|it| it.kind != 'S');
        !relations.any(|it| it.schema == **name)
    });
    empty.map(|name| {
        let why = "policy.toml looks for tables in this schema, but it has none; \
                   a name with capitals stands in double quotes";
        Draft::new(name.clone(), why)
    })
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
