//! A partitioned table takes over the keys to the tenants that its partitions have: since those are
//! checked, no row is read again.

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::constraints::{key_name, key_sql, lacks_key};

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.partitioned() || !lacks_key(model, target) {
        return None;
    }
    let key = key_sql(model, target);
    Some(adopted(target, &target.slug(), &key, &key_name(target)))
}

/// The step by which a table takes over a key of its partitions.
pub(super) fn adopted(target: &Target<'_>, slug: &str, key: &str, name: &str) -> Step {
    let table = &target.table.sql;
    Step {
        phase: Phase::Constrain,
        slug: format!("{slug}_adopted"),
        title: format!(
            "{} has the keys of its partitions",
            target.table.full_name()
        ),
        run: Run::Transaction,
        lock: "SHARE ROW EXCLUSIVE on both tables, for a moment: the partitions have proven it"
            .to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: vec!["a partition that was made since the plan is read meanwhile".to_owned()],
        up: format!("ALTER TABLE {table} ADD {key};"),
        verify: Vec::new(),
        down: format!("ALTER TABLE {table} DROP CONSTRAINT {name};"),
    }
}
