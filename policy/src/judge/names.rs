//! Names: which column of which relation an identifier means, in PostgreSQL's scopes.
//!
//! A [`Scope`] is the list of FROM items that an expression can name, with the scopes of the
//! queries around it. An [`Env`] is the list of common table expressions in sight.

use pg_query::NodeEnum;
use pg_query::protobuf::{ColumnRef, Node};

pub(super) use super::ty::{TEXT, Ty};
use super::{Cte, CteId, EntryId, EntryKind, Judge, unsupported, width};
use crate::deny::{Denial, DenyReason};
use crate::positions;

/// A column that can be named.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) ty: Ty,
    /// Reading it evaluates nothing that could raise an error.
    pub(super) plain: bool,
    /// Its value exists only after the rows were filtered (an aggregate, a fence).
    pub(super) sealed: bool,
    /// It is the tenant column of a guarded relation, for this slot.
    pub(super) tenant: Option<usize>,
    /// It may not be read (a statistic in a system relation).
    pub(super) hidden: bool,
    /// `*` leaves it out.
    pub(super) unstarred: bool,
}

impl Column {
    /// A column that nothing is known of.
    pub(super) fn opaque(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ty: Ty::Unknown,
            plain: false,
            sealed: false,
            tenant: None,
            hidden: false,
            unstarred: false,
        }
    }
}

/// A FROM item that can be named.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) entry: EntryId,
    /// Columns that USING or NATURAL merged: unqualified names don't mean this item's.
    pub(super) merged: Vec<String>,
}

impl Item {
    pub(super) fn new(entry: EntryId) -> Self {
        Self {
            entry,
            merged: Vec::new(),
        }
    }
}

/// The FROM items in sight, innermost query first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'s> {
    pub(super) items: &'s [Item],
    pub(super) outer: Option<&'s Scope<'s>>,
}

impl Scope<'static> {
    /// Nothing can be named.
    pub(super) const NOWHERE: Self = Self {
        items: &[],
        outer: None,
    };
}

/// The common table expressions in sight.
#[derive(Debug, Clone, Default)]
pub(super) struct Env<'e> {
    pub(super) ctes: Vec<(String, CteId)>,
    pub(super) outer: Option<&'e Env<'e>>,
}

impl Env<'_> {
    pub(super) fn find(&self, name: &str) -> Option<CteId> {
        let here = self.ctes.iter().rev().find(|(known, _)| known == name);
        match here {
            Some((_, id)) => Some(*id),
            None => self.outer.and_then(|outer| outer.find(name)),
        }
    }
}

