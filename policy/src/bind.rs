//! The policy bound to a catalogue: for every relation, how it is guarded.
//!
//! Binding happens once for each policy or catalogue, never for a statement. What doesn't fit (a
//! listed table that doesn't exist, a tenant column that it lacks) is reported, all of it at once.

mod children;
pub(crate) mod columns;
mod findings;
mod open;
mod refit;
mod via;
mod views;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::builtin::system;
use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::deny::{Denial, DenyReason};
use crate::engine::{BindingProblem, Slot};
use crate::rules::{
    Access, ClaimPath, MissingFilter, MissingValue, Mode, Policy, QualifiedName, Scope, ScopeKey,
    TableRule,
};
use crate::temporary;
use crate::tenant::ValueType;
pub use columns::Cut;
pub use findings::{Finding, FindingCode};
pub(crate) use via::{Parent, Via};
pub(crate) use views::{View, Views};

/// A column that must equal a slot's value, or refer to a row that does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// The column's name in the table.
    pub(crate) column: String,
    /// The slot.
    pub(crate) slot: usize,
    /// The type that the predicate casts to.
    pub(crate) value_type: ValueType,
    /// The way to the value, where the column does not hold it itself.
    pub(crate) via: Option<Arc<Via>>,
}

impl Key {
    /// In words, for `explain` and the audit.
    pub(crate) fn shown(&self) -> String {
        match self.via.as_deref().and_then(|via| via.parents.first()) {
            None => self.column.clone(),
            Some(parent) => format!("{} via {}.{}", self.column, parent.schema, parent.table),
        }
    }
}

/// How a relation is guarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Every key must match.
    Keys(Vec<Key>),
    /// It holds nothing of a tenant.
    Global(Access),
    /// A catalogue relation; these columns of it may not be read.
    System(&'static [&'static str]),
    /// It is read as its query is, whose relations are guarded one by one; the policy says that
    /// these keys' columns come from them.
    View(Vec<Key>),
    /// It can't be used.
    Denied(DenyReason, &'static str),
}

/// A relation's guard and the policy's wishes for it.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    pub(crate) guard: Guard,
    pub(crate) missing_filter: MissingFilter,
    pub(crate) missing_value: MissingValue,
}

/// The guard of a table that its own entry does not fit.
const UNFIT: Guard = Guard::Denied(
    DenyReason::UnfitRelation,
    "is not what its entry in the policy takes it for",
);

/// How far up the parents of a partition are looked at.
const GENERATIONS: u8 = 16;

/// A policy bound to a catalogue.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) policy: Arc<Policy>,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) views: Arc<Views>,
    relations: HashMap<Oid, Guarded>,
    /// The guard of a table that nothing is known of.
    stranger: Guarded,
    findings: Vec<Finding>,
}

impl Bound {
    /// Binds, or says everything that doesn't fit.
    pub(crate) fn new(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
    ) -> Result<Self, Vec<BindingProblem>> {
        match Self::fitting(policy, catalog, doubted) {
            (bound, problems) if problems.is_empty() => Ok(bound),
            (_, problems) => Err(problems),
        }
    }

    /// Binds what fits, denies what doesn't, and says what that is.
    pub(crate) fn fitting(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
    ) -> (Self, Vec<BindingProblem>) {
        let mut binder = Binder {
            catalog: &catalog,
            policy: &policy,
            slots: vec![Slot {
                claim: policy.tenant.claim.clone(),
                value_type: policy.tenant.value_type,
                cut: Cut::default(),
            }],
            problems: Vec::new(),
            listed: HashMap::new(),
        };
        binder.bind_listed();
        binder.bind_children();
        let mut relations = binder.bind_all();
        binder.note_cuts(&relations);
        let stranger = binder.unwished(binder.stranger_guard());
        let Binder {
            slots, problems, ..
        } = binder;
        let wanted = policy.defaults.require_rls;
        let mut findings = findings::require_rls(wanted, &catalog, doubted, &mut relations);
        for relation in &catalog.parts().relations {
            let guard = relations.get(&relation.oid).map(|it| &it.guard);
            if matches!(guard, Some(Guard::Denied(DenyReason::UnfitRelation, _))) {
                findings.push(Finding::new(FindingCode::Unfit, relation));
            }
        }
        let bound = Self {
            policy,
            views: Arc::new(Views::read(&catalog)),
            catalog,
            slots,
            relations,
            stranger,
            findings,
        };
        (bound, problems)
    }

