//! The table of the tenants, with the default tenant (and the quarantine's) in it.

use std::fmt::Write;

use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

pub(super) fn step(model: &Model<'_>) -> Option<Step> {
    let tenants = &model.tenants;
    let made = tenants.table.is_none();
    if !made && !model.targets.iter().any(Target::may_lack) {
        return None;
    }
    let nothing = tenants.default.is_none() && tenants.quarantine.is_none();
    if !made && nothing && known_elsewhere(model, made).is_empty() {
        return None;
    }
    let (sql, key) = (&tenants.sql, &tenants.key);
    let mut up = String::new();
    let mut down = String::new();
    if made {
        let touch = ident(&joined(&[&tenants.name.name, "touch_updated_at"]));
        let touch = format!("{}.{touch}", ident(&tenants.name.schema));
        let id = match model.type_name {
            "uuid" => "uuid PRIMARY KEY DEFAULT gen_random_uuid()",
            "bigint" => "bigint PRIMARY KEY",
            _ => "text PRIMARY KEY",
        };
        // Writing to a String can't fail.
        let _ = write!(
            up,
            "CREATE TABLE {sql} (\n  {key} {id},\n  name text,\n  \
             status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'inactive', 'suspended')),\n  \
             created_at timestamptz NOT NULL DEFAULT now(),\n  updated_at timestamptz NOT NULL DEFAULT now());\n\
             CREATE FUNCTION {touch}() RETURNS trigger LANGUAGE plpgsql AS $$\n\
             BEGIN\n  NEW.updated_at := now();\n  RETURN NEW;\nEND $$;\n\
             CREATE TRIGGER touch_updated_at BEFORE UPDATE ON {sql}\n  FOR EACH ROW EXECUTE FUNCTION {touch}();\n"
        );
        let _ = write!(down, "DROP TABLE {sql};\nDROP FUNCTION {touch}();\n");
    }
    let named = made || tenants.table.is_some_and(|it| it.column("name").is_some());
    let default = [(tenants.default.as_ref(), "Default organisation")];
    let wanted = default
        .into_iter()
        .chain([(tenants.quarantine.as_ref(), "Quarantine")]);
    let mut verify = Vec::new();
    for (id, name) in wanted {
        let Some(id) = id else { continue };
        let (columns, values) = match named {
            true => (format!("{key}, name"), format!("{id}, '{name}'")),
            false => (key.clone(), id.clone()),
        };
        // Not by ON CONFLICT: a row that is there must not have to fit the table's demands again.
        let _ = writeln!(
            up,
            "INSERT INTO {sql} ({columns}) SELECT {values}\n  WHERE NOT EXISTS (SELECT FROM {sql} WHERE {key} = {id});"
        );
        verify.push(format!(
            "SELECT 1 - count(*) FROM {sql} WHERE {key} = {id};"
        ));
    }
    for (table, column) in known_elsewhere(model, made) {
        let (columns, values) = match named {
            true => (format!("{key}, name"), "it, it::text"),
            false => (key.clone(), "it"),
        };
        let _ = writeln!(
            up,
            "INSERT INTO {sql} ({columns}) SELECT {values} FROM (SELECT DISTINCT {column}::{} AS it FROM {table}) t\n  \
             WHERE it IS NOT NULL AND NOT EXISTS (SELECT FROM {sql} WHERE {key} = it);",
            tenants.key_type
        );
    }
    Some(Step {
        phase: Phase::Expand,
        slug: "tenants".to_owned(),
        title: match made {
            true => format!("the table of the tenants, {}", tenants.name),
            false if nothing => format!("all tenants that users have, in {}", tenants.name),
            false => format!("the default tenant in {}", tenants.name),
        },
        run: Run::Transaction,
        lock: "none that others hold".to_owned(),
        rows: 1,
        rate: 0,
        reversible: match made {
            true => "yes; tenants that were added meanwhile go with the table".to_owned(),
            false => "the row stays; it disturbs nobody".to_owned(),
        },
        look_at: vec![
            "the default tenant's id and name; other columns that the table demands".to_owned(),
        ],
        up,
        verify,
        down,
    })
}

/// Where tenants are named that the table must hold: users' tenants, and, when the table is made,
/// columns that had nothing to refer to. Pairs of table and column as SQL.
fn known_elsewhere(model: &Model<'_>, made: bool) -> Vec<(String, String)> {
    let mut places = model.user_tenants();
    if made {
        let filled = model.targets.iter().filter(|it| it.existing.is_some());
        places.extend(filled.map(|it| (it.table.sql.clone(), it.sql.clone())));
    }
    places.sort();
    places.dedup();
    places
}
