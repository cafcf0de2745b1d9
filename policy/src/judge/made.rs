//! The temporary relations that a message makes, changes and drops, for the statements behind in the same message.
//!
//! Nothing comes between the statements of a message, and one that fails ends it: behind a CREATE the table
//! is there, with the columns of its text, and behind a DROP it is not. Where their types are not all known, or what
//! follows may have undone it (the end of a transaction, ROLLBACK TO, DISCARD), statements behind are
//! refused. A name that means such a table is sent with its schema, so it can't come to mean another.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnDef, ConstrType, IntoClause, Node, RangeVar};

use super::fresh::may_undo;
use super::names::{Column, Ty, strings};
use super::output::Output;
use super::{EntryId, Judge};
use crate::catalog::Oid;
use crate::plan::Effect;
use crate::temporary::{Kind, Temporary};

impl Judge<'_> {
    /// The table that a query fills has the query's columns.
    pub(super) fn makes_of(&mut self, into: &IntoClause, output: &Output) {
        let name = into.rel.as_ref().map(|range| range.relname.as_str());
        let columns = columns_of(output, &into.col_names);
        self.makes(name, Kind::Table, columns);
    }

    /// The view has its query's columns, and takes the place of one that it replaces.
    pub(super) fn makes_view(&mut self, name: &str, output: &Output, aliases: &[Node]) {
        self.temporaries = self.temporaries.without(name);
        self.makes(Some(name), Kind::View, columns_of(output, aliases));
    }

    /// The sequence is there for the statements that follow.
    pub(super) fn makes_sequence(&mut self, name: &str) {
        let columns = [("last_value", 20), ("log_cnt", 20), ("is_called", 16)];
        let columns = columns.map(|(name, ty)| (name.to_owned(), ty, false));
        self.makes(Some(name), Kind::Sequence, Some(columns.to_vec()));
    }

    /// The table has the columns that CREATE TABLE lists.
    pub(super) fn makes_from(&mut self, name: &str, table: EntryId, elements: &[Node]) {
        let entry = self.entry(table);
        let columns = entry.and_then(|it| told(&it.columns, elements, |_, ty| known(ty)));
        self.makes(Some(name), Kind::Table, columns);
    }

    /// Whether there is such a temporary relation, before which IF NOT EXISTS does nothing.
    pub(super) fn knows(&self, range: Option<&RangeVar>) -> bool {
        range.is_some_and(|range| self.temporaries.find(&range.relname).is_some())
    }

    /// A temporary relation is there for the statements that follow, if its columns are known.
    fn makes(&mut self, name: Option<&str>, kind: Kind, columns: Option<Vec<Told>>) {
        self.changes();
        self.follows(name, kind, columns);
    }

    fn follows(&mut self, name: Option<&str>, kind: Kind, columns: Option<Vec<Told>>) {
        match (name, columns) {
            (Some(name), Some(columns)) => {
                self.temporaries = self.temporaries.with(Temporary {
                    name: name.to_owned(),
                    kind,
                    columns,
                });
            }
            _ => self.temporaries_doubtful = true,
        }
    }

    /// A temporary relation is gone for the statements that follow; sequences of its columns went with it. (A view that
    /// went, too, is asked for by its schema, and not found.)
    pub(super) fn drops(&mut self, name: &str) {
        self.temporaries = self.temporaries.without(name).without_sequences();
    }

    /// A temporary table has another name for the statements that follow.
    pub(super) fn renames(&mut self, name: &str, to: &str) {
        if let Some(known) = self.temporaries.told(name) {
            self.temporaries = self.temporaries.without(name).with(Temporary {
                name: to.to_owned(),
                ..known
            });
        }
    }

    /// A temporary table has other columns, for the rest of the statement and for those that follow.
    pub(super) fn own_columns(
        &mut self,
        table: EntryId,
        name: &str,
        change: impl FnOnce(&mut Vec<Column>),
    ) {
        let Some(entry) = self.entries.get_mut(table) else {
            return;
        };
        change(&mut entry.columns);
        let before = self.temporaries.told(name);
        let before = before.map(|told| told.columns).unwrap_or_default();
        let generated = |name: &str| before.iter().any(|(known, _, yes)| known == name && *yes);
        let columns = entry.columns.iter();
        let columns: Option<Vec<_>> = columns
            .map(|it| Some((it.name.clone(), known(it.ty)?, generated(&it.name))))
            .collect();
        self.temporaries = self.temporaries.without(name);
        self.follows(Some(name), Kind::Table, columns);
    }

    /// Temporary relations have changed: the server will be asked.
    pub(super) fn changes(&mut self) {
        self.findings.effects.push(Effect::Temporaries);
    }

    /// Where a transaction ends, and behind DISCARD, tables of the same message may be gone.
    pub(super) fn doubt_temporaries(&mut self, after: &NodeEnum) {
        let changed = self.findings.effects.contains(&Effect::Temporaries);
        self.temporaries_doubtful |= may_undo(after) && changed;
    }
}

/// A column as the server tells it: its name, its type, whether it is generated.
pub(super) type Told = (String, Oid, bool);

/// The columns of what is made of a query, if all are known.
fn columns_of(output: &Output, names: &[Node]) -> Option<Vec<Told>> {
    let renamed = strings(names).unwrap_or_default();
    let columns = output.columns.iter().enumerate().map(|(at, column)| {
        let name = renamed.get(at).copied().unwrap_or(&column.name);
        Some((name.to_owned(), known(column.ty)?, false))
    });
    let columns: Option<Vec<_>> = columns.collect();
    columns.filter(|_| !output.open)
}

/// The type of a column of a table that is made from it.
pub(super) fn known(ty: Ty) -> Option<Oid> {
    match ty.behind_border() {
        Ty::Known(oid) => Some(oid),
        Ty::Unknown | Ty::Builtin | Ty::Adaptable => None,
    }
}

/// The columns as the server will tell them, by the numbers of their types; none where LIKE copies what is not known here.
pub(super) fn told(
    columns: &[Column],
    elements: &[Node],
    number: impl Fn(&ColumnDef, Ty) -> Option<Oid>,
) -> Option<Vec<Told>> {
    let mut columns = columns.iter();
    let mut told = Vec::with_capacity(elements.len());
    for element in elements {
        match element.node.as_ref()? {
            NodeEnum::ColumnDef(definition) => {
                let ty = number(definition, columns.next()?.ty)?;
                told.push((definition.colname.clone(), ty, is_generated(definition)));
            }
            NodeEnum::Constraint(_) => {}
            _ => return None,
        }
    }
    Some(told)
}

pub(super) fn is_generated(column: &ColumnDef) -> bool {
    column.constraints.iter().any(|constraint| {
        matches!(&constraint.node, Some(NodeEnum::Constraint(it))
            if it.contype == ConstrType::ConstrGenerated as i32)
    })
}
