//! Partitions and inheritance: whom a table's rows belong to when it is one of a family.
//!
//! A statement that names a parent reads the rows of its children by the parent's guard alone, and one
//! that names a child by the child's alone. So a table that the policy does not list goes with its
//! parents, a parent that is open to everybody must have no child that is scoped, and no partition of a
//! scoped table may be open: what is written to the whole would be everybody's there.

use std::collections::{HashMap, HashSet};

use super::{Access, Binder, DenyReason, Guard, Guarded, Key, columns};
use crate::catalog::{Oid, Relation, RelationKind};

impl Binder<'_> {
    /// How a table that is not listed is guarded: as its parents are, or by its own tenant column.
    pub(super) fn family_guard(&self, relation: &Relation, generations: u8) -> Option<Guarded> {
        let is_table = matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        );
        if !is_table || matches!(&*relation.schema, "pg_catalog" | "information_schema") {
            return None;
        }
        let mut open = None;
        let mut scoped: Option<Guarded> = None;
        for parent in self.parents(relation) {
            let inherited = match self.listed.get(&parent.oid) {
                Some(listed) => Some(listed.clone()),
                None if generations > 0 => self.family_guard(parent, generations - 1),
                None => Some(self.unwished(Guard::Denied(
                    DenyReason::UnlistedRelation,
                    "has too many generations of parents",
                ))),
            };
            let Some(inherited) = inherited else {
                continue;
            };
            match (&inherited.guard, &scoped) {
                (Guard::Keys(keys), Some(other)) if other.guard != Guard::Keys(keys.clone()) => {
                    return Some(self.unwished(Guard::Denied(
                        DenyReason::UnlistedRelation,
                        "inherits from tables that are scoped in different ways",
                    )));
                }
                (Guard::Keys(_), _) => scoped = Some(inherited),
                (Guard::Denied(..), _) => return Some(inherited),
                // The parent's rows are everybody's, tenant column and all.
                (Guard::Global(_) | Guard::System(_) | Guard::View(_), _) => {
                    if self.has_tenant_column(parent) {
                        return Some(inherited);
                    }
                    open = Some(inherited);
                }
            }
        }
        let own = || self.discovered(relation).map(|guard| self.unwished(guard));
        scoped.or_else(own).or(open)
    }

    /// The guard of a table in a discovered schema that has the tenant column.
    fn discovered(&self, relation: &Relation) -> Option<Guard> {
        let tenant = &self.policy.tenant;
        if !self.policy.defaults.discovers(&relation.schema) {
            return None;
        }
        let column = relation.column(&tenant.column)?;
        if !columns::fits(self.catalog, tenant.value_type, column.type_oid) {
            return Some(Guard::Denied(
                DenyReason::UnlistedRelation,
                "has a tenant column of another type than the claim",
            ));
        }
        Some(Guard::Keys(vec![Key {
            column: tenant.column.clone(),
            slot: 0,
            value_type: tenant.value_type,
            via: None,
        }]))
    }

    /// Denies what is open to everybody though a relative of it is scoped.
    pub(super) fn refuse_open_relatives(&self, guarded: &mut HashMap<Oid, Guarded>) {
        let mut children: HashMap<Oid, Vec<&Relation>> = HashMap::new();
        for relation in &self.catalog.parts().relations {
            for parent in &relation.parents {
                children.entry(*parent).or_default().push(relation);
            }
        }
        let mut refused = Vec::new();
        for relation in &self.catalog.parts().relations {
            if !is_open(guarded, relation.oid) {
                continue;
            }
            let why = if self.has_scoped_below(relation, &children, guarded) {
                "has children with a tenant column, but none itself"
            } else if relation.is_partition && scoped_above(relation, guarded) {
                "is a partition of a scoped table, but not scoped itself"
            } else {
                continue;
            };
            let reason = match self.listed.contains_key(&relation.oid) {
                true => DenyReason::UnfitRelation,
                false => DenyReason::UnlistedRelation,
            };
            refused.push((relation.oid, Guard::Denied(reason, why)));
        }
        for (oid, guard) in refused {
            if let Some(guarded) = guarded.get_mut(&oid) {
                guarded.guard = guard;
            }
        }
    }

    /// Whether reading this table reads children that hold tenants' rows.
    fn has_scoped_below(
        &self,
        relation: &Relation,
        children: &HashMap<Oid, Vec<&Relation>>,
        guarded: &HashMap<Oid, Guarded>,
    ) -> bool {
        let mut seen = HashSet::new();
        let mut queue = vec![relation.oid];
        while let Some(oid) = queue.pop() {
            if !seen.insert(oid) {
                continue;
            }
            for child in children.get(&oid).into_iter().flatten() {
                let own_column = self.has_tenant_column(child) && !self.has_tenant_column(relation);
                let unopened = own_column && !is_open(guarded, child.oid);
                if unopened || guarded.get(&child.oid).is_some_and(is_scoped) {
                    return true;
                }
                queue.push(child.oid);
            }
        }
        false
    }

    fn has_tenant_column(&self, relation: &Relation) -> bool {
        relation.column(&self.policy.tenant.column).is_some()
    }

    fn parents(&self, relation: &Relation) -> impl Iterator<Item = &Relation> {
        let parents = relation.parents.iter();
        parents.filter_map(|parent| self.catalog.relation_by_oid(*parent))
    }
}

fn is_open(guarded: &HashMap<Oid, Guarded>, oid: Oid) -> bool {
    let guard = guarded.get(&oid).map(|it| &it.guard);
    matches!(guard, Some(Guard::Global(Access::Read | Access::Write)))
}

/// Whether it is scoped, or was meant to be.
fn is_scoped(guarded: &Guarded) -> bool {
    matches!(
        guarded.guard,
        Guard::Keys(_) | Guard::Denied(DenyReason::UnfitRelation | DenyReason::RlsMissing, _)
    )
}

fn scoped_above(relation: &Relation, guarded: &HashMap<Oid, Guarded>) -> bool {
    let mut parents = relation.parents.iter();
    parents.any(|parent| guarded.get(parent).is_some_and(is_scoped))
}
