//! An index that leads with the tenant.

use crate::audit::lints::has_tenant_index;
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

/// Rows that are indexed in a second.
pub(super) const RATE: i64 = 300_000;

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let column = model.facts.tenant_column(target.table);
    if column.is_some_and(|it| has_tenant_index(&it)) {
        return None;
    }
    let name = joined(&[&target.table.name, &target.column, "idx"]);
    let name = model.index_name(&target.table.schema, name);
    Some(concurrent(target, &name, &target.sql, false))
}

/// A step that makes an index.
pub(super) fn concurrent(target: &Target<'_>, name: &str, columns: &str, unique: bool) -> Step {
    let table = &target.table.sql;
    let index = format!("{}.{}", ident(&target.table.schema), ident(name));
    let kind = if unique { "UNIQUE INDEX" } else { "INDEX" };
    // A partitioned table's indexes can't be built concurrently.
    let (run, how, lock) = match target.partitioned() {
        true => (
            Run::Transaction,
            "",
            "SHARE on the table (no writes) while it is built",
        ),
        false => (
            Run::Concurrently {
                index: index.clone(),
            },
            "CONCURRENTLY ",
            "SHARE UPDATE EXCLUSIVE on the table (no other DDL); reads and writes go on",
        ),
    };
    Step {
        phase: Phase::Constrain,
        slug: format!("{}_index{}", target.slug(), if unique { "_unique" } else { "" }),
        title: format!("an index on {} ({columns})", target.table.full_name()),
        run,
        lock: lock.to_owned(),
        rows: target.rows,
        rate: RATE,
        reversible: "yes".to_owned(),
        look_at: vec!["it waits for transactions that are open; composite indexes that queries need are not planned".to_owned()],
        up: format!("CREATE {kind} {how}{} ON {table} ({columns});", ident(name)),
        verify: Vec::new(),
        down: format!("DROP INDEX IF EXISTS {index};"),
    }
}
