//! Older rows are checked, too: readers and writers go on meanwhile.

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::constraints::{check_name, key_name, lacks_key};

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let (table, column) = (&target.table.sql, &target.sql);
    let mut lines = Vec::new();
    if target.may_lack() {
        lines.push(format!(
            "ALTER TABLE {table} VALIDATE CONSTRAINT {};",
            check_name(target)
        ));
    }
    if lacks_key(model, target) {
        let name = key_name(target);
        let validate = |table: &str| format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};");
        match target.partitioned() {
            true => lines.extend(target.leaves().map(|it| validate(&it.table.sql))),
            false => lines.push(validate(table)),
        }
    } else {
        let open = target.table.foreign_keys().filter(|it| {
            !it.validated && matches!(it.columns.as_slice(), [only] if *only == target.column)
        });
        lines.extend(open.map(|it| format!("ALTER TABLE {table} VALIDATE CONSTRAINT {};", it.sql)));
    }
    if lines.is_empty() {
        return None;
    }
    let orphans = format!(
        "SELECT count(*) FROM {table} c WHERE NOT EXISTS (SELECT FROM {} p WHERE p.{} = c.{column});",
        model.tenants.sql, model.tenants.key
    );
    Some(Step {
        phase: Phase::Constrain,
        slug: format!("{}_checked", target.slug()),
        title: format!(
            "all rows of {} have a tenant that exists",
            target.table.full_name()
        ),
        run: Run::Transaction,
        lock: "SHARE UPDATE EXCLUSIVE on the table (no other DDL) while all rows are read"
            .to_owned(),
        rows: target.rows,
        rate: super::READ_RATE,
        reversible: "nothing to undo".to_owned(),
        look_at: match (target.existing, &target.rehomed) {
            (Some(_), None) => vec![
                "rows of a tenant that does not exist stop it; unknown in the mapping gives them another".to_owned(),
            ],
            _ => Vec::new(),
        },
        up: lines.join("\n"),
        verify: vec![orphans],
        down: String::new(),
    })
}
