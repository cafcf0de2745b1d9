//! The tenant's column, empty, and a trigger that fills it in new rows: the application goes on
//! writing as it always did, and no row that it adds behind the backfill stays without a tenant.

use crate::audit::lints::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::OWN_SCHEMA;

/// The trigger's name.
pub(super) const TRIGGER: &str = "pgwarden_fill_tenant";

/// The function of a table's trigger, as SQL.
pub(super) fn function(target: &Target<'_>) -> String {
    let name = joined(&["fill", &target.table.schema, &target.table.name]);
    format!("{OWN_SCHEMA}.{}", ident(&name))
}

/// What makes function and trigger.
pub(super) fn fill_sql(target: &Target<'_>) -> String {
    let (function, column, table) = (function(target), &target.sql, &target.table.sql);
    let body = target.origins.statements(&format!("NEW.{column}"));
    // As its owner: whoever inserts need not be able to read the parents and users' tenants.
    format!(
        "CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA};\n\
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql\n\
         SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$\n\
         BEGIN\n{body}  RETURN NEW;\nEND $$;\n\
         CREATE TRIGGER {TRIGGER} BEFORE INSERT ON {table}\n  \
         FOR EACH ROW WHEN (NEW.{column} IS NULL) EXECUTE FUNCTION {function}();"
    )
}

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() {
        return None;
    }
    let (table, column) = (&target.table.sql, &target.sql);
    let filled = target.table.triggers.iter().any(|it| it.name == TRIGGER);
    if target.existing.is_some() && filled {
        return None;
    }
    let (mut up, mut down) = (
        String::new(),
        format!(
            "DROP TRIGGER {TRIGGER} ON {table};\nDROP FUNCTION {}();\n",
            function(target)
        ),
    );
    if target.existing.is_none() {
        up = format!(
            "ALTER TABLE {table} ADD COLUMN {column} {};\n",
            model.type_name
        );
        down += &format!("ALTER TABLE {table} DROP COLUMN {column};\n");
    }
    up += &fill_sql(target);
    Some(Step {
        phase: Phase::Expand,
        slug: target.slug(),
        title: format!(
            "{}.{}, filled in new rows",
            target.table.full_name(),
            target.column
        ),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment: nothing is rewritten".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes, while no view or function uses the column".to_owned(),
        look_at: vec![format!(
            "new rows get their tenant from {}",
            target.origins.told()
        )],
        up,
        verify: Vec::new(),
        down,
    })
}
