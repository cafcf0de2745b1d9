//! Values of the tenant column: which ones are shown to be the session's own.
//!
//! A literal is compared at once (and pinned, so that the plan serves no other literal), a
//! parameter is compared at Bind, and a column is accepted when it is itself the tenant column of a
//! guarded relation. Everything else is refused.

use std::collections::HashSet;

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, AExprKind, Node, a_const};

use super::names::{Scope, Ty};
use super::{EntryId, EntryKind, Judge, via};
use crate::bind::Key;
use crate::deny::{Denial, DenyReason};
use crate::plan::BindCheck;
use crate::rules::MissingFilter;
use crate::tenant::ValueType;

/// Filters on tenant columns that the client wrote, for `missing_filter = "reject"`.
#[derive(Debug, Default)]
pub(super) struct Filters {
    /// Relations whose every row equals the session's value by the client's own condition.
    proven: HashSet<(EntryId, usize)>,
    /// Equalities between two tenant columns.
    equal: Vec<(EntryId, EntryId, usize)>,
}

impl Judge<'_> {
    /// Shows that a value of a tenant column is the session's.
    pub(super) fn tenant_value(
        &mut self,
        value: &Node,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
    ) -> Result<(), Denial> {
        if key.via.is_some() {
            return Err(via::unproven_reference(key, table));
        }
        match value.node.as_ref() {
            Some(NodeEnum::AConst(constant)) => {
                if self.literal_matches(constant, key) {
                    return Ok(());
                }
                Err(foreign(key, table))
            }
            Some(NodeEnum::ParamRef(parameter)) => {
                if self.check_parameter(parameter.number, key) {
                    return Ok(());
                }
                Err(unproven(key, table))
            }
            Some(NodeEnum::TypeCast(cast)) => {
                let ty = cast
                    .type_name
                    .as_ref()
                    .and_then(|name| self.type_name(name).ok());
                let same = ty.is_some_and(|ty| fits(ty, key.value_type));
                match cast.arg.as_deref() {
                    Some(arg) if same => self.tenant_value(arg, key, table, scope),
                    _ => Err(unproven(key, table)),
                }
            }
            Some(NodeEnum::ColumnRef(reference)) => {
                let read = self.resolve(reference, scope)?;
                if read.tenant == Some(key.slot) {
                    Ok(())
                } else {
                    Err(unproven(key, table))
                }
            }
            _ => Err(unproven(key, table)),
        }
    }

    fn literal_matches(&mut self, constant: &AConst, key: &Key) -> bool {
        self.pin(constant.location);
        let Some(own) = self.request.values.get(key.slot) else {
            return false;
        };
        match constant.val.as_ref() {
            Some(a_const::Val::Sval(text)) => own.matches_text(text.sval.as_bytes()),
            Some(a_const::Val::Ival(number)) if key.value_type == ValueType::Bigint => {
                own.matches_text(number.ival.to_string().as_bytes())
            }
            Some(a_const::Val::Fval(number)) if key.value_type == ValueType::Bigint => {
                own.matches_text(number.fval.as_bytes())
            }
            _ => false,
        }
    }

    /// Has a parameter checked at Bind, if its declared type is one that the check can read.
    fn check_parameter(&mut self, number: i32, key: &Key) -> bool {
        let Ok(parameter) = u16::try_from(number) else {
            return false;
        };
        if parameter == 0 || parameter > self.parameters || self.preparing {
            return false;
        }
        let declared = self
            .request
            .declared
            .get(usize::from(parameter) - 1)
            .copied()
            .unwrap_or(0);
        let readable = match key.value_type {
            ValueType::Uuid => matches!(declared, 0 | 2950 | 25 | 1043 | 705),
            ValueType::Bigint => matches!(declared, 0 | 20 | 21 | 23),
            ValueType::Text => matches!(declared, 0 | 25 | 1043 | 705),
        };
        if readable {
            let check = BindCheck {
                parameter,
                slot: key.slot,
            };
            if !self.findings.checks.contains(&check) {
                self.findings.checks.push(check);
            }
        }
        readable
    }

    /// Notes a conjunct `tenant column = value` for the reject mode. Only plain equality counts:
    /// OR, IN of several, IS NOT NULL and NOT say nothing.
    pub(super) fn note_filter(&mut self, conjunct: &Node, scope: &Scope<'_>) -> Result<(), Denial> {
        if self.in_view || !self.rejects() {
            return Ok(());
        }
        let Some(NodeEnum::AExpr(expr)) = conjunct.node.as_ref() else {
            return Ok(());
        };
        let plain =
            expr.kind == AExprKind::AexprOp as i32 || expr.kind == AExprKind::AexprIn as i32;
        let names = super::names::strings(&expr.name)?;
        if !plain || !matches!(names.as_slice(), ["="] | ["pg_catalog", "="]) {
            return Ok(());
        }
        let (Some(left), Some(right)) = (expr.lexpr.as_deref(), expr.rexpr.as_deref()) else {
            return Ok(());
        };
        let right = only_element(right).unwrap_or(right);
        let (left_key, right_key) = (self.tenant_key(left, scope), self.tenant_key(right, scope));
        match (left_key, right_key) {
            (Some((a, key)), Some((b, other))) if key.slot == other.slot => {
                self.filters.equal.push((a, b, key.slot));
            }
            (Some((entry, key)), None) => self.note_value(right, entry, &key, scope),
            (None, Some((entry, key))) => self.note_value(left, entry, &key, scope),
            _ => {}
        }
        Ok(())
    }

    fn rejects(&self) -> bool {
        let policy = &self.bound.policy;
        policy.defaults.missing_filter == MissingFilter::Reject
            || policy
                .tables
                .iter()
                .any(|t| t.missing_filter == Some(MissingFilter::Reject))
    }

    fn note_value(&mut self, value: &Node, entry: EntryId, key: &Key, scope: &Scope<'_>) {
        if self.tenant_value(value, key, "", scope).is_ok() {
            self.filters.proven.insert((entry, key.slot));
        }
    }

    /// The scoped relation whose tenant column a reference is.
    fn tenant_key(&self, node: &Node, scope: &Scope<'_>) -> Option<(EntryId, Key)> {
        let Some(NodeEnum::ColumnRef(reference)) = node.node.as_ref() else {
            return None;
        };
        let read = self.resolve(reference, scope).ok()?;
        let slot = read.tenant?;
        let [entry] = read.entries.as_slice() else {
            return None;
        };
        let EntryKind::Scoped { keys, .. } = &self.entry(*entry)?.kind else {
            return None;
        };
        let key = keys
            .iter()
            .find(|key| key.slot == slot && key.via.is_none())?;
        Some((*entry, key.clone()))
    }

    /// Refuses a query level whose scoped relations lack the client's own filter, where the policy
    /// demands one.
    pub(super) fn refuse_unfiltered(&mut self, relations: &[EntryId]) -> Result<(), Denial> {
        if !self.rejects() {
            return Ok(());
        }
        self.carry_along();
        for id in relations {
            let Some(entry) = self.entry(*id) else {
                continue;
            };
            let EntryKind::Scoped { keys, .. } = &entry.kind else {
                continue;
            };
            let proven = keys
                .iter()
                .all(|key| self.filters.proven.contains(&(*id, key.slot)));
            if !proven && self.must_filter(*id) {
                let column = keys.first().map_or("", |key| key.column.as_str());
                return Err(Denial::new(
                    DenyReason::MissingFilter,
                    format!(
                        "statement reads \"{}\" without pinning \"{column}\"",
                        entry.name
                    ),
                )
                .table(self.keys_of(*id).1)
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
        let mut grew = true;
        while grew {
            grew = false;
            for (a, b, slot) in self.filters.equal.clone() {
                let (left, right) = ((a, slot), (b, slot));
                let (has_left, has_right) = (
                    self.filters.proven.contains(&left),
                    self.filters.proven.contains(&right),
                );
                if has_left != has_right {
                    self.filters.proven.insert(left);
                    self.filters.proven.insert(right);
                    grew = true;
                }
            }
        }
    }
}

/// The only element of `IN (x)`.
fn only_element(node: &Node) -> Option<&Node> {
    match node.node.as_ref() {
        Some(NodeEnum::List(list)) => match list.items.as_slice() {
            [only] => Some(only),
            _ => None,
        },
        _ => None,
    }
}

fn fits(ty: Ty, value_type: ValueType) -> bool {
    match (ty, value_type) {
        (Ty::Known(oid), ValueType::Uuid) => oid == 2950,
        (Ty::Known(oid), ValueType::Bigint) => oid == 20,
        (Ty::Known(oid), ValueType::Text) => oid == 25,
        _ => false,
    }
}

fn foreign(key: &Key, table: &str) -> Denial {
    Denial::new(
        DenyReason::ForeignTenantValue,
        format!(
            "column \"{}\" can only hold the session's own tenant",
            key.column
        ),
    )
    .table(table)
    .hint("Leave the column out: pgwarden fills it in.")
}

pub(super) fn unproven(key: &Key, table: &str) -> Denial {
    Denial::new(
        DenyReason::UnprovenTenantValue,
        format!(
            "the value of column \"{}\" can't be shown to be the session's tenant",
            key.column
        ),
    )
    .table(table)
    .hint("Write a literal or a parameter, or leave the column out.")
}
