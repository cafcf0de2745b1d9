//! What a policy makes of each relation of a catalogue: the answer that the engine binds to, for
//! those who look at the database rather than at statements (the audit).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::bind::{Bound, Guard};
use crate::catalog::{Catalog, Oid};
use crate::engine::BindingProblem;
use crate::rules::{Policy, ScopeKey};

/// How a relation is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelationScope {
    /// By columns of its own; all must match.
    Keys(Vec<ScopeKey>),
    /// Through a parent table.
    Via,
    /// Not scoped: the policy says so.
    Global,
    /// It can't be used.
    Denied,
}

/// The scope of every relation that is not PostgreSQL's own. Observed tables are told as if they
/// were enforced.
///
/// # Errors
/// Everything in the policy that does not fit the catalogue.
pub fn scopes(
    policy: &Arc<Policy>,
    catalog: &Arc<Catalog>,
) -> Result<HashMap<Oid, RelationScope>, Vec<BindingProblem>> {
    let bound = Bound::new(Arc::clone(policy), Arc::clone(catalog), &HashSet::new())?;
    let mut scopes = HashMap::new();
    for relation in &catalog.parts().relations {
        let scope = match bound.guarded(relation).map(|it| &it.guard) {
            Ok(Guard::Keys(keys)) if keys.iter().any(|key| key.via.is_some()) => RelationScope::Via,
            Ok(Guard::Keys(keys)) => {
                let keys = keys.iter().filter_map(|key| {
                    Some(ScopeKey {
                        column: key.column.clone(),
                        claim: bound.slots.get(key.slot)?.claim.clone(),
                        value_type: key.value_type,
                    })
                });
                RelationScope::Keys(keys.collect())
            }
            Ok(Guard::Global(_)) => RelationScope::Global,
            Ok(Guard::System(_)) => continue,
            // Its tables are scoped, and the view is read as its query.
            Ok(Guard::View(_)) => continue,
            Ok(Guard::Denied(..)) | Err(_) => RelationScope::Denied,
        };
        scopes.insert(relation.oid, scope);
    }
    Ok(scopes)
}
