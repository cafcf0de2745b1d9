//! The name of a relation: what it means, how that is guarded, and what its columns are.

use pg_query::protobuf::RangeVar;

use super::from::{alias_name, rename};
use super::names::{Column, Ty};
use super::{Decision, Entry, EntryId, EntryKind, Judge, Named, unsupported};
use crate::bind::{Guard, Key};
use crate::catalog::{NO_NUMBER, Relation, RelationKind};
use crate::deny::{Denial, DenyReason};
use crate::rules::{Access, MissingFilter, MissingValue};
use crate::temporary;

/// What a relation's name was found to mean, and how it is guarded.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) relation: Relation,
    pub(super) kind: EntryKind,
    pub(super) columns: Vec<Column>,
    pub(super) decision: Decision,
    pub(super) wishes: (MissingFilter, MissingValue),
}

impl Found {
    /// `schema.table`, for messages.
    pub(super) fn shown(&self) -> String {
        format!("{}.{}", self.relation.schema, self.relation.name)
    }
}

impl Judge<'_> {
    /// The relation that a name means, and its schema: explicit, or by `search_path` with
    /// the temporary ones and pg_catalog searched first unless the path names them.
    pub(super) fn find_relation(&self, schema: &str, name: &str) -> Result<&Relation, Denial> {
        let catalog = &self.bound.catalog;
        let found = |schema: &str| match temporary::is_schema(schema) {
            true => self.temporaries.find(name),
            false => self.fresh.find(catalog, schema, name),
        };
        if schema != temporary::SCHEMA {
            self.fresh.refuse_unclear(name)?;
            // A stored query means what was there when it was stored.
            if self.in_view && self.fresh.is_made(schema, name) {
                return Err(made_in_this_message(name));
            }
        }
        if !schema.is_empty() {
            let own = schema == temporary::SCHEMA || !temporary::is_schema(schema);
            let relation = own.then(|| found(schema)).flatten();
            let nowhere = self.is_told_of(schema);
            return relation.ok_or_else(|| unknown(format!("{schema}.{name}"), nowhere));
        }
        let order = || temporary::lookup_order(&self.request.facts.search_path);
        order().find_map(found).ok_or_else(|| {
            let nowhere = order().all(|schema| self.is_told_of(schema));
            unknown(name.to_owned(), nowhere)
        })
    }

    /// Whether clients are told what exists in a schema: it is discovered, or the same everywhere.
    fn is_told_of(&self, schema: &str) -> bool {
        temporary::is_schema(schema)
            || matches!(schema, "pg_catalog" | "information_schema")
            || self.bound.policy.defaults.discovers(schema)
    }

    /// Resolves a relation's name, writes its schema into the tree, and makes its entry.
    pub(super) fn relation_reference(
        &mut self,
        range: &mut RangeVar,
        write: bool,
    ) -> Result<EntryId, Denial> {
        if !range.catalogname.is_empty() {
            return Err(unsupported("a table name with a database")
                .hint("Leave the name of the database out."));
        }
        let relation = self
            .find_relation(&range.schemaname, &range.relname)?
            .clone();
        let guarded = self.guarded(&relation)?.clone();
        let (kind, hidden, guard) = self.entry_kind(&guarded.guard, &relation, write)?;
        if write && relation.runs_code {
            self.findings.calls_users.set(true);
        }
        let keys = match &guarded.guard {
            Guard::Keys(keys) => keys.clone(),
            Guard::Global(_) | Guard::System(_) | Guard::View(_) | Guard::Denied(..) => Vec::new(),
        };
        let columns = relation.columns.iter();
        let columns = columns.map(|column| base_column(column, &keys, hidden));
        let found = Found {
            columns: columns.collect(),
            kind,
            decision: Decision::Relation {
                schema: relation.schema.clone(),
                name: relation.name.clone(),
                scoped: keys,
            },
            wishes: (guarded.missing_filter, guarded.missing_value),
            relation,
        };
        self.uses(found.shown(), write, guard);
        self.refer(range, found)
    }

    /// Makes the entry of a relation, and writes its schema into the tree.
    pub(super) fn refer(&mut self, range: &mut RangeVar, found: Found) -> Result<EntryId, Denial> {
        let Found {
            relation,
            kind,
            mut columns,
            decision,
            wishes,
        } = found;
        let aliased = range.alias.is_some();
        let name = alias_name(range.alias.as_ref(), &range.relname)?;
        rename(&mut columns, range.alias.as_ref())?;
        let kind = self.rename_keys(kind, &relation, &columns)?;
        self.decide(range.location, decision);
        if !self.is_replicated(&relation) {
            self.findings.primary_only.set(true);
        }
        if range.schemaname.is_empty() {
            range.schemaname.clone_from(&relation.schema);
            // A system relation alone is no reason to send other words than the client's.
            if relation.schema != "pg_catalog" {
                self.named = self.named.max(self.naming(&relation.schema));
            }
        }
        let schema = (!aliased).then(|| relation.schema.clone());
        let id = self.add_entry(Entry {
            name,
            schema,
            columns,
            open: false,
            kind,
        });
        self.places.insert(id, range.location);
        self.wishes.insert(id, wishes);
        Ok(id)
    }

    /// Whether a standby has the relation's rows, and they say the same there.
    fn is_replicated(&self, relation: &Relation) -> bool {
        let stored = match relation.kind {
            RelationKind::Table
            | RelationKind::PartitionedTable
            | RelationKind::MaterializedView => true,
            RelationKind::View
            | RelationKind::ForeignTable
            | RelationKind::Sequence
            | RelationKind::Other => false,
        };
        let own = ["pg_catalog", "information_schema", "pg_temp"];
        stored
            && !own.contains(&relation.schema.as_str())
            && !self.bound.catalog.is_unlogged(relation.oid)
    }

    /// Whether a bare name can come to mean another relation. Nothing stands before the first schema
    /// of the path but temporary relations and pg_catalog, which are known.
    fn naming(&self, schema: &str) -> Named {
        let first = self.request.facts.search_path.first();
        if first.is_some_and(|first| first == schema) {
            Named::First
        } else {
            Named::Later
        }
    }

    pub(super) fn entry_kind(
        &self,
        guard: &Guard,
        relation: &Relation,
        write: bool,
    ) -> Result<(EntryKind, &'static [&'static str], String), Denial> {
        let shown = || format!("{}.{}", relation.schema, relation.name);
        let read_only = || {
            Denial::new(
                DenyReason::ReadOnlyRelation,
                format!("relation \"{}\" may only be read", shown()),
            )
            .table(shown())
        };
        if write && relation.redirects_writes {
            let why = "has a rule or an INSTEAD OF trigger, whose own statements are not judged";
            let denial = Denial::new(
                DenyReason::OpaqueRelation,
                format!("relation \"{}\" {why}", shown()),
            );
            return Err(denial
                .table(shown())
                .hint("Make the rule an AFTER trigger."));
        }
        match guard {
            Guard::Keys(keys) => {
                let names: Vec<String> = keys.iter().map(Key::shown).collect();
                let kind = EntryKind::Scoped {
                    keys: keys.clone(),
                    table: shown(),
                    nullable: false,
                };
                Ok((kind, &[], names.join(", ")))
            }
            Guard::Global(Access::Write) => {
                Ok((EntryKind::Free { writable: true }, &[], "global".to_owned()))
            }
            Guard::Global(Access::Read) if !write => Ok((
                EntryKind::Free { writable: false },
                &[],
                "global".to_owned(),
            )),
            Guard::System(hidden) if !write => Ok((
                EntryKind::Free { writable: false },
                hidden,
                "system".to_owned(),
            )),
            Guard::System(_) => Err(Denial::new(
                DenyReason::IdentityGuard,
                format!("relation \"{}\" can't be written", shown()),
            )
            .table(shown())),
            Guard::Global(Access::Deny) => Err(Denial::new(
                DenyReason::UnlistedRelation,
                format!("relation \"{}\" can't be used", shown()),
            )
            .table(shown())),
            Guard::Global(Access::Read) => Err(read_only()),
            Guard::View(_) => Err(Denial::new(
                DenyReason::OpaqueRelation,
                format!("view \"{}\" can't be used in this place", shown()),
            )
            .table(shown())
            .hint("Use the table behind it.")),
            Guard::Denied(reason, why) => Err(Denial::new(
                *reason,
                format!("relation \"{}\" {why}", shown()),
            )),
        }
    }

    /// The keys' columns under the names that a column alias list gives them.
    fn rename_keys(
        &self,
        kind: EntryKind,
        relation: &Relation,
        columns: &[Column],
    ) -> Result<EntryKind, Denial> {
        let EntryKind::Scoped {
            mut keys,
            table,
            nullable,
        } = kind
        else {
            return Ok(kind);
        };
        for key in &mut keys {
            let at = relation
                .columns
                .iter()
                .position(|column| column.name == key.column);
            let renamed = at.and_then(|at| columns.get(at));
            let Some(renamed) = renamed else {
                return Err(unsupported("a scoped relation without its tenant column"));
            };
            let twice = columns
                .iter()
                .filter(|column| column.name == renamed.name)
                .count()
                > 1;
            if twice {
                return Err(unsupported(
                    "a column alias list with the tenant column's name twice",
                ));
            }
            key.column.clone_from(&renamed.name);
        }
        Ok(EntryKind::Scoped {
            keys,
            table,
            nullable,
        })
    }
}

