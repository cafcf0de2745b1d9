//! A bound policy meets a changed catalogue.
//!
//! There is no way back to the old catalogue, so what does not fit is denied and the rest goes on. A
//! relation that was scoped, by its identity or its name, does not become everybody's because
//! somebody has dropped its column or moved it to another schema: it is denied until the policy is
//! loaded again.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Bound, Finding, FindingCode, Guard, UNFIT};
use crate::catalog::{Catalog, Oid, Relation};
use crate::deny::DenyReason;
use crate::engine::BindingProblem;
use crate::rules::Access;

impl Bound {
    /// The same policy with another catalogue, and what does not fit any more.
    pub(crate) fn refitted(
        &self,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
    ) -> (Self, Vec<BindingProblem>) {
        let (mut bound, mut problems) = Self::fitting(Arc::clone(&self.policy), catalog, doubted);
        let catalog = Arc::clone(&bound.catalog);
        for relation in &catalog.parts().relations {
            let Some(guarded) = bound.relations.get_mut(&relation.oid) else {
                continue;
            };
            let opened = matches!(guarded.guard, Guard::Global(Access::Read | Access::Write));
            if opened && self.had_scoped(relation) {
                guarded.guard = UNFIT;
                let finding = Finding::new(FindingCode::Unfit, relation);
                problems.push(BindingProblem {
                    object: finding.object.clone(),
                    message: "was scoped, and would not be any more".to_owned(),
                    suggestion: None,
                });
                bound.findings.push(finding);
            }
        }
        (bound, problems)
    }

    fn had_scoped(&self, relation: &Relation) -> bool {
        let namesake = self.catalog.relation(&relation.schema, &relation.name);
        self.scopes(relation.oid) || namesake.is_some_and(|it| self.scopes(it.oid))
    }

    fn scopes(&self, oid: Oid) -> bool {
        self.relations.get(&oid).is_some_and(|it| {
            matches!(
                it.guard,
                Guard::Keys(_)
                    | Guard::Denied(DenyReason::UnfitRelation | DenyReason::RlsMissing, _)
            )
        })
    }
}
