//! Forced row level security with the tenant's policy.
//!
//! Policies that a table has already stay, behind a restrictive one: permissive policies are
//! joined by OR, and one that knows no tenants would undo the tenant's.

use crate::audit::snapshot::Relation;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::slug;

/// The policies' names.
const POLICY: &str = "tenant_isolation";
const FENCE: &str = "tenant_fence";

pub(super) fn steps(model: &Model<'_>) -> Vec<Step> {
    let targets = model
        .targets
        .iter()
        .map(|it| (it.table, model.predicate(&it.sql)));
    // What the policy scopes by something else: the tenants themselves, tables of users.
    let others = model
        .facts
        .guarded()
        .filter(|it| model.target(it.oid).is_none());
    let others = others.filter_map(|it| Some((it, model.facts.predicate(it)?)));
    let steps = targets
        .chain(others)
        .filter_map(|(table, predicate)| step(model, table, &predicate));
    steps.collect()
}

fn step(model: &Model<'_>, table: &Relation, predicate: &str) -> Option<Step> {
    let own = |name: &str| table.policies.iter().any(|it| it.name == name);
    let keeps = table.policies.iter().any(|it| {
        let using = it.using.as_deref();
        using.is_some_and(|it| model.facts.restricts(table, it))
    });
    if table.row_security && table.forced && (keeps || own(POLICY)) {
        return None;
    }
    let sql = &table.sql;
    let mut up = Vec::new();
    let mut down = Vec::new();
    let create = |name: &str, kind: &str| {
        format!(
            "CREATE POLICY {name} ON {sql}{kind}\n  USING ({predicate})\n  WITH CHECK ({predicate});"
        )
    };
    if !own(POLICY) {
        up.push(create(POLICY, ""));
        down.push(format!("DROP POLICY {POLICY} ON {sql};"));
    }
    let others = table
        .policies
        .iter()
        .any(|it| it.permissive && it.name != POLICY);
    if others && !own(FENCE) {
        up.push(create(FENCE, " AS RESTRICTIVE"));
        down.push(format!("DROP POLICY {FENCE} ON {sql};"));
    }
    for (is, verb, undo) in [
        (table.row_security, "ENABLE", "DISABLE"),
        (table.forced, "FORCE", "NO FORCE"),
    ] {
        if !is {
            up.push(format!("ALTER TABLE {sql} {verb} ROW LEVEL SECURITY;"));
            down.push(format!("ALTER TABLE {sql} {undo} ROW LEVEL SECURITY;"));
        }
    }
    down.reverse();
    let mut look_at = vec![
        "from now on sessions without claims see no rows, unless their role is above row level security".to_owned(),
    ];
    if others {
        look_at.push("the policies that were there stay, within the tenant".to_owned());
    }
    Some(Step {
        phase: Phase::Enforce,
        slug: format!("{}_policy", slug(table)),
        title: format!(
            "sessions see their tenant's rows of {} only",
            table.full_name()
        ),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table, for a moment".to_owned(),
        rows: 0,
        rate: 0,
        reversible: "yes".to_owned(),
        look_at,
        up: up.join("\n"),
        verify: Vec::new(),
        down: down.join("\n"),
    })
}
