//! What of a catalogue is not as the policy wants it, though statements can be judged by it: for
//! logs, metrics and `policy check`.
//!
//! `require_rls` is looked at here, too. A scoped relation has a second wall when row level security
//! is enabled on it, forced (so that the owner is not exempt) and has a policy that keeps tenants
//! apart; the last is judged elsewhere, by the audit's lints, and told as doubts. A view has no wall of
//! its own, but passes on that of its tables when it runs as its user. Under `enforce` what lacks the
//! wall is denied.

use std::collections::{HashMap, HashSet};

use super::{Bound, Guard, Guarded};
use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::deny::DenyReason;
use crate::rules::RequireRls;

/// Why a relation is denied whose row level security is there, but of no use.
const DOUBTED: &str =
    "has row level security that does not keep tenants apart, which the policy requires";

/// What is not as the policy wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FindingCode {
    /// A scoped relation without row level security.
    RlsDisabled,
    /// Row level security does not bind the relation's owner.
    RlsNotForced,
    /// Row level security without any policy: nobody sees a row.
    RlsWithoutPolicy,
    /// A scoped relation of a kind that can't have row level security.
    RlsImpossible,
    /// A relation that its entry in the policy does not fit any more.
    Unfit,
}

impl FindingCode {
    /// Every code, for metrics.
    pub const ALL: &'static [Self] = &[
        Self::RlsDisabled,
        Self::RlsNotForced,
        Self::RlsWithoutPolicy,
        Self::RlsImpossible,
        Self::Unfit,
    ];

    /// The metric label; the name of the audit's lint where it has the same.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RlsDisabled => "rls_disabled",
            Self::RlsNotForced => "rls_not_forced",
            Self::RlsWithoutPolicy => "no_policy",
            Self::RlsImpossible => "rls_impossible",
            Self::Unfit => "unfit_relation",
        }
    }

    /// What is wrong with the relation, as the end of a sentence about it.
    pub fn describe(self) -> &'static str {
        match self {
            Self::RlsDisabled => "has no row level security, which the policy requires",
            Self::RlsNotForced => "does not force row level security, which the policy requires",
            Self::RlsWithoutPolicy => {
                "has row level security without a policy, which the policy file requires"
            }
            Self::RlsImpossible => "can't have row level security, which the policy requires",
            Self::Unfit => "is not what its entry in the policy takes it for",
        }
    }
}

/// A relation that is not as the policy wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it lacks.
    pub code: FindingCode,
    /// `schema.table`.
    pub object: String,
}

impl Finding {
    pub(super) fn new(code: FindingCode, relation: &Relation) -> Self {
        Self {
            code,
            object: format!("{}.{}", relation.schema, relation.name),
        }
    }
}

impl Bound {
    /// What is not as the policy wants it, in the catalogue's order.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

/// Looks for what `require_rls` asks for, and denies what lacks it where that is enforced.
pub(super) fn require_rls(
    wanted: RequireRls,
    catalog: &Catalog,
    doubted: &HashSet<Oid>,
    relations: &mut HashMap<Oid, Guarded>,
) -> Vec<Finding> {
    if wanted == RequireRls::Off {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for relation in &catalog.parts().relations {
        let Some(guarded) = relations.get_mut(&relation.oid) else {
            continue;
        };
        if !matches!(guarded.guard, Guard::Keys(_)) {
            continue;
        }
        let gap = gap(relation);
        findings.extend(gap.map(|code| Finding::new(code, relation)));
        let doubt = doubted.contains(&relation.oid).then_some(DOUBTED);
        if wanted == RequireRls::Enforce
            && let Some(why) = gap.map(FindingCode::describe).or(doubt)
        {
            guarded.guard = Guard::Denied(DenyReason::RlsMissing, why);
        }
    }
    findings
}

/// What a scoped relation lacks.
fn gap(relation: &Relation) -> Option<FindingCode> {
    match relation.kind {
        RelationKind::Table | RelationKind::PartitionedTable => {}
        RelationKind::View if relation.security_invoker => return None,
        RelationKind::View
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable
        | RelationKind::Sequence
        | RelationKind::Other => return Some(FindingCode::RlsImpossible),
    }
    if !relation.row_security {
        Some(FindingCode::RlsDisabled)
    } else if !relation.force_row_security {
        Some(FindingCode::RlsNotForced)
    } else if relation.policies == 0 {
        Some(FindingCode::RlsWithoutPolicy)
    } else {
        None
    }
}
