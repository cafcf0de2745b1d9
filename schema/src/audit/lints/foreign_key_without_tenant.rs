//! A foreign key between scoped tables leaves the tenant out.
//!
//! Why: Keys are checked above row level security: a row may refer to another tenant's row, and an
//! error tells whether that row exists.
//!
//! Fix: Put the tenant column into the key, with a unique key on the parent's side.

use super::{Link, links_without_tenant};
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::snapshot::Relation;
use crate::ident::ident;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "foreign_key_without_tenant",
    level: Level::Note,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let links = links_without_tenant(facts);
    links
        .map(|it| {
            let parent = it.parent.table.full_name();
            let why = format!("a row may refer to another tenant's row of {parent}");
            let draft = Draft::new(it.object(), why);
            match fix(&it) {
                Some(sql) => draft.fix(sql),
                None => draft,
            }
        })
        .collect()
}

/// The key with the tenant in front. SET NULL would take the tenant, too, so that is for people.
fn fix(it: &Link<'_>) -> Option<String> {
    let action = match it.key.on_delete {
        'a' => "",
        'r' => " ON DELETE RESTRICT",
        'c' => " ON DELETE CASCADE",
        _ => return None,
    };
    let (child, parent) = (it.child.table, it.parent.table);
    let sql = |table: &Relation, names: &[String]| -> Option<String> {
        let columns = names
            .iter()
            .map(|name| Some(table.column(name)?.sql.clone()));
        Some(columns.collect::<Option<Vec<_>>>()?.join(", "))
    };
    let (from, to) = (
        sql(child, &it.key.columns)?,
        sql(parent, &it.key.target_columns)?,
    );
    let (from_tenant, to_tenant) = (&it.child.column.sql, &it.parent.column.sql);
    let unique = ident(&format!("{}_tenant_key", parent.name));
    let name = ident(&format!("{}_tenant", it.key.name));
    let mut lines = Vec::new();
    let mut wanted = vec![it.parent.column.name.clone()];
    wanted.extend(it.key.target_columns.iter().cloned());
    if !parent
        .constraints
        .iter()
        .any(|it| it.kind != 'f' && it.columns == wanted)
    {
        lines.push(format!(
            "ALTER TABLE {} ADD CONSTRAINT {unique} UNIQUE ({to_tenant}, {to});",
            parent.sql
        ));
    }
    lines.push(format!(
        "ALTER TABLE {} ADD CONSTRAINT {name} FOREIGN KEY ({from_tenant}, {from}) \
         REFERENCES {} ({to_tenant}, {to}){action} NOT VALID;",
        child.sql, parent.sql
    ));
    lines.push(format!(
        "ALTER TABLE {} VALIDATE CONSTRAINT {name};",
        child.sql
    ));
    lines.push(format!(
        "ALTER TABLE {} DROP CONSTRAINT {};",
        child.sql, it.key.sql
    ));
    Some(lines.join("\n"))
}
