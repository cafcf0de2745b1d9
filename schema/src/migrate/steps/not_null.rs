//! NOT NULL, which PostgreSQL takes from the validated check without reading the rows again.

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::constraints::check_name;

pub(super) fn step(_: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() {
        return None;
    }
    let (table, column, check) = (&target.table.sql, &target.sql, check_name(target));
    Some(Step {
        phase: Phase::Constrain,
        slug: format!("{}_not_null", target.slug()),
        title: format!("{}.{} is NOT NULL", target.table.full_name(), target.column),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment: the check has proven it".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: Vec::new(),
        up: format!(
            "ALTER TABLE {table} ALTER COLUMN {column} SET NOT NULL;\nALTER TABLE {table} DROP CONSTRAINT {check};"
        ),
        verify: Vec::new(),
        down: format!("ALTER TABLE {table} ALTER COLUMN {column} DROP NOT NULL;"),
    })
}
