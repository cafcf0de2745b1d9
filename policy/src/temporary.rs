//! The temporary relations of a session.
//!
//! The server tells them (`schema/` has the question), after everything that may have changed them:
//! rollbacks, savepoints and `ON COMMIT DROP` are followed exactly. Only within one message, which
//! nobody can interrupt, is a table that it makes known from its text, up to the end of the transaction. They hold what the session itself may read, hence belong to nobody else.
//! The name `pg_temp` stands for the session's own schema of them, whatever its number.

use std::sync::Arc;

use crate::bind::{Guard, Guarded};
use crate::catalog::{Column, Oid, Relation, RelationKind};
use crate::deny::DenyReason;
use crate::rules::{Access, MissingFilter, MissingValue};

/// The schema that every session calls its own.
pub const SCHEMA: &str = "pg_temp";

/// So many are tracked: each enters the key of every plan of the session.
pub const MOST: usize = 256;

/// The longest name that PostgreSQL keeps (`NAMEDATALEN` less one).
const NAME_BYTES: usize = 63;

/// What a temporary relation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An ordinary table.
    Table,
    /// A view. What the session has made is filtered, and a fence where that matters.
    View,
    /// A sequence, also that of a column.
    Sequence,
    /// Indexes and all else that shares the space of names.
    Other,
}

impl Kind {
    /// The kind of a `relkind`.
    pub fn of(relkind: &str) -> Self {
        match relkind {
            "r" => Self::Table,
            "v" => Self::View,
            "S" => Self::Sequence,
            _ => Self::Other,
        }
    }
}

/// A temporary relation, as the server tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    /// `relname`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// The columns' names, types, and whether they are generated.
    pub columns: Vec<(String, Oid, bool)>,
}

/// The temporary relations of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Temporaries {
    relations: Arc<[Relation]>,
    /// All of it, for the plan cache's key.
    key: Arc<[u8]>,
}

impl Temporaries {
    /// All that the server has told.
    pub fn new(told: Vec<Temporary>) -> Self {
        let key = format!("{told:?}").into_bytes();
        let relations: Arc<[Relation]> = told.into_iter().map(relation).collect();
        Self {
            key: if relations.is_empty() {
                Arc::default()
            } else {
                key.into()
            },
            relations,
        }
    }

    /// The same and one that the message has just made.
    pub(crate) fn with(&self, made: Temporary) -> Self {
        let key = [&*self.key, format!("{made:?}").as_bytes()].concat();
        let known = self.relations.iter().cloned();
        Self {
            key: key.into(),
            relations: known.chain([relation(made)]).collect(),
        }
    }

    /// The same without one that the message has just dropped.
    pub(crate) fn without(&self, name: &str) -> Self {
        let known = self.relations.iter().filter(|known| known.name != name);
        Self {
            key: [&*self.key, b"-", name.as_bytes()].concat().into(),
            relations: known.cloned().collect(),
        }
    }

    /// The same without the sequences, of which nobody knows any more which are there.
    pub(crate) fn without_sequences(&self) -> Self {
        let kept = |known: &&Relation| known.kind != RelationKind::Sequence;
        Self {
            key: [&*self.key, b"-S"].concat().into(),
            relations: self.relations.iter().filter(kept).cloned().collect(),
        }
    }

    /// A relation of this name, as the server would tell it.
    pub(crate) fn told(&self, name: &str) -> Option<Temporary> {
        let relation = self.find(name)?;
        let columns = relation.columns.iter();
        Some(Temporary {
            name: relation.name.clone(),
            kind: match relation.kind {
                RelationKind::Table => Kind::Table,
                RelationKind::View => Kind::View,
                RelationKind::Sequence => Kind::Sequence,
                RelationKind::PartitionedTable
                | RelationKind::MaterializedView
                | RelationKind::ForeignTable
                | RelationKind::Other => Kind::Other,
            },
            columns: columns
                .map(|column| (column.name.clone(), column.type_oid, column.generated))
                .collect(),
        })
    }

    /// The names of the views.
    pub fn views(&self) -> impl Iterator<Item = &str> {
        let views = |known: &&Relation| known.kind == RelationKind::View;
        self.relations
            .iter()
            .filter(views)
            .map(|known| known.name.as_str())
    }

