//! Rows refer to another tenant's rows.
//!
//! Why: A join shows one tenant what belongs to another, and a cascade deletes across tenants.
//!
//! Fix: Find out whose the rows are and correct them; then put the tenant into the foreign key.

use super::links_without_tenant;
use crate::audit::counts::shown;
use crate::audit::facts::Facts;
use crate::audit::finding::{Draft, Level, Lint};

/// See above.
pub(super) const LINT: Lint = Lint {
    code: "rows_of_two_tenants",
    level: Level::Error,
    check,
};

fn check(facts: &Facts) -> Vec<Draft> {
    let links = links_without_tenant(facts).filter_map(|it| {
        let at = (it.child.table.oid, it.key.name.clone());
        let count = *facts.counts.crossing.get(&at)?;
        let parent = it.parent.table.full_name();
        let why = format!(
            "{} of a tenant other than that of their row in {parent}",
            shown(count)
        );
        Some(Draft::new(it.object(), why))
    });
    links.collect()
}
