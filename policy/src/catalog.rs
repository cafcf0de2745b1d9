//! The catalogue snapshot: what the engine knows of the database.
//!
//! `schema/` reads it from a live server and offline commands read it from a file; the engine only
//! looks things up. What is not in the snapshot does not exist for the engine, hence is denied.
//! pg_catalog's own functions, operators and types are not listed here: they are classified by the
//! engine's own tables. System *relations* are listed, so that their columns are known.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

/// How many domains may stand over one another.
const DOMAINS_MAX: usize = 16;

/// What `atttypmod` of a string counts beside its characters (`VARHDRSZ`).
const HEADER_BYTES: i32 = 4;

/// A PostgreSQL object identifier.
pub type Oid = u32;

/// Of a type that is made just now, and has no number yet (`InvalidOid`).
pub(crate) const NO_NUMBER: Oid = 0;

/// Everything that was read, as plain lists (the file format of offline commands).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogParts {
    /// `server_version_num`, such as 150018.
    pub server_version_num: u32,
    /// The schemas' names.
    pub schemas: Vec<String>,
    /// Tables, views and everything else that stands in `pg_class` and can be selected from.
    pub relations: Vec<Relation>,
    /// All types, those of pg_catalog included (columns name their type by oid).
    pub types: Vec<Type>,
    /// Functions outside pg_catalog, those of extensions included.
    pub functions: Vec<Function>,
    /// Operators outside pg_catalog.
    pub operators: Vec<Operator>,
    /// Casts that call a function outside pg_catalog, and all that are applied unasked.
    pub casts: Vec<Cast>,
}

/// What kind of object a relation is (`pg_class.relkind`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// An ordinary table.
    Table,
    /// A partitioned table.
    PartitionedTable,
    /// A view.
    View,
    /// A materialised view.
    MaterializedView,
    /// A foreign table.
    ForeignTable,
    /// A sequence.
    Sequence,
    /// Anything else that `pg_class` holds (index, toast table, composite type).
    Other,
}

/// A table, view, sequence….
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relation {
    /// `pg_class.oid`.
    pub oid: Oid,
    /// The schema's name, unquoted.
    pub schema: String,
    /// The relation's name, unquoted.
    pub name: String,
    /// What it is.
    pub kind: RelationKind,
    /// The live columns in order of `attnum`; system columns and dropped ones are left out.
    pub columns: Vec<Column>,
    /// Partition or inheritance parents.
    pub parents: Vec<Oid>,
    /// Whether this is a partition of its parent.
    pub is_partition: bool,
    /// `relrowsecurity`.
    pub row_security: bool,
    /// `relforcerowsecurity`.
    pub force_row_security: bool,
    /// How many policies of row level security it has.
    #[serde(default)]
    pub policies: i32,
    /// For views: `security_invoker`.
    pub security_invoker: bool,
    /// For views: the relations that its definition names (`pg_depend` through `pg_rewrite`).
    pub depends_on: Vec<Oid>,
    /// The extension that owns it.
    pub extension: Option<String>,
    /// For views: the stored query, its names qualified as for an empty `search_path`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// For views: `security_barrier`.
    #[serde(default)]
    pub security_barrier: bool,
    /// Whether a rewrite rule or an INSTEAD OF trigger stands between a statement that writes and
    /// the rows (`pg_rewrite`, `pg_trigger`).
    #[serde(default)]
    pub redirects_writes: bool,
    /// Whether a write may run code that somebody wrote: a trigger's, or a function's or operator's in
    /// a default, check or index, of the relation itself or of one that the write goes on to
    /// (partitions, the table behind a view, rows that a foreign key changes).
    #[serde(default = "unknown")]
    pub runs_code: bool,
    /// `relpersistence`: it has no rows on a standby.
    #[serde(default)]
    pub unlogged: bool,
    /// The columns of each unique index that holds for all rows at once (`pg_index`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<Vec<i16>>,
    /// The tables that its foreign keys refer to (`pg_constraint`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<Oid>,
}

/// Of a relation in a snapshot that does not say so.
fn unknown() -> bool {
    true
}

/// A column of a relation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// The column's name, unquoted.
    pub name: String,
    /// `attnum`.
    pub number: i16,
    /// `atttypid`.
    pub type_oid: Oid,
    /// `attnotnull`.
    pub not_null: bool,
    /// Whether the value is generated (`GENERATED ALWAYS AS (…)`).
    pub generated: bool,
    /// `attidentity`: `GENERATED … AS IDENTITY`.
    pub identity: bool,
    /// Whether there is a default.
    pub has_default: bool,
    /// `atttypmod`, where the type has one: of `varchar(n)` it is n and 4 more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifier: Option<i32>,
}

