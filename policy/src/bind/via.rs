//! Tables without a tenant column, reached through a parent: `column` equals the parent's `key`,
//! and the parent is scoped by a column of its own or through a parent in turn.
//!
//! The rows of such a table are those that `EXISTS (SELECT FROM parent WHERE key = column AND …)`
//! admits. The equality must be pg_catalog's own and leakproof, so both columns must be of one
//! family of types, and a `varchar(n)` must hold all that the parent's key may: blanks that are cut without an
//! error would make a reference one to another row. Anything else is a problem of the policy.

use std::sync::Arc;

use super::{Binder, Guard, Guarded, Key};
use crate::catalog::{Oid, Relation, RelationKind};
use crate::rules::{QualifiedName, Scope};

/// How many parents may stand between a table and the tenant's value.
const MOST_PARENTS: usize = 8;

/// The way from a column to the tenant's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Via {
    /// The type of the referencing column, a name in pg_catalog.
    pub(crate) column_type: &'static str,
    /// The parents, the nearest first; never empty.
    pub(crate) parents: Vec<Parent>,
}

/// A parent on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parent {
    /// Its schema.
    pub(crate) schema: String,
    /// Its name.
    pub(crate) table: String,
    /// The column that the child's column equals.
    pub(crate) key: String,
    /// The column that goes on: of the last parent, the one that holds the tenant's value.
    pub(crate) column: String,
}

impl Binder<'_> {
    /// Binds the tables that are reached through parents, once all others are bound.
    pub(super) fn bind_children(&mut self) {
        let policy = self.policy;
        for rule in &policy.tables {
            let Scope::Via {
                column,
                parent,
                key,
            } = &rule.scope
            else {
                continue;
            };
            let Some(relation) = self.catalog.relation(&rule.name.schema, &rule.name.name) else {
                continue;
            };
            if let Some(found) = self.via(relation, (column, parent, key)) {
                let guarded = Guarded {
                    guard: Guard::Keys(vec![found]),
                    ..self.with_wishes(rule)
                };
                self.listed.insert(relation.oid, guarded);
            }
        }
    }

    fn via(&mut self, child: &Relation, first: (&str, &QualifiedName, &str)) -> Option<Key> {
        let (policy, catalog) = (self.policy, self.catalog);
        let (column, mut name, mut key) = first;
        let (mut from, mut through) = (child, column);
        let column_type = self.reference_type(child, child, column)?;
        let mut parents = Vec::new();
        while parents.len() < MOST_PARENTS {
            let Some(parent) = catalog.relation(&name.schema, &name.name) else {
                self.unknown_table(name);
                return None;
            };
            self.check_reference(child, (from, through), (parent, key))?;
            let link = |column: &str| Parent {
                schema: parent.schema.clone(),
                table: parent.name.clone(),
                key: key.to_owned(),
                column: column.to_owned(),
            };
            let rule = policy.tables.iter().find(|rule| rule.name == *name);
            if let Some(Scope::Via {
                column,
                parent: next,
                key: its_key,
            }) = rule.map(|rule| &rule.scope)
            {
                parents.push(link(column));
                (from, through, name, key) = (parent, column, next, its_key);
                continue;
            }
            let only = self.only_key(child, parent)?;
            parents.push(link(&only.column));
            return Some(Key {
                column: column.to_owned(),
                via: Some(Arc::new(Via {
                    column_type,
                    parents,
                })),
                ..only
            });
        }
        let message = format!("more than {MOST_PARENTS} parents, or a circle of them");
        self.problem(child, message, None);
        None
    }

    /// The column that holds the tenant's value in the last parent.
    fn only_key(&mut self, child: &Relation, parent: &Relation) -> Option<Key> {
        let shown = shown(parent);
        let why = match self.guarded(parent).guard {
            Guard::Keys(keys) => match keys.as_slice() {
                [only] if only.via.is_none() => return Some(only.clone()),
                _ => "is not scoped by one column of its own",
            },
            Guard::View(_) => "is a view",
            Guard::Global(_) | Guard::System(_) | Guard::Denied(..) => "is not scoped",
        };
        self.problem(child, format!("its parent \"{shown}\" {why}"), None);
        None
    }

    fn check_reference(
        &mut self,
        child: &Relation,
        (from, column): (&Relation, &str),
        (parent, key): (&Relation, &str),
    ) -> Option<()> {
        let own = self.reference_type(child, from, column)?;
        let its = self.reference_type(child, parent, key)?;
        let cut = self.cut(from, column).filter(|length| {
            let longest = self.cut(parent, key);
            longest.is_none_or(|longest| longest > *length)
        });
        if family(own) == family(its) && cut.is_none() {
            return Some(());
        }
        let (of, its_of) = (shown(from), shown(parent));
        let message = match cut {
            Some(length) => format!(
                "column \"{column}\" of \"{of}\" holds {length} characters, but \"{key}\" of \"{its_of}\" more: what is \
                 cut could refer to another row; give both the same length"
            ),
            None => format!(
                "column \"{column}\" of \"{of}\" is {own}, but \"{key}\" of \"{its_of}\" is {its}"
            ),
        };
        self.problem(child, message, None);
        None
    }

    /// How many characters a column keeps of what it is given.
    fn cut(&self, relation: &Relation, column: &str) -> Option<i32> {
        self.catalog.length(relation.column(column)?)
    }

    /// The type of a column that takes part in a reference.
    fn reference_type(
        &mut self,
        child: &Relation,
        relation: &Relation,
        column: &str,
    ) -> Option<&'static str> {
        let shown = shown(relation);
        if !matches!(
            relation.kind,
            RelationKind::Table | RelationKind::PartitionedTable
        ) {
            self.problem(child, format!("\"{shown}\" is not a table"), None);
            return None;
        }
        let Some(found) = relation.column(column) else {
            let names = relation.columns.iter().map(|column| column.name.as_str());
            let near = super::nearest(column, names);
            self.problem(
                child,
                format!("table \"{shown}\" has no column \"{column}\""),
                near,
            );
            return None;
        };
        let known = type_name(self.catalog.base_type(found.type_oid));
        if known.is_none() {
            let message = format!(
                "column \"{column}\" of \"{shown}\" must be uuid, bigint, integer, smallint, text or varchar, or a domain over one"
            );
            self.problem(child, message, None);
        }
        known
    }
}

fn shown(relation: &Relation) -> String {
    format!("{}.{}", relation.schema, relation.name)
}

/// The types whose equality is pg_catalog's and leakproof (`pg_type.dat`).
fn type_name(oid: Oid) -> Option<&'static str> {
    Some(match oid {
        2950 => "uuid",
        20 => "int8",
        21 => "int2",
        23 => "int4",
        25 => "text",
        1043 => "varchar",
        _ => return None,
    })
}

/// Types that are compared with one another by an operator of pg_catalog, without a cast that
/// could fail.
fn family(name: &str) -> &str {
    match name {
        "int8" | "int4" | "int2" => "int8",
        "varchar" => "text",
        other => other,
    }
}
