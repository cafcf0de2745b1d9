//! SET of UPDATE, of ON CONFLICT DO UPDATE and of MERGE.
//!
//! A tenant column may be set to the session's own value. One that is shown to be it goes on as it
//! is; any other that is computed is looked at for each row that is to be written, and raises as WITH
//! CHECK does. That holds for a row that FROM brings twice, too: the server writes it once, but looks
//! at each of the new rows. A row of values, `(a, b) = (…)`, is judged value by value, and a row that
//! a query gives is looked at as it comes out, also where no row comes out, which means NULLs.

use pg_query::NodeEnum;
use pg_query::protobuf::{MultiAssignRef, Node, SubLink};

use super::names::{Scope, Ty};
use super::{EntryId, EntryKind, Env, Judge, unsupported, value, via};
use crate::bind::Key;
use crate::deny::Denial;
use crate::rewrite;

/// A column that is assigned.
#[derive(Clone)]
struct Place {
    name: String,
    /// Not only an element or a field of it.
    whole: bool,
    ty: Ty,
}

/// The table that is written to.
struct Written {
    keys: Vec<Key>,
    table: String,
}

impl Written {
    fn key(&self, place: &Place) -> Option<&Key> {
        self.keys.iter().find(|key| key.column == place.name)
    }

    fn unproven(&self, key: &Key) -> Denial {
        match key.via {
            Some(_) => via::unproven_reference(key, &self.table),
            None => value::unproven(key, &self.table),
        }
    }
}

