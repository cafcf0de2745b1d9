//! A unique key leaves the tenant out.
//!
//! Why: One tenant's value forbids it to all others, and the error tells them that somebody has it.
//!
//! Fix: Put the tenant column in front of the key. A key that is meant for everybody (a token,
//! another system's id) is accepted by a suppression.

use crate::audit::facts::{Facts, TenantColumn};
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::references::named_references;
use crate::audit::snapshot::Index;
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "unique_without_tenant",
    level: Level::Warning,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let keys = facts.tenant_columns().flat_map(|it| {
        let indexes = it.table.indexes.iter().filter(|index| index.unique);
        indexes.map(move |index| (it, index))
    });
    keys.filter(|(it, index)| leaves_out(facts, it, index))
        .map(|(it, index)| {
            let why = format!("{} is unique among all tenants", index.name);
            let object = format!("{}.{}", it.table.full_name(), index.name);
            let draft = Draft::new(object, why);
            match fix(&it, index) {
                Some(sql) => draft.fix(sql),
                None => draft,
            }
        })
        .collect()
}

/// Words of columns (behind their table's name) whose values are made to be unique everywhere.
const GLOBAL: &[&str] = &[
    "token",
    "hash",
    "secret",
    "digest",
    "nonce",
    "uuid",
    "guid",
    "ulid",
    "_sid",
    "stripe",
    "external",
    "api_key",
    "apikey",
    "idempotency",
    "domain",
    "hostname",
    "active_storage_blobs.key",
];

fn leaves_out(facts: &Facts, it: &TenantColumn<'_>, index: &Index) -> bool {
    let named = |name: &String| index.columns.iter().flatten().any(|it| it == name);
    if named(&it.column.name) {
        return false;
    }
    // What refers to a tenant's row is a tenant's already.
    let mut keys = it.table.foreign_keys();
    let refers = keys.any(|key| facts.is_scoped(key.target) && key.columns.iter().any(named));
    let seems = named_references(facts, it.table, |it| facts.is_scoped(it.oid));
    let refers = refers || seems.iter().any(|it| named(&it.column.name));
    let made = index.columns.iter().flatten().any(|name| {
        let column = it.table.column(name);
        column.is_some_and(|it| it.has_default || (index.primary && it.type_oid == UUID))
            || is_global(&it.table.name, name)
    });
    // Ids that the application makes (cuid, nanoid, snowflake), and those of partitions' rows.
    let id = index.primary
        && match index.columns.as_slice() {
            [Some(only)] => only == "id" || only.ends_with("_id") || only.ends_with("Id"),
            several => several.iter().flatten().any(|name| name == "id"),
        };
    !refers && !made && !id
}

fn is_global(table: &str, column: &str) -> bool {
    let column = column.to_lowercase();
    let whole = format!("{table}.{column}");
    GLOBAL.iter().any(|it| column.contains(it) || whole == *it)
}

/// `uuid`'s oid.
const UUID: u32 = 2950;

fn fix(it: &TenantColumn<'_>, index: &Index) -> Option<String> {
    let name = ident(&format!("{}_tenant", index.name));
    let (table, tenant) = (&it.table.sql, &it.column.sql);
    if index.of_constraint {
        let columns = index
            .columns
            .iter()
            .map(|name| Some(it.table.column(name.as_ref()?)?.sql.clone()));
        let columns = columns.collect::<Option<Vec<_>>>()?.join(", ");
        let kind = if index.primary {
            "PRIMARY KEY"
        } else {
            "UNIQUE"
        };
        let old = it
            .table
            .constraints
            .iter()
            .find(|key| key.name == index.name)?;
        return Some(format!(
            "ALTER TABLE {table} DROP CONSTRAINT {}, ADD CONSTRAINT {name} {kind} ({tenant}, {columns});",
            old.sql
        ));
    }
    let (_, rest) = index.definition.split_once(" USING ")?;
    let (method, rest) = rest.split_once('(')?;
    Some(format!(
        "CREATE UNIQUE INDEX CONCURRENTLY {name} ON {table} USING {method}({tenant}, {rest};\n\
         DROP INDEX CONCURRENTLY {};",
        index.sql
    ))
}
