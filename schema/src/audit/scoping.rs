//! Which tables belong to tenants, and by which column: as the engine resolves the policy, or by
//! a guess that is made into a policy, so that there is one way to resolve.

use std::collections::HashMap;
use std::sync::Arc;

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::Oid;
use pgwarden_policy::rules::{Policy, RequireRls, Scope, ScopeKey, TableRule};
use pgwarden_policy::scopes::{RelationScope, scopes};

use super::Options;
use super::snapshot::{Relation, Snapshot};

mod guess;

pub(crate) use guess::{is_foreign, type_of};

/// How the tables are scoped.
#[derive(Debug)]
pub(crate) struct Scoping {
    pub(crate) policy: Arc<Policy>,
    /// Whether somebody wrote the policy.
    pub(crate) given: bool,
    pub(crate) scopes: HashMap<Oid, RelationScope>,
    /// Entries of the policy that don't fit the database.
    pub(crate) misfits: Vec<TableRule>,
    /// The table of the tenants themselves, and its key.
    pub(crate) tenants: Option<(Oid, String)>,
    /// What was guessed.
    pub(crate) notes: Vec<String>,
}

pub(crate) fn resolve(options: &Options, snapshot: &Snapshot, catalog: &Arc<Catalog>) -> Scoping {
    let mut notes = Vec::new();
    let policy = match &options.policy {
        Some(policy) => Arc::clone(policy),
        None => guess::policy(options.tenant_column.as_deref(), snapshot, &mut notes),
    };
    let (mut scopes, misfits) = fitting(&policy, snapshot, catalog);
    adopt(&policy, snapshot, &misfits, &mut scopes);
    Scoping {
        tenants: guess::tenants(&policy, snapshot),
        given: options.policy.is_some(),
        policy,
        scopes,
        misfits,
        notes,
    }
}

/// The engine's answer for the part of the policy that fits, and the rest.
fn fitting(
    policy: &Arc<Policy>,
    snapshot: &Snapshot,
    catalog: &Arc<Catalog>,
) -> (HashMap<Oid, RelationScope>, Vec<TableRule>) {
    let mut rest = Policy::clone(policy);
    // Whether functions exist is no question of tenancy.
    rest.functions = pgwarden_policy::rules::FunctionRules::default();
    // Nor is what guards a table beside the policy.
    rest.defaults.require_rls = RequireRls::Off;
    let mut misfits = Vec::new();
    loop {
        let problems = match scopes(&Arc::new(rest.clone()), catalog) {
            Ok(scopes) => return (own(scopes, snapshot), misfits),
            Err(problems) => problems,
        };
        let before = rest.tables.len();
        let (bad, good) = std::mem::take(&mut rest.tables)
            .into_iter()
            .partition(|it| {
                let name = it.name.to_string();
                problems.iter().any(|problem| problem.object == name)
            });
        rest.tables = good;
        misfits.extend::<Vec<TableRule>>(bad);
        if rest.tables.len() == before {
            return (HashMap::new(), misfits);
        }
    }
}

/// Leaves out what the audit's snapshot leaves out.
fn own(scopes: HashMap<Oid, RelationScope>, snapshot: &Snapshot) -> HashMap<Oid, RelationScope> {
    let known: std::collections::HashSet<Oid> =
        snapshot.relations.iter().map(|it| it.oid).collect();
    let kept = scopes.into_iter().filter(|(oid, _)| known.contains(oid));
    kept.collect()
}

/// Tables that the engine denies only because their column does not fit are scoped by intent, and
/// are looked at like all others.
fn adopt(
    policy: &Policy,
    snapshot: &Snapshot,
    misfits: &[TableRule],
    scopes: &mut HashMap<Oid, RelationScope>,
) {
    for relation in snapshot.relations.iter().filter(|it| it.is_table()) {
        let listed = misfits.iter().find(|rule| is_about(rule, relation));
        let keys = match listed.map(|rule| &rule.scope) {
            Some(Scope::Keys(keys)) => keys.clone(),
            Some(Scope::Discovered) => vec![tenant_key(policy)],
            Some(Scope::Via { .. } | Scope::Global(_)) => continue,
            None => {
                let listed = policy.tables.iter().any(|rule| is_about(rule, relation));
                let denied = scopes.get(&relation.oid) == Some(&RelationScope::Denied);
                if listed || !denied || !policy.defaults.discover.contains(&relation.schema) {
                    continue;
                }
                vec![tenant_key(policy)]
            }
        };
        if keys
            .iter()
            .all(|key| relation.column(&key.column).is_some())
        {
            scopes.insert(relation.oid, RelationScope::Keys(keys));
        }
    }
}

/// Whether a rule names this relation.
pub(crate) fn is_about(rule: &TableRule, relation: &Relation) -> bool {
    rule.name.schema == relation.schema && rule.name.name == relation.name
}

/// The key of tables found by discovery.
pub(crate) fn tenant_key(policy: &Policy) -> ScopeKey {
    ScopeKey {
        column: policy.tenant.column.clone(),
        claim: policy.tenant.claim.clone(),
        value_type: policy.tenant.value_type,
    }
}