    /// The same without the guards of the tables that are only observed, and their names.
    pub(crate) fn without_observed(&self) -> (Self, HashSet<String>) {
        let mut names = HashSet::new();
        let mut relations = self.relations.clone();
        for relation in &self.catalog.parts().relations {
            if self.is_observed(relation, GENERATIONS)
                && let Some(guarded) = relations.get_mut(&relation.oid)
            {
                guarded.guard = Guard::Global(Access::Write);
                names.insert(format!("{}.{}", relation.schema, relation.name));
            }
        }
        let bound = Self {
            policy: Arc::clone(&self.policy),
            catalog: Arc::clone(&self.catalog),
            slots: self.slots.clone(),
            views: Arc::clone(&self.views),
            relations,
            stranger: self.stranger.clone(),
            findings: self.findings.clone(),
        };
        (bound, names)
    }

    /// Whether a table's entry says so; a partition without one goes with its parent.
    fn is_observed(&self, relation: &Relation, generations: u8) -> bool {
        let named = |rule: &&TableRule| {
            rule.name.schema == relation.schema && rule.name.name == relation.name
        };
        if let Some(rule) = self.policy.tables.iter().find(named) {
            return rule.mode == Some(Mode::Observe);
        }
        let mut parents = relation.parents.iter();
        let observed = |oid: &Oid| {
            let parent = self.catalog.relation_by_oid(*oid);
            parent.is_some_and(|parent| self.is_observed(parent, generations - 1))
        };
        generations > 0 && !relation.parents.is_empty() && parents.all(observed)
    }

    /// The query of a view that may stand in place of it, and the keys that the policy gives it.
    /// `inside` another view's query, a view need not be listed: only tables hold rows.
    pub(crate) fn view(&self, relation: &Relation, inside: bool) -> Option<(&View, &[Key])> {
        let view = self.views.of(relation.oid)?;
        match &self.relations.get(&relation.oid)?.guard {
            Guard::View(keys) => Some((view, keys)),
            Guard::Denied(DenyReason::OpaqueRelation, _) if inside => Some((view, &[])),
            Guard::Keys(_) | Guard::Global(_) | Guard::System(_) | Guard::Denied(..) => None,
        }
    }

    /// How a relation is guarded.
    pub(crate) fn guarded(&self, relation: &Relation) -> Result<&Guarded, Denial> {
        let name = format!("{}.{}", relation.schema, relation.name);
        let own = (relation.schema == temporary::SCHEMA).then(|| temporary::guarded(relation));
        let Some(guarded) = own.or_else(|| self.relations.get(&relation.oid)) else {
            return Err(Denial::new(
                DenyReason::UnknownRelation,
                format!("relation \"{name}\" is not known"),
            )
            .table(name));
        };
        usable(guarded, name)
    }

    /// How a table is guarded that was made just now, under a name that the policy does not list.
    pub(crate) fn stranger(&self, relation: &Relation) -> Result<&Guarded, Denial> {
        usable(
            &self.stranger,
            format!("{}.{}", relation.schema, relation.name),
        )
    }
}

/// What can't be used at all is refused here.
fn usable(guarded: &Guarded, name: String) -> Result<&Guarded, Denial> {
    if let Guard::Denied(reason, why) = guarded.guard {
        return Err(Denial::new(reason, format!("relation \"{name}\" {why}"))
            .table(name)
            .hint("List the relation in policy.toml if clients may use it."));
    }
    Ok(guarded)
}

