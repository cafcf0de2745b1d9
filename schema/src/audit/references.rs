//! References that only a column's name tells: many applications keep foreign keys to themselves,
//! and call the column `project_id` where the table is `projects` (or `app_project`).

use super::facts::Facts;
use super::scoping::type_of;
use super::snapshot::{Column, Relation};

/// A column without a foreign key that is named after a tenants' table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NamedReference<'a> {
    pub(crate) column: &'a Column,
    pub(crate) parent: &'a Relation,
    /// The parent's key.
    pub(crate) key: &'a Column,
}

/// The references of a table that its columns' names tell, to tables for which `belongs` holds.
pub(crate) fn named_references<'a>(
    facts: &'a Facts,
    table: &'a Relation,
    belongs: impl Fn(&Relation) -> bool,
) -> Vec<NamedReference<'a>> {
    let mut found = Vec::new();
    for column in &table.columns {
        let known = table
            .foreign_keys()
            .any(|it| it.columns == [column.name.clone()]);
        let Some(names) = names_of_tables(&column.name).filter(|_| !known) else {
            continue;
        };
        let parents = facts.tables().filter(|it| {
            it.schema == table.schema && it.oid != table.oid && !it.partition && belongs(it)
        });
        let mut parents = parents.filter(|it| is_one_of(&it.name, &names));
        // Two that fit say nothing.
        if let (Some(parent), None) = (parents.next(), parents.next())
            && let Some(key) = key_of(parent)
            && type_of(key.type_oid).is_some_and(|it| type_of(column.type_oid) == Some(it))
        {
            found.push(NamedReference {
                column,
                parent,
                key,
            });
        }
    }
    found
}

/// The only column of the primary key.
fn key_of(table: &Relation) -> Option<&Column> {
    let primary = table.constraints.iter().find(|it| it.kind == 'p')?;
    match primary.columns.as_slice() {
        [only] => table.column(only),
        _ => None,
    }
}

/// How a table may be called that a column is named after.
fn names_of_tables(column: &str) -> Option<[String; 4]> {
    let stem = column
        .strip_suffix("_id")
        .or_else(|| column.strip_suffix("Id"))?;
    let stem = folded(stem);
    let singular = stem.strip_suffix('y').map(|it| format!("{it}ies"));
    (!stem.is_empty()).then(|| {
        let plural = singular.unwrap_or_else(|| format!("{stem}s"));
        [format!("{stem}es"), format!("{stem}s"), plural, stem]
    })
}

fn is_one_of(table: &str, names: &[String; 4]) -> bool {
    let behind_prefix = table.split_once('_').map(|(_, rest)| folded(rest));
    let whole = folded(table);
    names
        .iter()
        .any(|it| *it == whole || behind_prefix.as_ref() == Some(it))
}

/// Without what spellings differ in.
fn folded(name: &str) -> String {
    name.to_lowercase().replace('_', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_named_in_the_plural_or_behind_a_prefix() {
        let fits = |column: &str, table: &str| {
            names_of_tables(column).is_some_and(|names| is_one_of(table, &names))
        };
        for (column, table) in [
            ("project_id", "projects"),
            ("category_id", "categories"),
            ("inbox_id", "inboxes"),
            ("release_id", "sentry_release"),
            ("contactInboxId", "ContactInbox"),
            ("contact_inbox_id", "contact_inboxes"),
        ] {
            assert!(fits(column, table), "{column} {table}");
        }
        for (column, table) in [
            ("id", "ids"),
            ("_id", "s"),
            ("previous_group_id", "groups"),
            ("project", "projects"),
            ("inbox_id", "contact_inboxes_old"),
        ] {
            assert!(!fits(column, table), "{column} {table}");
        }
    }
}