/// What kind of type it is (`pg_type.typtype`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TypeKind {
    /// A base type; `element` is set for true arrays.
    Base,
    /// A composite type, that of a table included.
    Composite,
    /// A domain.
    Domain,
    /// An enum.
    Enum,
    /// A range.
    Range,
    /// A multirange.
    Multirange,
    /// A pseudo-type.
    Pseudo,
}

/// A type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Type {
    /// `pg_type.oid`.
    pub oid: Oid,
    /// The schema's name.
    pub schema: String,
    /// The type's name, such as `int4` or `_text`.
    pub name: String,
    /// What it is.
    pub kind: TypeKind,
    /// For an array: the element's type.
    pub element: Oid,
    /// For a domain: the type under it.
    pub base: Oid,
    /// For a domain: `typtypmod`, where the type under it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modifier: Option<i32>,
    /// The extension that owns it.
    pub extension: Option<String>,
    /// Whether converting a value to it may call a function outside pg_catalog: a domain with such
    /// a check, or an array, composite, range or domain that is made of one.
    pub check_calls_function: bool,
    /// The functions outside pg_catalog, and of no extension, that its operator classes call to
    /// compare two values; those of what it is made of, too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compared_by: Vec<FunctionName>,
}

/// A function's name, and its schema's; all overloads of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FunctionName {
    /// The schema's name.
    pub schema: String,
    /// The function's name.
    pub name: String,
}

/// `pg_proc.prokind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FunctionKind {
    /// A function.
    Function,
    /// A procedure.
    Procedure,
    /// An aggregate.
    Aggregate,
    /// A window function.
    Window,
}

/// A function outside pg_catalog. One entry for each overload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// The schema's name.
    pub schema: String,
    /// The function's name.
    pub name: String,
    /// What it is.
    pub kind: FunctionKind,
    /// `pg_language.lanname`.
    pub language: String,
    /// The extension that owns it.
    pub extension: Option<String>,
    /// `proleakproof`.
    pub leakproof: bool,
    /// `prosecdef`.
    pub security_definer: bool,
    /// `provolatile`: `i`, `s` or `v`.
    pub volatility: char,
    /// The arguments' types.
    pub arguments: Vec<Oid>,
    /// How many of the last arguments may be left out (`pronargdefaults`).
    pub defaults: u16,
    /// Whether the last argument takes any number of values (`provariadic`).
    pub variadic: bool,
    /// `proretset`.
    pub returns_set: bool,
}

/// An operator outside pg_catalog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operator {
    /// The schema's name.
    pub schema: String,
    /// The operator's name, such as `%`.
    pub name: String,
    /// The type of its left operand; 0 for a prefix operator.
    pub left: Oid,
    /// The type of its right operand.
    pub right: Oid,
    /// The schema of the function behind it.
    pub function_schema: String,
    /// The function behind it.
    pub function: String,
    /// Whether that function is leakproof.
    pub leakproof: bool,
    /// The extension that owns it.
    pub extension: Option<String>,
}

/// When a cast is applied (`pg_cast.castcontext`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CastContext {
    /// Where it is written.
    Explicit,
    /// Also where a value is stored in a column.
    Assignment,
    /// Wherever a value of another type is wanted.
    Implicit,
}

/// A cast that calls a function outside pg_catalog, or is applied unasked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cast {
    /// From this type.
    pub source: Oid,
    /// To this type.
    pub target: Oid,
    /// When it is applied.
    pub context: CastContext,
    /// The function outside pg_catalog that it calls, if it calls one.
    pub function: Option<FunctionName>,
    /// The extension that owns it.
    pub extension: Option<String>,
}

/// The snapshot with its indexes.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    parts: CatalogParts,
    relations: HashMap<String, HashMap<String, usize>>,
    relations_by_oid: HashMap<Oid, usize>,
    types_by_oid: HashMap<Oid, usize>,
    types: HashMap<String, Vec<usize>>,
    functions: HashMap<String, Vec<usize>>,
    operators: HashMap<String, Vec<usize>>,
    /// The pairs of types of which the first is taken for the second.
    implicit_casts: HashSet<(Oid, Oid)>,
    /// The casts that call functions outside pg_catalog.
    calling_casts: Vec<usize>,
    /// Relations that are unlogged, or have partitions or children that are.
    unlogged: HashSet<Oid>,
}

