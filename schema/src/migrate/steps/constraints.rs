//! The foreign key to the tenants and the check for NULL, for new rows only at first.

use crate::audit::snapshot::Constraint;
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::key_actions::{timing, updated};

/// The name of the check that stands in for NOT NULL until it is proven.
pub(super) fn check_name(target: &Target<'_>) -> String {
    ident(&joined(&[&target.table.name, &target.column, "present"]))
}

/// The key's name.
pub(super) fn key_name(target: &Target<'_>) -> String {
    let name = joined(&[&target.table.name, &target.column, "fkey"]);
    let taken = target.table.constraints.iter().any(|it| it.name == name);
    ident(&match taken {
        true => joined(&[&name, "tenant"]),
        false => name,
    })
}

/// The keys of the column alone.
fn keys<'a>(target: &'a Target<'_>) -> impl Iterator<Item = &'a Constraint> {
    let column = &target.column;
    let keys = target.table.foreign_keys();
    keys.filter(move |it| matches!(it.columns.as_slice(), [only] if only == column))
}

fn is_right(model: &Model<'_>, key: &Constraint) -> bool {
    refers_to_tenants(model, key) && key.on_delete == 'c'
}

fn refers_to_tenants(model: &Model<'_>, key: &Constraint) -> bool {
    Some(key.target) == model.tenants.table.map(|it| it.oid)
}

/// Whether rows were given a tenant's new key.
pub(super) fn follows_new_key(model: &Model<'_>, target: &Target<'_>) -> bool {
    keys(target).any(|it| refers_to_tenants(model, it) && it.on_update == 'c')
}

/// Whether the key has to be made.
pub(super) fn lacks_key(model: &Model<'_>, target: &Target<'_>) -> bool {
    !keys(target).any(|it| is_right(model, it))
}

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let (lacks_key, may_lack) = (lacks_key(model, target), target.may_lack());
    if !lacks_key && !may_lack {
        return None;
    }
    let (table, column) = (&target.table.sql, &target.sql);
    let mut parts = Vec::new();
    let mut undone = Vec::new();
    let mut reversible = "yes".to_owned();
    if lacks_key {
        for wrong in keys(target) {
            parts.push(format!("DROP CONSTRAINT {}", wrong.sql));
            undone.push(format!("ADD CONSTRAINT {} {}", wrong.sql, wrong.definition));
            reversible = format!("yes; {} reads all rows then", wrong.name);
        }
        if !target.partitioned() {
            let name = key_name(target);
            parts.push(format!("ADD {} NOT VALID", key_sql(model, target)));
            undone.push(format!("DROP CONSTRAINT {name}"));
        }
    }
    if may_lack {
        let name = check_name(target);
        parts.push(format!(
            "ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID"
        ));
        undone.push(format!("DROP CONSTRAINT IF EXISTS {name}"));
    }
    let alter = |table: &str, parts: &[String]| match parts {
        [] => String::new(),
        parts => format!("ALTER TABLE {table}\n  {};\n", parts.join(",\n  ")),
    };
    let (mut up, mut down) = (alter(table, &parts), alter(table, &undone));
    // A partitioned table's key can't be NOT VALID: its partitions have it first.
    let name = key_name(target);
    for it in target.leaves().filter(|_| lacks_key) {
        up += &alter(
            &it.table.sql,
            &[format!("ADD {} NOT VALID", key_sql(model, target))],
        );
        down += &alter(
            &it.table.sql,
            &[format!("DROP CONSTRAINT IF EXISTS {name}")],
        );
    }
    Some(Step {
        phase: Phase::Constrain,
        slug: format!("{}_keys", target.slug()),
        title: format!(
            "new rows of {} have a tenant that exists",
            target.table.full_name()
        ),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, SHARE ROW EXCLUSIVE on the tenants, for a moment"
            .to_owned(),
        rows: 0,
        rate: super::READ_RATE,
        reversible,
        look_at: Vec::new(),
        up,
        verify: Vec::new(),
        down,
    })
}

/// The key to the tenants, as SQL.
pub(super) fn key_sql(model: &Model<'_>, target: &Target<'_>) -> String {
    // One that it replaces may follow a tenant's new key, or wait for the end of the transaction.
    let old = keys(target).find(|it| refers_to_tenants(model, it));
    let kept = old.map(|it| updated(it).unwrap_or_default().to_owned() + timing(it));
    format!(
        "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({}) ON DELETE CASCADE{}",
        key_name(target),
        target.sql,
        model.tenants.sql,
        model.tenants.key,
        kept.unwrap_or_default()
    )
}
