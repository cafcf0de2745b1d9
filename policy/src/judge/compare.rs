//! Which comparisons can run on a row that was not admitted yet.
//!
//! PostgreSQL marks most comparison operators of its own types leakproof (`pg_proc.proleakproof`).
//! A few more can't raise an error nor show a value either, though they are not marked, because
//! nobody asked: numeric, interval, jsonb and enum comparisons. Both are listed by type.

use super::names::Ty;
use crate::catalog::{Catalog, Oid, TypeKind};

/// Types whose comparison with themselves can't leak: bool, bytea, char, name, int8, int2, int4,
/// text, oid, float4, float8, macaddr8, macaddr, inet, bpchar, varchar, date, time, timestamp,
/// timestamptz, interval, timetz, numeric, uuid, jsonb, pg_lsn, xid8, and the reg types (as oids).
const COMPARABLE: &[Oid] = &[
    16, 17, 18, 19, 20, 21, 23, 25, 26, 700, 701, 774, 829, 869, 1042, 1043, 1082, 1083, 1114,
    1184, 1186, 1266, 1700, 2950, 3802, 3220, 5069, 2205, 2206, 24, 4089, 4096, 28,
];

/// Pairs of different types that compare without a cast that could fail.
const FAMILIES: &[&[Oid]] = &[
    &[20, 21, 23],
    &[700, 701],
    &[25, 1043],
    &[20, 21, 23, 1700],
    &[26, 2205],
    &[25, 19],
    &[1082, 1114],
];

/// Whether values of these types can be brought to one of them without an error.
pub(super) fn one_family(left: Ty, right: Ty) -> bool {
    const WIDENING: &[&[Oid]] = &[&[20, 21, 23, 1700], &[700, 701], &[25, 1043]];
    match (left, right) {
        (Ty::Known(left), Ty::Known(right)) => {
            left == right
                || WIDENING
                    .iter()
                    .any(|family| family.contains(&left) && family.contains(&right))
        }
        _ => false,
    }
}

/// Comparison operators.
pub(super) fn is_comparison(operator: &str) -> bool {
    matches!(operator, "=" | "<>" | "!=" | "<" | "<=" | ">" | ">=")
}

/// Whether comparing these two can neither raise an error nor show a value.
pub(super) fn leakproof(catalog: &Catalog, left: Ty, right: Ty) -> bool {
    match (based(catalog, left), based(catalog, right)) {
        (Ty::Adaptable, Ty::Adaptable) => true,
        (Ty::Known(ty), Ty::Adaptable) | (Ty::Adaptable, Ty::Known(ty)) => comparable(catalog, ty),
        (Ty::Known(left), Ty::Known(right)) if left == right => comparable(catalog, left),
        (Ty::Known(left), Ty::Known(right)) => FAMILIES
            .iter()
            .any(|family| family.contains(&left) && family.contains(&right)),
        (Ty::Unknown | Ty::Builtin, _) | (_, Ty::Unknown | Ty::Builtin) => false,
    }
}

/// A domain is compared as the type under it.
fn based(catalog: &Catalog, ty: Ty) -> Ty {
    match ty {
        Ty::Known(oid) => Ty::Known(catalog.base_type(oid)),
        other => other,
    }
}

fn comparable(catalog: &Catalog, ty: Oid) -> bool {
    if COMPARABLE.contains(&ty) {
        return true;
    }
    let Some(found) = catalog.type_by_oid(ty) else {
        return false;
    };
    match found.kind {
        TypeKind::Enum => true,
        // Arrays of comparable elements compare element by element.
        TypeKind::Base if found.schema == "pg_catalog" => COMPARABLE.contains(&found.element),
        TypeKind::Base
        | TypeKind::Composite
        | TypeKind::Domain
        | TypeKind::Range
        | TypeKind::Multirange
        | TypeKind::Pseudo => false,
    }
}

/// The element's type of an array, for `= ANY`.
pub(super) fn element(catalog: &Catalog, array: Ty) -> Ty {
    match array {
        Ty::Known(oid) => match catalog.type_by_oid(oid) {
            Some(ty) if ty.element != 0 => Ty::Known(ty.element),
            _ => Ty::Unknown,
        },
        other => other,
    }
}
