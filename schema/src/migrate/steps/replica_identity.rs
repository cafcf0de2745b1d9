//! What lets a published table without a key be filled: PostgreSQL refuses to update rows that a
//! subscriber could not find.

use crate::audit::snapshot::Relation;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() && target.rehomed.is_none() {
        return None;
    }
    let partitions = target.leaves().map(|it| it.table);
    let tables = match target.partitioned() {
        true => partitions.collect(),
        false => vec![target.table],
    };
    let nameless: Vec<&Relation> = tables
        .into_iter()
        .filter(|it| is_nameless(it) && is_published(model, target.table, it))
        .collect();
    if nameless.is_empty() {
        return None;
    }
    let each = |identity: &dyn Fn(&Relation) -> &'static str| {
        let lines = nameless.iter().map(|it| {
            let (sql, identity) = (&it.sql, identity(it));
            format!("ALTER TABLE {sql} REPLICA IDENTITY {identity};")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    let before = |it: &Relation| match it.replica_identity {
        'n' => "NOTHING",
        _ => "DEFAULT",
    };
    Some(Step {
        phase: Phase::Expand,
        slug: format!("{}_identity", target.slug()),
        title: format!(
            "rows of {} can be updated although they are published and have no key",
            target.table.full_name()
        ),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: vec![
            "subscribers are sent whole old rows from now on; give the table a primary key, or take \
             it out of the publication, and this is not needed"
                .to_owned(),
        ],
        up: each(&|_| "FULL"),
        verify: Vec::new(),
        down: each(&before),
    })
}

/// Whether nothing tells a subscriber which row is meant.
fn is_nameless(table: &Relation) -> bool {
    match table.replica_identity {
        'd' => !table.indexes.iter().any(|it| it.primary),
        'n' => true,
        _ => false,
    }
}

fn is_published(model: &Model<'_>, root: &Relation, table: &Relation) -> bool {
    let sent = model.facts.snapshot.publications.iter();
    sent.filter(|it| it.updates)
        .any(|it| it.all_tables || it.tables.contains(&table.oid) || it.tables.contains(&root.oid))
}
