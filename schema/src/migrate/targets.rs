//! Which tables get a tenant, and where their rows' tenants come from.
//!
//! A table is one of them if the policy scopes it by the tenant, if it has the tenant's column, if
//! its rows name a user, or if they refer to such a table. What the policy guards by something
//! else, calls global or reaches through a parent stays as it is.

use std::collections::{HashMap, HashSet};

use pgwarden_policy::catalog::Oid;
use pgwarden_policy::engine::BindingProblem;
use pgwarden_policy::migration::{Migration, Orphans, TableMigration, Unknown};
use pgwarden_policy::rules::{QualifiedName, Scope};

use crate::audit::facts::Facts;
use crate::audit::lints::{guards_itself_from_all, is_of_users_alone};
use crate::audit::references::{NamedReference, named_references};
use crate::audit::scoping::{is_about, type_of};
use crate::audit::snapshot::{Column, Relation, Trigger};
use crate::ident::ident;

use super::model::{Measured, Tenants};
use super::partitions::{self, Partition};
use super::sources::{Origin, Origins};

mod checks;
mod order;

/// A table that gets a tenant.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) table: &'a Relation,
    /// The tenant's column.
    pub(super) column: String,
    /// The same as SQL.
    pub(super) sql: String,
    pub(super) existing: Option<&'a Column>,
    pub(super) origins: Origins,
    /// The same for rows whose tenant does not exist, where they get another.
    pub(super) rehomed: Option<Origins>,
    /// Triggers to hold off, as SQL.
    pub(super) hold: Vec<String>,
    /// Whether the table inherits from another target, and the column with it.
    pub(super) inherits: bool,
    /// Whether the column is there with another type than the tenant's.
    pub(super) retyped: bool,
    /// Estimated.
    pub(super) rows: i64,
    pub(super) partitions: Vec<Partition<'a>>,
}

impl Target<'_> {
    /// Whether rows may lack a tenant.
    pub(super) fn may_lack(&self) -> bool {
        self.existing.is_none_or(|it| !it.not_null)
    }

    /// Its name in files' names.
    pub(super) fn slug(&self) -> String {
        slug(self.table)
    }

    pub(super) fn partitioned(&self) -> bool {
        self.table.kind == 'p'
    }

    /// The tables that hold its rows.
    pub(super) fn leaves(&self) -> impl Iterator<Item = &Partition<'_>> {
        self.partitions.iter().filter(|it| it.is_leaf())
    }
}

/// A table's name in files' names.
pub(super) fn slug(table: &Relation) -> String {
    let kept = |it: char| if it.is_alphanumeric() { it } else { '_' };
    format!("{}_{}", table.schema, table.name)
        .chars()
        .map(kept)
        .collect()
}

/// Who is looked for, and what is wrong.
struct Finder<'a, 'b> {
    facts: &'a Facts,
    migration: &'b Migration,
    tenants: &'b Tenants<'a>,
    /// Whether nobody but the database says where users' tenants are.
    users_guessed: bool,
    columns: HashMap<Oid, String>,
    problems: Vec<BindingProblem>,
    notes: Vec<String>,
}

/// The targets, parents before their children.
pub(super) fn find<'a>(
    facts: &'a Facts,
    migration: &Migration,
    tenants: &Tenants<'a>,
    measured: &Measured,
) -> Result<(Vec<Target<'a>>, Vec<String>), Vec<BindingProblem>> {
    let mut finder = Finder {
        facts,
        migration,
        tenants,
        users_guessed: measured.users_guessed || migration.users.is_none(),
        columns: HashMap::new(),
        problems: Vec::new(),
        notes: Vec::new(),
    };
    finder.names_must_exist();
    finder.choose();
    let ordered = finder.ordered();
    let mut targets = Vec::new();
    for (at, table) in ordered.iter().enumerate() {
        let before: HashSet<Oid> = ordered.iter().take(at).map(|it| it.oid).collect();
        if let Some(target) = finder.target(table, &before, &measured.rows) {
            targets.push(target);
        }
    }
    match finder.problems.is_empty() {
        true => Ok((targets, finder.notes)),
        false => Err(finder.problems),
    }
}

