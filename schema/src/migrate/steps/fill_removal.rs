//! The end of the trigger that gave new rows their tenant: from here on the application says it,
//! or pgwarden does.

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::column::{FILL, drop_follow, fill_sql, function};

pub(super) fn step(_: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let filled = target.table.triggers.iter().any(|it| it.name == FILL);
    if !filled && !target.may_lack() {
        return None;
    }
    Some(Step {
        phase: Phase::Contract,
        slug: target.slug(),
        title: format!(
            "new rows of {} must come with their tenant",
            target.table.full_name()
        ),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: vec!["everybody who writes goes through pgwarden, or gives the tenant".to_owned()],
        up: format!(
            "{}DROP TRIGGER {FILL} ON {};\nDROP FUNCTION {}();",
            drop_follow(target),
            target.table.sql,
            function(target)
        ),
        verify: Vec::new(),
        down: fill_sql(target),
    })
}
