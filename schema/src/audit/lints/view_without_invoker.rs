//! A view over scoped tables runs with its owner's rights.
//!
//! Why: Policies are those of the view's owner, not of who asks: to an owner above row level
//! security every tenant's rows are open.
//!
//! Fix: Set security_invoker. Before PostgreSQL 15, which has none, give the view to a role that
//! policies bind.

use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};
use crate::audit::snapshot::Relation;

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "view_without_invoker",
    level: Level::Error,
    check,
};

/// The first version that has security_invoker.
const SINCE: u32 = 150_000;

fn check(facts: &Facts) -> Vec<Draft> {
    let has_invoker = facts.snapshot.server_version >= SINCE;
    let views = facts
        .relations()
        .filter(|it| it.kind == 'v' && !it.security_invoker);
    views
        .filter_map(|it| {
            let shown = facts.shown_by(it);
            let first = if has_invoker {
                shown.first()
            } else {
                shown.iter().find(|table| is_open(facts, table, &it.owner))
            }?;
            let why = format!(
                "it shows {} with the rights of {}",
                first.full_name(),
                it.owner
            );
            let draft = Draft::new(it.full_name(), why);
            Some(match has_invoker {
                true => draft.fix(format!(
                    "ALTER VIEW {} SET (security_invoker = on);",
                    it.sql
                )),
                false => draft,
            })
        })
        .collect()
}

/// Whether a table's policies do not bind a role.
fn is_open(facts: &Facts, table: &Relation, role: &str) -> bool {
    facts.is_above_rls(role) || !table.row_security || table.owner == role && !table.forced
}