fn base_column(column: &crate::catalog::Column, keys: &[Key], hidden: &[&str]) -> Column {
    let key = keys.iter().find(|key| key.column == column.name);
    Column {
        name: column.name.clone(),
        ty: match column.type_oid {
            NO_NUMBER => Ty::Unknown,
            oid => Ty::Known(oid),
        },
        // A virtual generated column computes when it is read.
        plain: !column.generated,
        sealed: false,
        tenant: key.filter(|key| key.via.is_none()).map(|key| key.slot),
        hidden: hidden.contains(&column.name.as_str()),
        unstarred: false,
    }
}

/// What exists `nowhere` that clients are told of is PostgreSQL's own error, which drivers and
/// migration tools look for. Elsewhere the code does not tell it from what is denied.
fn unknown(shown: String, nowhere: bool) -> Denial {
    let hint = "If it was created just now, try again: the catalogue is being read.";
    let mut denial = Denial::new(
        DenyReason::UnknownRelation,
        format!("relation \"{shown}\" is not known"),
    );
    if nowhere {
        denial = Denial {
            sqlstate: "42P01",
            ..Denial::new(
                DenyReason::UnknownRelation,
                format!("relation \"{shown}\" does not exist"),
            )
        };
    }
    denial.table(shown).hint(hint)
}

/// What only the server could tell of, before the next message.
pub(super) fn made_in_this_message(name: &str) -> Denial {
    let text = format!("relation \"{name}\" is made or changed in this message, and not known yet");
    Denial::new(DenyReason::UnknownRelation, text).table(name.to_owned()).hint(
        "It is known from the next message on: send what uses it in a message of its own. Inside BEGIN … COMMIT both \
         are one transaction.",
    )
}