/// System columns, readable in every table (`attnum` below 0).
pub(super) const SYSTEM_COLUMNS: &[&str] = &["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];

/// What a column reference reads.
#[derive(Debug, Clone, Default)]
pub(super) struct Reading {
    pub(super) ty: Ty,
    pub(super) plain: bool,
    pub(super) sealed: bool,
    pub(super) tenant: Option<usize>,
    pub(super) entries: Vec<EntryId>,
}

impl Judge<'_> {
    /// Resolves a column reference.
    pub(super) fn resolve(
        &self,
        reference: &ColumnRef,
        scope: &Scope<'_>,
    ) -> Result<Reading, Denial> {
        self.resolve_path(reference, scope)
            .map_err(|denial| self.located(denial, reference.location))
    }

    /// What does not exist is told with its place, as the server does; what may not be used is not.
    pub(super) fn missing_at(&self, denial: Denial, location: i32) -> Denial {
        if denial.sqlstate == "42P01" {
            return self.located(denial, location);
        }
        denial
    }

    /// The denial of what stands at this byte of the client's text.
    fn located(&self, denial: Denial, location: i32) -> Denial {
        let at = usize::try_from(location).ok();
        let at = at.and_then(|at| positions::to_characters(self.request.text, at));
        Denial {
            position: denial.position.or(at),
            ..denial
        }
    }

    fn resolve_path(&self, reference: &ColumnRef, scope: &Scope<'_>) -> Result<Reading, Denial> {
        let path = path(&reference.fields)?;
        match path.as_slice() {
            [Part::Star] => Err(unsupported("* in this place")),
            [Part::Name(name)] => self.resolve_unqualified(name, scope),
            [Part::Name(qualifier), part] => self.resolve_qualified(None, qualifier, part, scope),
            [Part::Name(schema), Part::Name(qualifier), part] => {
                self.resolve_qualified(Some(schema), qualifier, part, scope)
            }
            _ => Err(unsupported("a column name with a database")
                .hint("Leave the name of the database out.")),
        }
    }

    fn resolve_unqualified(&self, name: &str, scope: &Scope<'_>) -> Result<Reading, Denial> {
        let mut open = Vec::new();
        let mut level = Some(scope);
        while let Some(current) = level {
            let mut matches = Vec::new();
            for item in current.items {
                let Some(entry) = self.entry(item.entry) else {
                    continue;
                };
                if item.merged.iter().any(|merged| merged == name) {
                    continue;
                }
                let known = entry.columns.iter().find(|column| column.name == name);
                match known {
                    Some(column) => matches.push(self.reading(item.entry, column)?),
                    None if entry.open => open.push(item.entry),
                    None if self.has_system_column(entry, name) => {
                        matches.push(system_column(item.entry));
                    }
                    None => {}
                }
            }
            if let [found] = matches.as_slice() {
                return Ok(with_open(found.clone(), &open));
            }
            if matches.len() > 1 {
                return Ok(with_open(ambiguous(matches), &open));
            }
            // A whole row is tried after the columns of the same query level.
            if let Some(row) = self.whole_row(name, current)? {
                return Ok(with_open(row, &open));
            }
            level = current.outer;
        }
        if open.is_empty() {
            return Err(unknown_column(name));
        }
        Ok(Reading {
            entries: open,
            ..Reading::default()
        })
    }

    fn has_system_column(&self, entry: &super::Entry, name: &str) -> bool {
        SYSTEM_COLUMNS.contains(&name)
            && matches!(
                entry.kind,
                EntryKind::Scoped { .. } | EntryKind::Free { .. }
            )
    }

    fn whole_row(&self, name: &str, scope: &Scope<'_>) -> Result<Option<Reading>, Denial> {
        for item in scope.items {
            let Some(entry) = self.entry(item.entry) else {
                continue;
            };
            if !entry.name.is_empty() && entry.name == name {
                return self.row_of(item.entry).map(Some);
            }
        }
        Ok(None)
    }

    /// A whole row, or `t.*` as a value: all columns of it are read.
    fn row_of(&self, id: EntryId) -> Result<Reading, Denial> {
        let Some(entry) = self.entry(id) else {
            return Ok(Reading::default());
        };
        // Its fields keep the view's names; those of a query have the new ones.
        if self.relabelled.contains(&id) {
            return Err(
                unsupported("a whole row of a view whose columns are renamed")
                    .hint("Name its columns one by one"),
            );
        }
        let mut row = Reading {
            plain: true,
            sealed: true,
            ..Reading::default()
        };
        for column in &entry.columns {
            let read = self.reading(id, column)?;
            row.plain &= read.plain;
            row.sealed &= read.sealed;
        }
        row.plain &= !entry.open;
        row.sealed &= !entry.columns.is_empty();
        row.entries = match &entry.kind {
            EntryKind::Merged(merged) => {
                merged.iter().flat_map(|(_, read)| read).copied().collect()
            }
            _ => vec![id],
        };
        Ok(row)
    }

    fn resolve_qualified(
        &self,
        schema: Option<&str>,
        qualifier: &str,
        part: &Part<'_>,
        scope: &Scope<'_>,
    ) -> Result<Reading, Denial> {
        let Some(id) = self.find_item(schema, qualifier, scope) else {
            // `column.field` of a composite column: PostgreSQL wants parentheses for that, so this
            // is a name that does not exist.
            return Err(Denial {
                sqlstate: "42P01",
                message: format!("missing FROM-clause entry for table \"{qualifier}\""),
                ..Denial::new(DenyReason::AmbiguousColumn, "")
            });
        };
        match part {
            Part::Star => self.row_of(id),
            Part::Name(name) => {
                let Some(entry) = self.entry(id) else {
                    return Ok(Reading::default());
                };
                if let Some(column) = entry.columns.iter().find(|column| column.name == *name) {
                    return self.reading(id, column);
                }
                if self.has_system_column(entry, name) {
                    return Ok(system_column(id));
                }
                // `row.name` also calls a function of that name: only where there is none can an
                // unknown name be a column.
                if entry.open && !self.may_be_function(name) {
                    return Ok(Reading {
                        entries: vec![id],
                        ..Reading::default()
                    });
                }
                Err(unknown_column_of(qualifier, name))
            }
        }
    }

    /// The FROM item of a name, in the nearest query that has one.
    pub(super) fn find_item(
        &self,
        schema: Option<&str>,
        name: &str,
        scope: &Scope<'_>,
    ) -> Option<EntryId> {
        let mut level = Some(scope);
        while let Some(current) = level {
            let found = current.items.iter().find(|item| {
                self.entry(item.entry).is_some_and(|entry| {
                    entry.name == name && (schema.is_none() || entry.schema.as_deref() == schema)
                })
            });
            if let Some(item) = found {
                return Some(item.entry);
            }
            level = current.outer;
        }
        None
    }

    fn reading(&self, id: EntryId, column: &Column) -> Result<Reading, Denial> {
        if column.hidden {
            return Err(Denial::new(
                DenyReason::SystemRelation,
                format!("column \"{}\" shows more than the schema", column.name),
            )
            .hint(
                "Name the columns that you need. The security team can list the relation as global: \
                 what it tells of all tenants' rows is shown then.",
            ));
        }
        self.allow_comparison(column.ty)?;
        let entries = if column.sealed {
            Vec::new()
        } else {
            self.merged_entries(id, &column.name)
        };
        Ok(Reading {
            ty: column.ty.behind_border(),
            plain: column.plain,
            sealed: column.sealed,
            tenant: column.tenant,
            entries,
        })
    }

    /// Reading a merged column reads the entries that were merged.
    fn merged_entries(&self, id: EntryId, column: &str) -> Vec<EntryId> {
        match self.entry(id).map(|entry| &entry.kind) {
            Some(EntryKind::Merged(merged)) => {
                let found = merged.iter().find(|(name, _)| name == column);
                found
                    .map(|(_, entries)| entries.clone())
                    .unwrap_or_default()
            }
            _ => vec![id],
        }
    }

    /// All columns of a scope in the order of `*`, or of one item for `item.*`.
    pub(super) fn star(
        &self,
        qualifier: Option<(Option<&str>, &str)>,
        scope: &Scope<'_>,
    ) -> Result<(Vec<Column>, bool), Denial> {
        let mut columns = Vec::new();
        let mut open = false;
        let items: Vec<Item> = match qualifier {
            None => scope.items.to_vec(),
            Some((schema, name)) => {
                let Some(id) = self.find_item(schema, name, scope) else {
                    return Err(unknown_column(name));
                };
                vec![Item::new(id)]
            }
        };
        for item in items {
            let Some(entry) = self.entry(item.entry) else {
                continue;
            };
            open |= entry.open;
            for column in &entry.columns {
                if item.merged.contains(&column.name) || column.unstarred {
                    continue;
                }
                self.reading(item.entry, column)?;
                columns.push(column.clone());
            }
            width::check_joined(columns.len())?;
        }
        self.spread(columns.len());
        self.check_spread()?;
        Ok((columns, open))
    }

    /// The qualifier and star of a `t.*` target.
    pub(super) fn star_target(reference: &ColumnRef) -> Option<Option<(Option<&str>, &str)>> {
        let path = path(&reference.fields).ok()?;
        match path.as_slice() {
            [Part::Star] => Some(None),
            [Part::Name(name), Part::Star] => Some(Some((None, name))),
            [Part::Name(schema), Part::Name(name), Part::Star] => Some(Some((Some(schema), name))),
            _ => None,
        }
    }

    pub(super) fn cte(&self, id: CteId) -> Option<&Cte> {
        self.ctes.get(id)
    }
}

