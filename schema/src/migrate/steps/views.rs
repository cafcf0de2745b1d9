//! Views over tenants' tables show what the asker may see, not what their owner may.

use std::collections::HashSet;

use crate::audit::snapshot::Relation;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::{Model, SECURITY_INVOKER};
use crate::migrate::phase::Phase;
use crate::migrate::targets::slug;

pub(super) fn steps(model: &Model<'_>) -> Vec<Step> {
    if model.server_version < SECURITY_INVOKER {
        return Vec::new();
    }
    let views = model.facts.relations();
    let views = views.filter(|it| it.kind == 'v' && !it.security_invoker);
    views
        .filter(|it| shows_tenants(model, it))
        .map(step)
        .collect()
}

/// Whether a view reads a target, through any number of views.
fn shows_tenants(model: &Model<'_>, view: &Relation) -> bool {
    let mut seen = HashSet::new();
    let mut queue = view.depends_on.clone();
    while let Some(oid) = queue.pop() {
        if !seen.insert(oid) {
            continue;
        }
        if model.target(oid).is_some() || model.facts.is_scoped(oid) {
            return true;
        }
        queue.extend(
            model
                .facts
                .relation(oid)
                .into_iter()
                .flat_map(|it| &it.depends_on),
        );
    }
    false
}

fn step(view: &Relation) -> Step {
    let sql = &view.sql;
    Step {
        phase: Phase::Enforce,
        slug: format!("{}_invoker", slug(view)),
        title: format!("{} shows what the asker may see", view.full_name()),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the view, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at: vec![
            "whoever asks the view needs privileges on its tables from now on".to_owned(),
        ],
        up: format!("ALTER VIEW {sql} SET (security_invoker = on);"),
        verify: Vec::new(),
        down: format!("ALTER VIEW {sql} RESET (security_invoker);"),
    }
}
