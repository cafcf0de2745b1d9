//! What a query gives to the query around it: its columns, and what is known of its rows.

use super::EntryId;
use super::expression::Facts;
use super::names::{Column, Ty};

/// What a query gives to the query around it.
#[derive(Debug, Default)]
pub(super) struct Output {
    pub(super) columns: Vec<Column>,
    /// Whether there are columns that we don't know.
    pub(super) open: bool,
    /// The entries that its expressions read, those of outer queries among them.
    pub(super) reads: Vec<EntryId>,
    /// The entries that decide which rows it has: what WHERE, ON and HAVING read.
    pub(super) depends: Vec<EntryId>,
    /// Whether an expression that runs without a barrier may raise an error.
    pub(super) leaky: bool,
    /// Whether anything of a tenant is inside.
    pub(super) risky: bool,
    /// Whether it is a fence: the planner can't move conditions into it.
    pub(super) sealed: bool,
    /// Whether it gives one row at most.
    pub(super) single_row: bool,
}

/// Entries, in the order of the text.
impl Output {
    pub(super) fn absorb(&mut self, facts: &Facts) {
        self.leaky |= facts.leaky;
        self.reads.extend(&facts.reads);
    }
}

/// The columns of a set operation: names of the left side, facts of both.
pub(super) fn combine(left: Output, right: Output) -> Output {
    let mut columns = left.columns;
    for (at, column) in columns.iter_mut().enumerate() {
        let Some(other) = right.columns.get(at) else {
            continue;
        };
        column.plain &= other.plain;
        column.sealed &= other.sealed;
        column.ty = common_type(column.ty, other.ty);
        column.tenant = column.tenant.filter(|slot| other.tenant == Some(*slot));
    }
    let mut reads = left.reads;
    reads.extend(right.reads);
    let mut depends = left.depends;
    depends.extend(right.depends);
    Output {
        columns,
        open: left.open || right.open,
        reads,
        depends,
        leaky: left.leaky || right.leaky,
        risky: left.risky || right.risky,
        sealed: false,
        single_row: false,
    }
}

/// The type of a column that two rows or queries give.
pub(super) fn common_type(left: Ty, right: Ty) -> Ty {
    match (left, right) {
        (left, right) if left == right => left,
        (Ty::Known(ty), Ty::Adaptable) | (Ty::Adaptable, Ty::Known(ty)) => Ty::Known(ty),
        _ => Ty::Unknown,
    }
}