    /// The same without what some views hold: nobody reads them, and their names stay taken.
    pub fn barring(&self, is_barred: impl Fn(&str) -> bool) -> Self {
        if !self.views().any(&is_barred) {
            return self.clone();
        }
        let mut key = self.key.to_vec();
        let relations = self.relations.iter().cloned().map(|mut known| {
            if known.kind == RelationKind::View && is_barred(&known.name) {
                known.kind = RelationKind::Other;
                key.extend_from_slice(b"!");
                key.extend_from_slice(known.name.as_bytes());
            }
            known
        });
        let relations = relations.collect();
        Self {
            relations,
            key: key.into(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.relations.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.relations.len()
    }

    pub(crate) fn find(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    /// Whether the row type of one, or an array of it, may have this name.
    pub(crate) fn shadows_type(&self, name: &str) -> bool {
        let mut relations = self.relations.iter();
        relations.any(|relation| may_name_rows(name, &relation.name))
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }
}

/// Whether a schema of `search_path` is a session's own: the server tells it by its number.
pub(crate) fn is_schema(name: &str) -> bool {
    name == SCHEMA || name.starts_with("pg_temp_")
}

/// Whether a type's name may mean the rows of a relation, or an array of them.
pub(crate) fn may_name_rows(name: &str, of: &str) -> bool {
    // PostgreSQL puts underscores in front of an array type's name until it is free.
    let wanted = name.trim_start_matches('_');
    let own = of.trim_start_matches('_');
    own == wanted || name.len() >= NAME_BYTES && own.starts_with(wanted)
}

/// The schemas in which an unqualified name of a relation is looked up, in order: those that the
/// path does not name come first.
pub(crate) fn lookup_order(path: &[String]) -> impl Iterator<Item = &str> {
    let named = |schema: &str| path.iter().any(|known| known == schema);
    let own = (!path.iter().any(|schema| is_schema(schema))).then_some(SCHEMA);
    let system = (!named("pg_catalog")).then_some("pg_catalog");
    own.into_iter()
        .chain(system)
        .chain(path.iter().map(String::as_str))
}

/// How a temporary relation is guarded: it is the session's own.
pub(crate) fn guarded(relation: &Relation) -> &'static Guarded {
    static TABLE: Guarded = Guarded {
        guard: Guard::Global(Access::Write),
        missing_filter: MissingFilter::Rewrite,
        missing_value: MissingValue::Fill,
    };
    static READ: Guarded = Guarded {
        guard: Guard::Global(Access::Read),
        missing_filter: MissingFilter::Rewrite,
        missing_value: MissingValue::Fill,
    };
    static OTHER: Guarded = Guarded {
        guard: Guard::Denied(DenyReason::UnlistedRelation, "is not a table"),
        missing_filter: MissingFilter::Rewrite,
        missing_value: MissingValue::Fill,
    };
    match relation.kind {
        RelationKind::Table => &TABLE,
        RelationKind::View | RelationKind::Sequence => &READ,
        RelationKind::PartitionedTable
        | RelationKind::MaterializedView
        | RelationKind::ForeignTable
        | RelationKind::Other => &OTHER,
    }
}

/// What a relation is, as far as the session or a message has told it.
pub(crate) fn relation(told: Temporary) -> Relation {
    let columns = (1..).zip(told.columns);
    let columns = columns.map(|(number, told)| column(number, told));
    Relation {
        oid: 0,
        schema: SCHEMA.to_owned(),
        name: told.name,
        kind: match told.kind {
            Kind::Table => RelationKind::Table,
            Kind::View => RelationKind::View,
            Kind::Sequence => RelationKind::Sequence,
            Kind::Other => RelationKind::Other,
        },
        columns: columns.collect(),
        parents: Vec::new(),
        is_partition: false,
        row_security: false,
        force_row_security: false,
        policies: 0,
        security_invoker: false,
        depends_on: Vec::new(),
        extension: None,
        definition: None,
        security_barrier: false,
        redirects_writes: false,
        keys: Vec::new(),
        references: Vec::new(),
        // Its defaults and checks may call what was judged when it was made.
        runs_code: true,
        unlogged: false,
    }
}

fn column(number: i16, (name, type_oid, generated): (String, Oid, bool)) -> Column {
    Column {
        name,
        number,
        type_oid,
        not_null: false,
        generated,
        identity: false,
        has_default: false,
        modifier: None,
    }
}

/// The relation has one more column, the last.
pub(crate) fn add_column(relation: &mut Relation, told: (String, Oid, bool)) {
    let last = relation.columns.last().map_or(0, |last| last.number);
    relation.columns.push(column(last.saturating_add(1), told));
}