impl Judge<'_> {
    /// Judges the assignments to a target.
    pub(super) fn assignments(
        &mut self,
        targets: &mut [Node],
        target: EntryId,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let (keys, table) = self.keys_of(target);
        let written = Written { keys, table };
        let places = self.places(targets, target)?;
        for (at, node) in targets.iter_mut().enumerate() {
            let Some(NodeEnum::ResTarget(assignment)) = node.node.as_mut() else {
                return Err(unsupported("this kind of SET"));
            };
            self.indirection(&mut assignment.indirection, scope, env)?;
            let Some(value) = assignment.val.as_deref_mut() else {
                return Err(unsupported("an empty SET"));
            };
            if let Some(NodeEnum::MultiAssignRef(multi)) = value.node.as_mut() {
                // Every column of `(a, b) = …` carries the same source, of which the server reads
                // the first; all of them are judged, so that all are rewritten alike.
                let row = row_of(multi, &places, at)?;
                self.assigned_row(multi, row, &written, scope, env)?;
            } else if let Some(place) = places.get(at) {
                self.assigned(value, place, &written, scope, env)?;
            }
        }
        Ok(())
    }

    fn places(&self, targets: &[Node], target: EntryId) -> Result<Vec<Place>, Denial> {
        let place = |node: &Node| match node.node.as_ref() {
            Some(NodeEnum::ResTarget(assignment)) => {
                let whole = assignment.indirection.is_empty();
                let stored = self.column_type(target, &assignment.name);
                Ok(Place {
                    name: assignment.name.clone(),
                    whole,
                    ty: if whole { stored } else { Ty::Unknown },
                })
            }
            _ => Err(unsupported("this kind of SET")),
        };
        targets.iter().map(place).collect()
    }

    /// One value for one column.
    fn assigned(
        &mut self,
        value: &mut Node,
        place: &Place,
        written: &Written,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let key = written.key(place);
        let default = matches!(value.node, Some(NodeEnum::SetToDefault(_)));
        if let Some(key) = key.filter(|_| default || !place.whole) {
            return Err(written.unproven(key));
        }
        if default {
            return self.allow_assignment(Ty::Adaptable, place.ty);
        }
        let own = key.filter(|key| key.via.is_none());
        let known = match own {
            Some(key) => {
                self.is_own_value(value, key, &written.table, scope)?
                    && self.is_always_there(value, scope)?
            }
            None => false,
        };
        let facts = self.kept(value, scope, env)?;
        self.allow_assignment(facts.ty, place.ty)?;
        let Some(key) = key else { return Ok(()) };
        self.rewritten();
        match key.via {
            Some(_) => self.check_reference(value, &facts, key, &written.table),
            None if known => Ok(()),
            None => self.check_written(value, &facts, key, &written.table),
        }
    }

    /// A row of values, or of a query.
    fn assigned_row(
        &mut self,
        multi: &mut MultiAssignRef,
        row: &[Place],
        written: &Written,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let Some(source) = multi.source.as_deref_mut() else {
            return Err(unsupported("an empty SET"));
        };
        match source.node.as_mut() {
            Some(NodeEnum::RowExpr(values)) => {
                if values.args.len() != row.len() {
                    return Err(unsupported("SET with another number of values"));
                }
                let mut pairs = values.args.iter_mut().zip(row);
                pairs
                    .try_for_each(|(value, place)| self.assigned(value, place, written, scope, env))
            }
            Some(NodeEnum::SubLink(link)) => self.assigned_query(link, row, written, scope, env),
            // The server takes nothing else.
            _ => Err(unsupported("SET of several columns to what is no row")),
        }
    }

    /// The row that a query gives. The keys in it are looked at behind an outer join with a row that
    /// is always there.
    fn assigned_query(
        &mut self,
        link: &mut SubLink,
        row: &[Place],
        written: &Written,
        scope: &Scope<'_>,
        env: &Env<'_>,
    ) -> Result<(), Denial> {
        let query = link.subselect.as_mut().and_then(|node| node.node.as_mut());
        let Some(NodeEnum::SelectStmt(select)) = query else {
            return Err(unsupported("this kind of subquery"));
        };
        let output = self.select(select, Some(scope), env)?;
        let given: Vec<Ty> = output
            .columns
            .iter()
            .map(|it| it.ty.behind_border())
            .collect();
        for (at, place) in row.iter().enumerate() {
            let ty = given.get(at).filter(|_| !output.open);
            self.allow_assignment(ty.copied().unwrap_or_default(), place.ty)?;
        }
        let keyed = row.iter().enumerate();
        let keyed = keyed.filter_map(|(at, place)| Some((at, place, written.key(place)?)));
        let keys: Vec<(usize, &Place, &Key)> = keyed.collect();
        let Some((_, _, first)) = keys.first() else {
            return Ok(());
        };
        if output.open || given.len() != row.len() {
            return Err(written.unproven(first));
        }
        rewrite::one_row(select, given.len());
        for (at, place, key) in keys {
            let fits = given
                .get(at)
                .is_some_and(|ty| self.compares(*ty, key.value_type));
            let target = select.target_list.get_mut(at);
            let Some(NodeEnum::ResTarget(target)) = target.and_then(|it| it.node.as_mut()) else {
                return Err(written.unproven(key));
            };
            match target.val.as_deref_mut() {
                Some(value) if fits && place.whole && key.via.is_none() => {
                    self.check_when_run(value, key)?;
                }
                _ => return Err(written.unproven(key)),
            }
        }
        self.rewritten();
        Ok(())
    }

    /// The type of a target's column.
    pub(super) fn column_type(&self, target: EntryId, name: &str) -> Ty {
        let mut columns = self.entry(target).into_iter().flat_map(|it| &it.columns);
        let found = columns.find(|column| column.name == name);
        found.map_or(Ty::Unknown, |column| column.ty)
    }

    /// The keys of a scoped target and its name for messages.
    pub(super) fn keys_of(&self, target: EntryId) -> (Vec<Key>, String) {
        let Some(entry) = self.entry(target) else {
            return (Vec::new(), String::new());
        };
        match &entry.kind {
            EntryKind::Scoped { keys, table, .. } => (keys.clone(), table.clone()),
            _ => (Vec::new(), entry.name.clone()),
        }
    }
}

/// The columns of the row to which the assignment in place `at` belongs.
fn row_of<'p>(
    multi: &MultiAssignRef,
    places: &'p [Place],
    at: usize,
) -> Result<&'p [Place], Denial> {
    let first = usize::try_from(multi.colno - 1).ok();
    let first = first.and_then(|before| at.checked_sub(before));
    let width = usize::try_from(multi.ncolumns).ok();
    let row = first.zip(width).and_then(|(first, width)| {
        let rest = places.get(first..)?;
        rest.get(..width)
    });
    row.ok_or_else(|| unsupported("this kind of SET"))
}