pub(super) enum Part<'n> {
    Name(&'n str),
    Star,
}

pub(super) fn path(fields: &[Node]) -> Result<Vec<Part<'_>>, Denial> {
    fields
        .iter()
        .map(|field| match field.node.as_ref() {
            Some(NodeEnum::String(name)) => Ok(Part::Name(name.sval.as_str())),
            Some(NodeEnum::AStar(_)) => Ok(Part::Star),
            _ => Err(unsupported("this kind of column name")),
        })
        .collect()
}

/// The text of a list of String nodes.
pub(super) fn strings(nodes: &[Node]) -> Result<Vec<&str>, Denial> {
    nodes
        .iter()
        .map(|node| match node.node.as_ref() {
            Some(NodeEnum::String(name)) => Ok(name.sval.as_str()),
            _ => Err(unsupported("this kind of name")),
        })
        .collect()
}

fn system_column(id: EntryId) -> Reading {
    Reading {
        entries: vec![id],
        ..Reading::default()
    }
}

fn with_open(mut reading: Reading, open: &[EntryId]) -> Reading {
    if !open.is_empty() {
        reading.entries.extend(open);
        reading.ty = Ty::Unknown;
        reading.plain = false;
        reading.tenant = None;
        reading.sealed = false;
    }
    reading
}

/// The server will refuse the name as ambiguous; until then it reads everything it may mean.
fn ambiguous(readings: Vec<Reading>) -> Reading {
    let entries = readings
        .into_iter()
        .flat_map(|reading| reading.entries)
        .collect();
    Reading {
        entries,
        ..Reading::default()
    }
}

/// As PostgreSQL words it: SQLSTATE 42703.
fn unknown_column_of(relation: &str, name: &str) -> Denial {
    Denial {
        message: format!("column {relation}.{name} does not exist"),
        ..unknown_column(name)
    }
}

pub(super) fn unknown_column(name: &str) -> Denial {
    Denial {
        sqlstate: "42703",
        message: format!("column \"{name}\" does not exist"),
        ..Denial::new(DenyReason::AmbiguousColumn, "")
    }
}
