//! The foreign key to the tenants and the check for NULL, for new rows only at first.

use crate::audit::snapshot::Constraint;
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

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
    let tenants = model.tenants.table.map(|it| it.oid);
    Some(key.target) == tenants && key.on_delete == 'c'
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
        // A partitioned table's keys are checked at once.
        let later = if target.partitioned() {
            ""
        } else {
            " NOT VALID"
        };
        let name = key_name(target);
        parts.push(format!(
            "ADD CONSTRAINT {name} FOREIGN KEY ({column}) REFERENCES {} ({}) ON DELETE CASCADE{later}",
            model.tenants.sql, model.tenants.key
        ));
        undone.push(format!("DROP CONSTRAINT {name}"));
    }
    if may_lack {
        let name = check_name(target);
        parts.push(format!(
            "ADD CONSTRAINT {name} CHECK ({column} IS NOT NULL) NOT VALID"
        ));
        undone.push(format!("DROP CONSTRAINT IF EXISTS {name}"));
    }
    Some(Step {
        phase: Phase::Constrain,
        slug: format!("{}_keys", target.slug()),
        title: format!("new rows of {} have a tenant that exists", target.table.full_name()),
        run: Run::Transaction,
        lock: match target.partitioned() {
            true => "ACCESS EXCLUSIVE on the table, SHARE ROW EXCLUSIVE on the tenants, while all rows are read".to_owned(),
            false => "ACCESS EXCLUSIVE on the table, SHARE ROW EXCLUSIVE on the tenants, for a moment".to_owned(),
        },
        rows: if target.partitioned() { target.rows } else { 0 },
        rate: super::READ_RATE,
        reversible,
        look_at: Vec::new(),
        up: format!("ALTER TABLE {table}\n  {};", parts.join(",\n  ")),
        verify: Vec::new(),
        down: format!("ALTER TABLE {table} {};", undone.join(", ")),
    })
}