struct Binder<'a> {
    catalog: &'a Catalog,
    policy: &'a Policy,
    slots: Vec<Slot>,
    problems: Vec<BindingProblem>,
    listed: HashMap<Oid, Guarded>,
}

impl Binder<'_> {
    fn bind_listed(&mut self) {
        for rule in &self.policy.tables {
            let Some(relation) = self.catalog.relation(&rule.name.schema, &rule.name.name) else {
                self.unknown_table(&rule.name);
                continue;
            };
            // Children are bound in a second pass: the parent may stand behind them.
            let guard = self.listed_guard(rule, relation).unwrap_or(UNFIT);
            let guarded = Guarded {
                guard,
                ..self.with_wishes(rule)
            };
            self.listed.insert(relation.oid, guarded);
        }
    }

    /// What the policy wishes for a table; its guard is still to be found.
    fn with_wishes(&self, rule: &TableRule) -> Guarded {
        let defaults = &self.policy.defaults;
        Guarded {
            guard: Guard::Global(Access::Deny),
            missing_filter: rule.missing_filter.unwrap_or(defaults.missing_filter),
            missing_value: rule.missing_value.unwrap_or(defaults.missing_value),
        }
    }

    fn listed_guard(&mut self, rule: &TableRule, relation: &Relation) -> Option<Guard> {
        match (relation.kind, &rule.scope) {
            (RelationKind::View, Scope::Keys(keys)) => match self.keys(keys, relation)? {
                Guard::Keys(keys) => return Some(Guard::View(keys)),
                other => return Some(other),
            },
            (RelationKind::View, Scope::Discovered) => return Some(Guard::View(Vec::new())),
            (RelationKind::MaterializedView, Scope::Keys(_) | Scope::Discovered) => {
                return Some(Guard::Denied(
                    DenyReason::OpaqueRelation,
                    "is a materialised view, gathered from all tenants' rows",
                ));
            }
            _ => {}
        }
        match &rule.scope {
            Scope::Keys(keys) => self.keys(keys, relation),
            Scope::Global(access) => Some(Guard::Global(*access)),
            Scope::Via { .. } => None,
            Scope::Discovered => {
                let tenant = ScopeKey {
                    column: self.policy.tenant.column.clone(),
                    claim: self.policy.tenant.claim.clone(),
                    value_type: self.policy.tenant.value_type,
                };
                self.keys(std::slice::from_ref(&tenant), relation)
            }
        }
    }

    fn keys(&mut self, keys: &[ScopeKey], relation: &Relation) -> Option<Guard> {
        let mut bound = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(column) = relation.column(&key.column) else {
                self.problem(
                    relation,
                    format!("table has no column \"{}\"", key.column),
                    nearest(
                        &key.column,
                        relation.columns.iter().map(|c| c.name.as_str()),
                    )
                    .map(as_written),
                );
                continue;
            };
            if !columns::fits(self.catalog, key.value_type, column.type_oid) {
                let found = self.catalog.type_by_oid(column.type_oid);
                let found = found
                    .map_or("another type", |ty| ty.name.as_str())
                    .to_owned();
                self.problem(
                    relation,
                    format!(
                        "column \"{}\" is {found}, but its claim is {}",
                        key.column,
                        key.value_type.pg_name()
                    ),
                    None,
                );
                continue;
            }
            let slot = self.slot(&key.claim, key.value_type);
            bound.push(Key {
                column: key.column.clone(),
                slot,
                value_type: key.value_type,
                via: None,
            });
        }
        (bound.len() == keys.len()).then_some(Guard::Keys(bound))
    }

    fn slot(&mut self, claim: &ClaimPath, value_type: ValueType) -> usize {
        let same = |slot: &Slot| slot.claim == *claim && slot.value_type == value_type;
        if let Some(at) = self.slots.iter().position(same) {
            return at;
        }
        self.slots.push(Slot {
            claim: claim.clone(),
            value_type,
            cut: Cut::default(),
        });
        self.slots.len() - 1
    }

    fn problem(&mut self, relation: &Relation, message: String, suggestion: Option<String>) {
        self.problems.push(BindingProblem {
            object: format!("{}.{}", relation.schema, relation.name),
            message,
            suggestion,
        });
    }

    fn unknown_table(&mut self, name: &QualifiedName) {
        let known = self.catalog.parts().relations.iter();
        let near = nearest(
            &name.name,
            known
                .filter(|r| r.schema == name.schema)
                .map(|r| r.name.as_str()),
        );
        self.problems.push(BindingProblem {
            object: name.to_string(),
            message: format!("table \"{name}\" does not exist"),
            suggestion: near
                .map(|near| format!("{}.{}", as_written(&name.schema), as_written(near))),
        });
    }

    fn bind_all(&self) -> HashMap<Oid, Guarded> {
        let catalog = self.catalog;
        let relations = &catalog.parts().relations;
        let mut guarded = HashMap::with_capacity(relations.len());
        for relation in relations {
            guarded.insert(relation.oid, self.guarded(relation));
        }
        self.refuse_open_relatives(&mut guarded);
        guarded
    }

    fn guarded(&self, relation: &Relation) -> Guarded {
        if let Some(listed) = self.listed.get(&relation.oid) {
            return listed.clone();
        }
        if let Some(family) = self.family_guard(relation, GENERATIONS) {
            return family;
        }
        self.unwished(self.unlisted_guard(relation))
    }

    /// A guard, with the policy's wishes for whatever it does not list.
    fn unwished(&self, guard: Guard) -> Guarded {
        let defaults = &self.policy.defaults;
        Guarded {
            guard,
            missing_filter: defaults.missing_filter,
            missing_value: defaults.missing_value,
        }
    }

    fn unlisted_guard(&self, relation: &Relation) -> Guard {
        if matches!(
            relation.schema.as_str(),
            "pg_catalog" | "information_schema"
        ) {
            return match system::readable(&relation.schema, &relation.name) {
                Some(hidden) => Guard::System(hidden),
                None => Guard::Denied(
                    DenyReason::SystemRelation,
                    "shows what belongs to other sessions or tenants",
                ),
            };
        }
        match relation.kind {
            RelationKind::Table | RelationKind::PartitionedTable => self.stranger_guard(),
            RelationKind::View if self.is_discovered(relation) => Guard::View(Vec::new()),
            RelationKind::View | RelationKind::MaterializedView | RelationKind::ForeignTable => {
                Guard::Denied(
                    DenyReason::OpaqueRelation,
                    "is a view, materialised view or foreign table that the policy does not list",
                )
            }
            RelationKind::Sequence | RelationKind::Other => {
                Guard::Denied(DenyReason::UnlistedRelation, "is not a table")
            }
        }
    }

    /// Whether it stands in a discovered schema and has the tenant column.
    fn is_discovered(&self, relation: &Relation) -> bool {
        let tenant = &self.policy.tenant;
        let column = relation.column(&tenant.column);
        self.policy.defaults.discovers(&relation.schema)
            && column.is_some_and(|column| {
                columns::fits(self.catalog, tenant.value_type, column.type_oid)
            })
    }

    /// The guard of a table that nothing is known of.
    fn stranger_guard(&self) -> Guard {
        match self.policy.defaults.unlisted {
            Access::Deny => Guard::Denied(
                DenyReason::UnlistedRelation,
                "is neither scoped nor listed in the policy",
            ),
            access => Guard::Global(access),
        }
    }
}

/// The nearest of some names, if one is near enough to be a slip.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    names
        .map(|name| (distance(wanted, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name.to_owned())
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let cost = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = cost.min(*cell + 1).min(left + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A name as a policy has to write it: what holds capitals only counts in quotes.
fn as_written(name: impl AsRef<str>) -> String {
    let name = name.as_ref();
    let plain = |it: char| it == '_' || it.is_alphanumeric() && !it.is_uppercase();
    match name.chars().all(plain) {
        true => name.to_owned(),
        false => format!("\"{}\"", name.replace('"', "\"\"")),
    }
}
