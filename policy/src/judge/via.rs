//! Tables that are reached through a parent: which rows are the tenant's, and which references a
//! client may write.
//!
//! A row is the tenant's if its parent is. A written reference is looked up where it is written:
//! one that leads to no row of the tenant raises, as WITH CHECK does under row level security.

use pg_query::protobuf::Node;

use super::expression::Facts;
use super::names::Ty;
use super::{Judge, value};
use crate::bind::{Key, Parent, Via};
use crate::deny::{Denial, DenyReason};
use crate::rewrite;

/// The alias of a parent on the way, by its distance.
const PARENT: &str = "pgwarden_parent";

impl Judge<'_> {
    /// The predicate of one key: what the column (or the row that it refers to) must equal.
    pub(super) fn admits(&mut self, column: Node, key: &Key) -> Result<Node, Denial> {
        let own = self.slot_value(key)?;
        Ok(match key.via.as_deref() {
            None => rewrite::operator(column, "=", own),
            Some(via) => leads_to(column, &via.parents, 1, own),
        })
    }

    /// Puts a written reference behind its check, if its type is shown to be the column's. What
    /// it was judged to be is given: a text in place of a number would be an error to the server,
    /// and must stay one.
    pub(super) fn check_reference(
        &mut self,
        written: &mut Node,
        facts: &Facts,
        key: &Key,
        table: &str,
    ) -> Result<(), Denial> {
        let Some(via) = key.via.as_deref() else {
            return Err(value::unproven(key, table));
        };
        let ty = match facts.ty {
            Ty::Known(oid) => Ty::Known(self.bound.catalog.base_type(oid)),
            other => other,
        };
        if facts.aggregate || !assignable(ty, via) {
            return Err(unproven_reference(key, table));
        }
        let given = rewrite::cast(rewrite::take(written), via.column_type);
        let known = self.admits(rewrite::computed_value(), key)?;
        let raised = rewrite::raise_at(rewrite::REFERENCE_MARKER, rewrite::computed_value());
        let raised = rewrite::cast(rewrite::cast(raised, "text"), via.column_type);
        let checked = rewrite::case(known, rewrite::computed_value(), raised);
        *written = rewrite::computed_once(given, checked);
        self.rewritten();
        Ok(())
    }
}

/// `EXISTS (SELECT FROM parent WHERE parent.key = value AND …)`.
fn leads_to(value: Node, parents: &[Parent], distance: usize, own: Node) -> Node {
    let Some((parent, rest)) = parents.split_first() else {
        return rewrite::operator(value, "=", own);
    };
    let alias = format!("{PARENT}_{distance}");
    let refers = rewrite::operator(rewrite::column(&[&alias, &parent.key]), "=", value);
    let next = rewrite::column(&[&alias, &parent.column]);
    let goes_on = leads_to(next, rest, distance + 1, own);
    let condition = rewrite::and(vec![refers, goes_on]).unwrap_or_default();
    rewrite::exists(&parent.schema, &parent.table, &alias, condition)
}

/// Whether a value of the type is assigned to the column without a cast that only an explicit
/// cast would do.
fn assignable(ty: Ty, via: &Via) -> bool {
    match (ty, via.column_type) {
        (Ty::Adaptable, _) => true,
        (Ty::Known(oid), "uuid") => oid == 2950,
        (Ty::Known(oid), "int8" | "int4" | "int2") => matches!(oid, 20 | 21 | 23),
        (Ty::Known(oid), _) => matches!(oid, 25 | 1043),
        (Ty::Unknown | Ty::Builtin, _) => false,
    }
}

pub(super) fn unproven_reference(key: &Key, table: &str) -> Denial {
    Denial::new(
        DenyReason::UnprovenTenantValue,
        format!(
            "the value of column \"{}\" can't be shown to refer to the session's tenant",
            key.column
        ),
    )
    .table(table)
    .hint("Write a literal, a parameter or a column of the column's own type.")
}
