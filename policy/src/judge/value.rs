//! Values of the tenant column: which ones are shown to be the session's own.
//!
//! A literal is compared at once (and pinned, so that the plan serves no other literal), a
//! parameter is compared at Bind, and a column is accepted when it is itself the tenant column of a
//! guarded relation. Everything else is refused.

use pg_query::NodeEnum;
use pg_query::protobuf::{AConst, Node, a_const};

use super::names::{Scope, Ty};
use super::{EntryKind, Judge, via};
use crate::bind::{Key, columns};
use crate::deny::{Denial, DenyReason};
use crate::plan::BindCheck;
use crate::tenant::ValueType;

/// What a value is to be shown the session's for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is stored.
    Written,
    /// A condition of the client's compares with it, and ours stays beside that.
    Compared,
}

impl Judge<'_> {
    /// Shows that a value of a tenant column is the session's.
    pub(super) fn tenant_value(
        &mut self,
        value: &Node,
        key: &Key,
        table: &str,
        scope: &Scope<'_>,
        purpose: Purpose,
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
                let typed = purpose == Purpose::Compared || self.has_its_type(parameter.number);
                if typed && self.check_parameter(parameter.number, key) {
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
                    Some(arg) if same => self.tenant_value(arg, key, table, scope, purpose),
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

    /// Whether a value is no column, or one that is named in full and has its value in every row: no
    /// outer join makes it NULL.
    pub(super) fn is_always_there(&self, given: &Node, scope: &Scope<'_>) -> Result<bool, Denial> {
        let Some(NodeEnum::ColumnRef(reference)) = given.node.as_ref() else {
            return Ok(!holds_column(given));
        };
        let read = self.resolve(reference, scope)?;
        let always = read.entries.iter().all(|id| {
            let kind = self.entry(*id).map(|entry| &entry.kind);
            // What is free has no tenant column, but for `excluded`.
            matches!(
                kind,
                Some(
                    EntryKind::Scoped {
                        nullable: false,
                        ..
                    } | EntryKind::Free { .. }
                )
            )
        });
        Ok(reference.fields.len() == 2 && always)
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

    /// Whether a value of this type, as far as it is known, compares with the session's.
    pub(super) fn compares(&self, ty: Ty, value_type: ValueType) -> bool {
        match ty {
            Ty::Unknown | Ty::Builtin | Ty::Adaptable => true,
            Ty::Known(oid) => columns::fits(&self.bound.catalog, value_type, oid),
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
}

fn fits(ty: Ty, value_type: ValueType) -> bool {
    match (ty, value_type) {
        (Ty::Known(oid), ValueType::Uuid) => oid == 2950,
        (Ty::Known(oid), ValueType::Bigint) => oid == 20,
        (Ty::Known(oid), ValueType::Text) => oid == 25,
        _ => false,
    }
}

/// Whether casts stand around a column.
fn holds_column(value: &Node) -> bool {
    match value.node.as_ref() {
        Some(NodeEnum::TypeCast(cast)) => cast.arg.as_deref().is_some_and(holds_column),
        Some(NodeEnum::ColumnRef(_)) => true,
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