impl<'a> Finder<'a, '_> {
    fn problem(&mut self, object: impl ToString, message: impl Into<String>) {
        self.problems.push(BindingProblem {
            object: object.to_string(),
            message: message.into(),
            suggestion: None,
        });
    }

    fn relation(&self, name: &QualifiedName) -> Option<&'a Relation> {
        let tables = self.facts.snapshot.relations.iter();
        tables
            .filter(|it| matches!(it.kind, 'r' | 'p' | 'v'))
            .find(|it| it.schema == name.schema && it.name == name.name)
    }

    /// The table, if it and its columns exist.
    fn with_columns(&mut self, name: &QualifiedName, columns: &[&str]) -> Option<&'a Relation> {
        let Some(table) = self.relation(name) else {
            self.problem(name, "there is no such table");
            return None;
        };
        for column in columns {
            if table.column(column).is_none() {
                self.problem(name, format!("the table has no column {column}"));
            }
        }
        Some(table)
    }

    fn entry(&self, table: &Relation) -> Option<&TableMigration> {
        self.migration.table(&table.schema, &table.name)
    }

    /// The tenant's column of a table, if the policy does not guard it otherwise.
    fn column_of(&self, table: &Relation) -> Option<(String, bool)> {
        let tenant = &self.facts.scoping.policy.tenant;
        let rules = &self.facts.scoping.policy.tables;
        match rules
            .iter()
            .find(|it| is_about(it, table))
            .map(|it| &it.scope)
        {
            // A schema may only be looked at because of another table that the policy lists.
            None => {
                let discover = &self.facts.scoping.policy.defaults.discover;
                discover
                    .contains(&table.schema)
                    .then(|| (tenant.column.clone(), false))
            }
            Some(Scope::Discovered) => Some((tenant.column.clone(), true)),
            Some(Scope::Keys(keys)) => {
                let key = keys.iter().find(|key| key.claim == tenant.claim)?;
                Some((key.column.clone(), true))
            }
            Some(Scope::Via { .. } | Scope::Global(_)) => None,
        }
    }

    fn stays(&self, table: &Relation) -> bool {
        let is_mapping = self.migration.users.as_ref().is_some_and(|it| {
            it.table.schema == table.schema
                && it.table.name == table.name
                && table
                    .column(&self.facts.scoping.policy.tenant.column)
                    .is_none()
        });
        is_mapping
            || table.partition
            || self.tenants.table.map(|it| it.oid) == Some(table.oid)
            || self.migration.excludes(&table.schema, &table.name)
    }

    fn choose(&mut self) {
        let tables: Vec<&Relation> = self.facts.tables().filter(|it| !self.stays(it)).collect();
        let user = &self.migration.user_column;
        for table in &tables {
            let Some((column, listed)) = self.column_of(table) else {
                continue;
            };
            self.case_must_match(table, &column);
            let belongs = listed
                || self.entry(table).is_some()
                || table.column(&column).is_some()
                || (table.column(user).is_some() && !self.may_stay(table));
            if belongs {
                self.columns.insert(table.oid, column);
            }
        }
        // Whoever refers to them belongs to them, through any number of steps.
        loop {
            let found = tables.iter().find_map(|table| {
                let known = self.columns.contains_key(&table.oid);
                let (column, _) = self.column_of(table).filter(|_| !known)?;
                if guards_itself_from_all(table) {
                    return None;
                }
                let mut keys = table.foreign_keys();
                let refers = keys.any(|it| self.columns.contains_key(&it.target))
                    || !self.named_parents(table).is_empty();
                refers.then_some((table.oid, column))
            });
            match found {
                Some((oid, column)) => self.columns.insert(oid, column),
                None => break,
            };
        }
        let left = tables
            .iter()
            .filter(|it| !self.columns.contains_key(&it.oid));
        let left: Vec<String> = left.map(|it| it.full_name()).collect();
        if !left.is_empty() {
            self.notes
                .push(format!("left as they are: {}", left.join(", ")));
        }
    }

    /// Whether a table that nobody has named is no concern of tenants: it keeps its rows apart by
    /// something else, or is about users, who are above tenants as far as anybody has said.
    fn may_stay(&self, table: &Relation) -> bool {
        guards_itself_from_all(table)
            || (self.users_guessed && is_of_users_alone(self.facts, table))
    }

    /// The tables that a table's rows get their tenant from, with the columns that refer to them.
    fn parents(&self, table: &'a Relation) -> Vec<(&'a Relation, Vec<(String, String)>)> {
        if let Some(parent) = self.entry(table).and_then(|it| it.parent.as_ref()) {
            let found = self.relation(&parent.table);
            let columns = vec![(parent.column.clone(), parent.key.clone())];
            return found.into_iter().map(|it| (it, columns.clone())).collect();
        }
        let tenant = self.columns.get(&table.oid);
        let keys = table.foreign_keys().filter_map(|key| {
            // One with the tenant in it finds nothing while that is empty.
            let usable = key.target != table.oid
                && self.columns.contains_key(&key.target)
                && !tenant.is_some_and(|it| key.columns.contains(it));
            let parent = self.facts.relation(key.target).filter(|_| usable)?;
            let columns = key.columns.iter().cloned();
            Some((
                parent,
                columns.zip(key.target_columns.iter().cloned()).collect(),
            ))
        });
        let mut keys: Vec<(_, Vec<(String, String)>)> = keys.collect();
        // A reference that every row has comes first.
        let given = |name: &String| table.column(name).is_some_and(|it| it.not_null);
        keys.sort_by_key(|(_, columns)| !columns.iter().all(|it| given(&it.0)));
        // What only names tell is asked last.
        let mut named = self.named_parents(table);
        named.sort_by_key(|it| !it.column.not_null);
        let named = named.iter().map(|it| {
            (
                it.parent,
                vec![(it.column.name.clone(), it.key.name.clone())],
            )
        });
        keys.extend(named);
        keys
    }

    /// The tables with a tenant that columns without a foreign key are named after.
    fn named_parents(&self, table: &'a Relation) -> Vec<NamedReference<'a>> {
        named_references(self.facts, table, |it| self.columns.contains_key(&it.oid))
    }

    fn target(
        &mut self,
        table: &'a Relation,
        before: &HashSet<Oid>,
        rows: &HashMap<Oid, i64>,
    ) -> Option<Target<'a>> {
        let column = self.columns.get(&table.oid)?.clone();
        let existing = table.column(&column);
        let wanted = self.facts.scoping.policy.tenant.value_type;
        let retyped = existing.is_some_and(|it| type_of(it.type_oid) != Some(wanted));
        let origins = self.origins(table, before);
        let rehomed = existing.and_then(|it| self.rehomed(table, it, &origins));
        if existing.is_none() && origins.ways.is_empty() && origins.nobodys.is_none() {
            let message = "nothing says whose its rows are: give it a parent or a user, name a default tenant, \
                           exclude it, or list it as global in the policy";
            self.problem(table.full_name(), message);
        }
        self.names_must_be_plain(table);
        let partitions = partitions::below(self.facts, table, rows);
        for it in &partitions {
            self.names_must_be_plain(it.table);
        }
        let leaves = partitions.iter().filter(|it| it.is_leaf());
        let below: i64 = leaves.map(|it| it.rows).sum();
        let estimate = rows.get(&table.oid).copied().unwrap_or(0).max(below);
        if retyped {
            self.rewrite_must_be_short(table, &column, estimate);
        }
        Some(Target {
            sql: ident(&column),
            column,
            existing,
            origins,
            rehomed,
            hold: self.held(table),
            inherits: table.parents.iter().any(|it| self.columns.contains_key(it)),
            retyped,
            rows: estimate,
            partitions,
            table,
        })
    }

    /// The triggers that don't fire during the backfill: those that the mapping names, or all that
    /// an UPDATE of the tenant's column would fire, since the application changes nothing.
    fn held(&self, table: &Relation) -> Vec<String> {
        if let Some(held) = self.entry(table).and_then(|it| it.hold.as_ref()) {
            return held.iter().map(|it| ident(it)).collect();
        }
        const UPDATE: i32 = 16;
        let column = self.columns.get(&table.oid);
        let fires = |it: &&Trigger| {
            let covers =
                it.columns.is_empty() || column.is_some_and(|own| it.columns.contains(own));
            it.kind & UPDATE != 0 && it.enabled != 'D' && covers
        };
        let triggers = table.triggers.iter().filter(fires);
        triggers.map(|it| it.sql.clone()).collect()
    }

    fn origins(&mut self, table: &'a Relation, before: &HashSet<Oid>) -> Origins {
        let mut ways = Vec::new();
        let entry = self.entry(table);
        let orphans = entry
            .and_then(|it| it.orphans)
            .unwrap_or(self.migration.orphans);
        let user = entry.and_then(|it| it.user.as_deref());
        let user = table.column(user.unwrap_or(&self.migration.user_column));
        if let (Some(users), Some(column)) = (&self.migration.users, user) {
            let mapping = self.relation(&users.table);
            let other = mapping.and_then(|it| it.column(&users.user));
            ways.push(Origin::User {
                as_text: other.is_some_and(|it| it.type_oid != column.type_oid),
                column: column.sql.clone(),
                mapping: format!(
                    "{}.{}",
                    ident(&users.table.schema),
                    ident(&users.table.name)
                ),
                user: ident(&users.user),
                tenant: ident(&users.tenant),
            });
        }
        let explicit = entry.is_some_and(|it| it.parent.is_some());
        for (parent, columns) in self.parents(table) {
            let tenant = self.columns.get(&parent.oid).cloned();
            let tenant = tenant.or_else(|| {
                let own = &self.facts.scoping.policy.tenant.column;
                parent.column(own).map(|it| it.name.clone())
            });
            let Some(tenant) = tenant else {
                self.problem(table.full_name(), "its parent has no tenant");
                continue;
            };
            if self.columns.contains_key(&parent.oid) && !before.contains(&parent.oid) {
                self.notes.push(format!(
                    "{} and {} refer to each other: rows of the first don't get their tenant through {}",
                    table.full_name(),
                    parent.full_name(),
                    columns.iter().map(|it| it.0.as_str()).collect::<Vec<_>>().join(", ")
                ));
                continue;
            }
            let columns = columns.iter().map(|(own, key)| (ident(own), ident(key)));
            let way = Origin::Parent {
                columns: columns.collect(),
                table: parent.sql.clone(),
                tenant: ident(&tenant),
            };
            match explicit {
                true => ways.insert(0, way),
                false => ways.push(way),
            }
        }
        Origins {
            ways,
            orphans,
            nobodys: self.nobodys(orphans),
            type_name: self.tenants.key_type.clone(),
        }
    }

    /// The tenant of rows of nobody.
    fn nobodys(&self, orphans: Orphans) -> Option<String> {
        match orphans {
            Orphans::Default => self.tenants.default.clone(),
            Orphans::Quarantine => self.tenants.quarantine.clone(),
        }
    }

    /// Where rows get a tenant from that name one which does not exist. None can, behind a key.
    fn rehomed(&mut self, table: &Relation, column: &Column, origins: &Origins) -> Option<Origins> {
        let entry = self.entry(table).and_then(|it| it.unknown);
        let Unknown::Rehome(orphans) = entry.unwrap_or(self.migration.unknown) else {
            return None;
        };
        let tenants = self.tenants.table?;
        let mut keys = table
            .foreign_keys()
            .filter(|it| it.validated && it.target == tenants.oid);
        if keys.any(|it| it.columns == [column.name.clone()]) {
            return None;
        }
        let nobodys = self.nobodys(orphans);
        if nobodys.is_none() {
            let message = "rows of a tenant that does not exist go to the default tenant, but there is none: \
                           name it in [tenants]";
            self.problem(table.full_name(), message);
        }
        Some(Origins {
            orphans,
            nobodys,
            ..origins.clone()
        })
    }
}
