//! The tenant's column, empty, and triggers that fill it: the application goes on writing as it
//! always did, and no row that it adds behind the backfill stays without a tenant.
//!
//! A row whose user or parent changes meanwhile changes its tenant, too (a call is logged first
//! and gets its lead later), until `enforce` makes tenants stay. What lies in the quarantine still
//! leaves it that way until `contract`.

use std::fmt::Write;

use pgwarden_policy::migration::Orphans;

use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::dollar_quoted;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::OWN_SCHEMA;

/// The triggers' names: the last ones in the alphabet see what all others have written.
pub(super) const FILL: &str = "zz_pgwarden_fill_tenant";
const FOLLOW: &str = "zz_pgwarden_follow_tenant";

/// The function of a table's triggers, as SQL.
pub(super) fn function(target: &Target<'_>) -> String {
    let name = format!("fill {}.{}", target.table.schema, target.table.name);
    format!(
        "{OWN_SCHEMA}.{}",
        ident(&crate::migrate::names::joined(&[&name]))
    )
}

/// What makes function and trigger.
pub(super) fn fill_sql(target: &Target<'_>) -> String {
    let (function, column, table) = (function(target), &target.sql, &target.table.sql);
    let body = target.origins.statements(&format!("NEW.{column}"));
    let body = dollar_quoted(&format!(
        "\nBEGIN\n  IF TG_OP = 'UPDATE' THEN\n    NEW.{column} := NULL;\n  END IF;\n{body}  RETURN NEW;\nEND "
    ));
    // As its owner: whoever inserts need not be able to read the parents and users' tenants. A
    // parent that row level security hides from the owner is an error, and no orphan.
    format!(
        "CREATE SCHEMA IF NOT EXISTS {OWN_SCHEMA};\n\
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql\n\
         SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS {body};\n\
         CREATE TRIGGER {FILL} BEFORE INSERT ON {table}\n  \
         FOR EACH ROW WHEN (NEW.{column} IS NULL) EXECUTE FUNCTION {function}();\n"
    )
}

/// Whether the table has the trigger by which tenants follow, or gets it.
fn follows(target: &Target<'_>) -> bool {
    let there = target.table.triggers.iter().any(|it| it.name == FOLLOW);
    let made = target.existing.is_none() && !target.origins.columns().is_empty();
    there || made
}

/// The trigger by which tenants follow, for rows that meet a condition.
fn follow_sql(target: &Target<'_>, condition: &str) -> String {
    let columns = target.origins.columns();
    let changed = columns
        .iter()
        .map(|it| format!("NEW.{it} IS DISTINCT FROM OLD.{it}"));
    format!(
        "CREATE TRIGGER {FOLLOW} BEFORE UPDATE ON {}\n  FOR EACH ROW WHEN ({condition}({})) EXECUTE FUNCTION {}();\n",
        target.table.sql,
        changed.collect::<Vec<_>>().join(" OR "),
        function(target)
    )
}

/// The end of all following.
pub(super) fn drop_follow(target: &Target<'_>) -> String {
    format!("DROP TRIGGER IF EXISTS {FOLLOW} ON {};\n", target.table.sql)
}

/// What ends the following, and what begins it again. Rows still leave the quarantine when they
/// get a parent: no user has that, so nobody can send a row of theirs to others.
pub(super) fn unfollow_sql(target: &Target<'_>) -> (String, String) {
    if !follows(target) {
        return (String::new(), String::new());
    }
    let mut up = drop_follow(target);
    if let (Orphans::Quarantine, Some(nobodys)) = (target.origins.orphans, &target.origins.nobodys)
    {
        up += &follow_sql(target, &format!("OLD.{} = {nobodys} AND ", target.sql));
    }
    (up, drop_follow(target) + &follow_sql(target, ""))
}

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() {
        return None;
    }
    let (table, column) = (&target.table.sql, &target.sql);
    let filled = target.table.triggers.iter().any(|it| it.name == FILL);
    if target.existing.is_some() && filled {
        return None;
    }
    let (mut up, mut down) = (String::new(), format!("DROP TRIGGER {FILL} ON {table};\n"));
    if target.existing.is_none() {
        let type_name = &model.tenants.key_type;
        let how = if target.inherits {
            "IF NOT EXISTS "
        } else {
            ""
        };
        up = format!("ALTER TABLE {table} ADD COLUMN {how}{column} {type_name};\n");
    }
    up += &fill_sql(target);
    if follows(target) {
        up += &follow_sql(target, "");
        down += &drop_follow(target);
    }
    // Writing to a String can't fail.
    let _ = writeln!(down, "DROP FUNCTION {}();", function(target));
    // An inherited column goes with the parent's.
    if target.existing.is_none() && !target.inherits {
        let _ = writeln!(down, "ALTER TABLE {table} DROP COLUMN {column};");
    }
    let found = target.origins.expression("t").replace('\n', " ");
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
        // What the trigger runs must at least be valid, or the application's INSERTs break.
        verify: vec![format!(
            "SELECT count(*) FROM (SELECT {found} FROM {table} t LIMIT 0) it;"
        )],
        down,
    })
}