impl Catalog {
    /// Builds the indexes.
    pub fn new(parts: CatalogParts) -> Self {
        let mut catalog = Self::default();
        for (at, relation) in parts.relations.iter().enumerate() {
            catalog
                .relations
                .entry(relation.schema.clone())
                .or_default()
                .insert(relation.name.clone(), at);
            catalog.relations_by_oid.insert(relation.oid, at);
        }
        for (at, ty) in parts.types.iter().enumerate() {
            catalog.types.entry(ty.name.clone()).or_default().push(at);
            catalog.types_by_oid.insert(ty.oid, at);
        }
        for (at, function) in parts.functions.iter().enumerate() {
            let entry = catalog.functions.entry(function.name.clone());
            entry.or_default().push(at);
        }
        for (at, operator) in parts.operators.iter().enumerate() {
            let entry = catalog.operators.entry(operator.name.clone());
            entry.or_default().push(at);
        }
        for (at, cast) in parts.casts.iter().enumerate() {
            if cast.context == CastContext::Implicit {
                catalog.implicit_casts.insert((cast.source, cast.target));
            }
            if cast.function.is_some() {
                catalog.calling_casts.push(at);
            }
        }
        catalog.parts = parts;
        catalog.note_unlogged();
        catalog
    }

    fn note_unlogged(&mut self) {
        let unlogged = self.parts.relations.iter().filter(|it| it.unlogged);
        let mut open: Vec<Oid> = unlogged.map(|relation| relation.oid).collect();
        while let Some(oid) = open.pop() {
            if self.unlogged.insert(oid) {
                let relation = self.relation_by_oid(oid);
                open.extend(relation.into_iter().flat_map(|it| &it.parents));
            }
        }
    }

    /// The plain lists.
    pub fn parts(&self) -> &CatalogParts {
        &self.parts
    }

    /// The relation of that schema and name.
    pub fn relation(&self, schema: &str, name: &str) -> Option<&Relation> {
        let at = *self.relations.get(schema)?.get(name)?;
        self.parts.relations.get(at)
    }

    /// Whether rows of a relation, or of those below it, are on the primary only.
    pub fn is_unlogged(&self, relation: Oid) -> bool {
        self.unlogged.contains(&relation)
    }

    /// The relation of that oid.
    pub fn relation_by_oid(&self, oid: Oid) -> Option<&Relation> {
        let at = *self.relations_by_oid.get(&oid)?;
        self.parts.relations.get(at)
    }

    /// The type of that oid.
    pub fn type_by_oid(&self, oid: Oid) -> Option<&Type> {
        let at = *self.types_by_oid.get(&oid)?;
        self.parts.types.get(at)
    }

    /// The type under a domain, and under the domains below it; of any other type itself. One that is
    /// made of too many is none of pg_catalog's.
    pub fn base_type(&self, oid: Oid) -> Oid {
        let mut oid = oid;
        for _ in 0..DOMAINS_MAX {
            match self.type_by_oid(oid) {
                Some(ty) if ty.kind == TypeKind::Domain => oid = ty.base,
                _ => break,
            }
        }
        oid
    }

    /// How many characters a column of `varchar(n)` keeps, or of a domain over it. Blanks beyond are cut without an
    /// error.
    pub fn length(&self, column: &Column) -> Option<i32> {
        let mut oid = column.type_oid;
        let mut modifier = column.modifier;
        for _ in 0..DOMAINS_MAX {
            match self.type_by_oid(oid) {
                Some(ty) if ty.kind == TypeKind::Domain => {
                    modifier = modifier.or(ty.modifier);
                    oid = ty.base;
                }
                _ => break,
            }
        }
        modifier.map(|modifier| modifier.saturating_sub(HEADER_BYTES))
    }

    /// All types of that name, in whatever schema.
    pub fn types_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Type> {
        let found = self.types.get(name).into_iter().flatten();
        found.filter_map(|at| self.parts.types.get(*at))
    }

    /// All functions of that name outside pg_catalog, in whatever schema.
    pub fn functions_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Function> {
        let found = self.functions.get(name).into_iter().flatten();
        found.filter_map(|at| self.parts.functions.get(*at))
    }

    /// All operators of that name outside pg_catalog, in whatever schema.
    pub fn operators_named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Operator> {
        let found = self.operators.get(name).into_iter().flatten();
        found.filter_map(|at| self.parts.operators.get(*at))
    }

    /// The casts that call functions outside pg_catalog.
    pub fn calling_casts(&self) -> impl Iterator<Item = (&Cast, &FunctionName)> {
        let casts = self.calling_casts.iter();
        let casts = casts.filter_map(|at| self.parts.casts.get(*at));
        casts.filter_map(|cast| Some((cast, cast.function.as_ref()?)))
    }

    /// Whether a value of the first type is taken for one of the second unasked.
    pub fn has_implicit_cast(&self, source: Oid, target: Oid) -> bool {
        self.implicit_casts.contains(&(source, target))
    }
}

impl Relation {
    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
