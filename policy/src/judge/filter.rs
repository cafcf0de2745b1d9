//! The client's own filters, for `missing_filter = "reject"`.
//!
//! A relation counts as filtered when the client's conditions imply its tenant's predicate: an
//! equality with a literal or a parameter that is the session's (also as `IN (x)`, `= ANY (ARRAY[x])`
//! or a part of a row comparison), or an equality with the tenant column of a relation that is
//! filtered. A condition speaks only for relations of its own query level, and in ON of an outer
//! join only for the side that it may leave out. OR, NOT, casts of the column, collations and other
//! operators imply nothing. Whatever is found here, the injected predicate stays.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AExprKind, ColumnRef, Node};

use super::names::{Scope, strings};
use super::value::Purpose;
use super::{EntryId, EntryKind, Judge};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::rules::MissingFilter;

/// What the client's conditions say about tenant columns.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Relations whose every row has the session's value in a slot.
    proven: HashSet<(EntryId, usize)>,
    /// `(from, to, slot)`: when the first is proven, so is the second.
    carries: Vec<(EntryId, EntryId, usize)>,
    /// Relations that the statement reads or writes.
    demanded: Vec<EntryId>,
}

impl Judge<'_> {
    /// Notes what a conjunct says about the relations that it can leave rows out of.
    pub(super) fn note_filter(
        &mut self,
        conjunct: &Node,
        narrowed: &[EntryId],
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        // What a view says is not the client's.
        if self.in_view || !self.rejects() {
            return Ok(());
        }
        let Some(NodeEnum::AExpr(expr)) = conjunct.node.as_ref() else {
            return Ok(());
        };
        if !self.is_own_equality(&strings(&expr.name)?) {
            return Ok(());
        }
        let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
            return Ok(());
        };
        let right = match AExprKind::try_from(expr.kind) {
            Ok(AExprKind::AexprOp) => Some(right),
            Ok(AExprKind::AexprIn) => only_of_list(right),
            Ok(AExprKind::AexprOpAny) => only_of_array(right),
            _ => None,
        };
        if let Some(right) = right {
            self.note_equality(left, right, narrowed, scope);
        }
        Ok(())
    }

    /// Notes that USING or NATURAL makes the columns of two relations equal.
    pub(super) fn note_merged(&mut self, merged: EntryId, narrowed: &[EntryId]) {
        // What a view says is not the client's.
        if self.in_view || !self.rejects() {
            return;
        }
        let Some(EntryKind::Merged(columns)) = self.entry(merged).map(|entry| &entry.kind) else {
            return;
        };
        let mut pairs = Vec::new();
        for (name, entries) in columns {
            // A column merged twice is one of several, hence equal to none for sure.
            if let [a, b] = entries.as_slice()
                && let (Some(left), Some(right)) =
                    (self.key_named(*a, name), self.key_named(*b, name))
            {
                pairs.push(((*a, left), (*b, right)));
            }
        }
        for (left, right) in pairs {
            self.note_carries(&[left], &[right], narrowed);
        }
    }

    /// Whether `=` can only be PostgreSQL's own. Extensions bring it for their own types.
    fn is_own_equality(&self, name: &[&str]) -> bool {
        match name {
            ["pg_catalog", "="] => true,
            ["="] => !self.bound.catalog.operators_named("=").any(|operator| {
                operator.extension.is_none()
                    && self.request.facts.search_path.contains(&operator.schema)
            }),
            _ => false,
        }
    }

    fn note_equality(
        &mut self,
        left: &Node,
        right: &Node,
        narrowed: &[EntryId],
        scope: &Scope<'_>,
    ) {
        if let (Some(NodeEnum::RowExpr(lefts)), Some(NodeEnum::RowExpr(rights))) =
            (left.node.as_ref(), right.node.as_ref())
        {
            if lefts.args.len() == rights.args.len() {
                for (left, right) in lefts.args.iter().zip(&rights.args) {
                    self.note_equality(left, right, narrowed, scope);
                }
            }
            return;
        }
        let lefts = self.tenant_keys(left, scope);
        let rights = self.tenant_keys(right, scope);
        match (lefts.as_slice(), rights.as_slice()) {
            (keys, []) => self.note_value(right, keys, narrowed, scope),
            ([], keys) => self.note_value(left, keys, narrowed, scope),
            (lefts, rights) => self.note_carries(lefts, rights, narrowed),
        }
    }

    fn note_value(
        &mut self,
        value: &Node,
        keys: &[(EntryId, Key)],
        narrowed: &[EntryId],
        scope: &Scope<'_>,
    ) {
        if !is_value(value) {
            return;
        }
        for (entry, key) in keys {
            let own = narrowed.contains(entry)
                && self
                    .tenant_value(value, key, "", scope, Purpose::Compared)
                    .is_ok();
            if own {
                self.filters.proven.insert((*entry, key.slot));
            }
        }
    }

    /// Two tenant columns are equal. One of several relations (a merged column) says nothing about
    /// the other side, as it need not be the one whose value was merged.
    fn note_carries(
        &mut self,
        lefts: &[(EntryId, Key)],
        rights: &[(EntryId, Key)],
        narrowed: &[EntryId],
    ) {
        for (side, others) in [(lefts, rights), (rights, lefts)] {
            let [(from, key)] = side else { continue };
            for (to, other) in others {
                if key.slot == other.slot && narrowed.contains(to) {
                    self.filters.carries.push((*from, *to, key.slot));
                }
            }
        }
    }

    /// The scoped relations whose tenant column a reference is: one, or those that USING merged.
    fn tenant_keys(&self, node: &Node, scope: &Scope<'_>) -> Vec<(EntryId, Key)> {
        let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref() else {
            return Vec::new();
        };
        let Ok(read) = self.resolve(reference, scope) else {
            return Vec::new();
        };
        match (read.tenant, read.entries.as_slice()) {
            (Some(slot), [entry]) => {
                let key = self.key(*entry, |key| key.slot == slot);
                key.map(|key| (*entry, key)).into_iter().collect()
            }
            (None, entries) => self.merged_keys(reference, entries, scope),
            _ => Vec::new(),
        }
    }

    /// A merged column equals that of every relation in it, in each row that has one.
    fn merged_keys(
        &self,
        reference: &ColumnRef,
        read: &[EntryId],
        scope: &Scope<'_>,
    ) -> Vec<(EntryId, Key)> {
        let fields = strings(&reference.fields);
        let Ok([name]) = fields.as_deref() else {
            return Vec::new();
        };
        let merged = scope.items.iter().any(|item| {
            let kind = self.entry(item.entry).map(|entry| &entry.kind);
            matches!(kind, Some(EntryKind::Merged(columns))
                if columns.iter().any(|(column, entries)| column == name && entries == read))
        });
        let keys = read
            .iter()
            .filter(|_| merged)
            .filter_map(|id| Some((*id, self.key_named(*id, name)?)));
        keys.collect()
    }

    fn key_named(&self, entry: EntryId, name: &str) -> Option<Key> {
        self.key(entry, |key| key.column == name)
    }

    fn key(&self, entry: EntryId, wanted: impl Fn(&Key) -> bool) -> Option<Key> {
        let EntryKind::Scoped { keys, .. } = &self.entry(entry)?.kind else {
            return None;
        };
        let found = keys.iter().find(|key| key.via.is_none() && wanted(key));
        found.cloned()
    }

    fn rejects(&self) -> bool {
        let policy = &self.bound.policy;
        policy.defaults.missing_filter == MissingFilter::Reject
            || policy
                .tables
                .iter()
                .any(|table| table.missing_filter == Some(MissingFilter::Reject))
    }

    /// Demands a filter of the client's own for the relations of a query level. It is looked for at
    /// the end: a subquery of the select list may get it from a WHERE that is judged later.
    pub(super) fn demand_filters(&mut self, relations: &[EntryId]) {
        if self.rejects() {
            self.filters.demanded.extend(relations);
        }
    }

    /// Refuses a statement whose scoped relations lack the client's own filter, where the policy
    /// demands one.
    pub(super) fn refuse_unfiltered(&mut self) -> Result<(), Denial> {
        self.carry_along();
        for id in std::mem::take(&mut self.filters.demanded) {
            let Some(entry) = self.entry(id) else {
                continue;
            };
            let EntryKind::Scoped { keys, .. } = &entry.kind else {
                continue;
            };
            let proven = keys
                .iter()
                .all(|key| self.filters.proven.contains(&(id, key.slot)));
            if !proven && self.must_filter(id) {
                let column = keys.first().map_or("", |key| key.column.as_str());
                return Err(Denial::new(
                    DenyReason::MissingFilter,
                    format!(
                        "statement reads \"{}\" without pinning \"{column}\"",
                        entry.name
                    ),
                )
                .table(self.keys_of(id).1)
                .hint("Add a condition that the tenant column equals the session's tenant."));
            }
        }
        Ok(())
    }

    fn must_filter(&self, id: EntryId) -> bool {
        self.wishes
            .get(&id)
            .is_none_or(|(filter, _)| *filter == MissingFilter::Reject)
    }

    fn carry_along(&mut self) {
        let Filters {
            proven, carries, ..
        } = &mut self.filters;
        let mut grew = true;
        while grew {
            grew = false;
            for (from, to, slot) in carries.iter() {
                grew |= proven.contains(&(*from, *slot)) && proven.insert((*to, *slot));
            }
        }
    }
}

/// A literal or a parameter, perhaps cast; columns and expressions are no values.
fn is_value(node: &Node) -> bool {
    match node.node.as_ref() {
        Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => true,
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(is_value),
        _ => false,
    }
}

/// The only element of `IN (x)`.
fn only_of_list(node: &Node) -> Option<&Node> {
    match node.node.as_ref() {
        Some(NodeEnum::List(list)) => only(&list.items),
        _ => None,
    }
}

/// The only element of `ARRAY[x]`, cast at most to an array of a type that a tenant can have.
fn only_of_array(node: &Node) -> Option<&Node> {
    match node.node.as_ref()? {
        NodeEnum::AArrayExpr(array) => only(&array.elements)
            .filter(|element| !matches!(element.node, Some(NodeEnum::RowExpr(_)))),
        NodeEnum::TypeCast(cast) => {
            let to = cast.type_name.as_ref()?;
            let name = strings(&to.names).ok()?.last().copied()?;
            let tenant = matches!(name, "uuid" | "int8" | "text") && to.typmods.is_empty();
            cast.arg
                .as_deref()
                .filter(|_| tenant)
                .and_then(only_of_array)
        }
        _ => None,
    }
}

fn only(items: &[Node]) -> Option<&Node> {
    match items {
        [only] => Some(only),
        _ => None,
    }
}
