//! What can be done, one kind of step in one file; each leaves out what the database already has.

use super::file::Step;
use super::model::Model;

mod adoption;
mod backfill;
mod column;
mod column_type;
mod constraints;
mod fill_removal;
mod guard_trigger;
mod index;
mod key_actions;
mod not_null;
mod parent_key;
mod row_security;
mod session_tenant;
mod tenants;
mod validation;
mod views;

/// All steps, in their order: a phase after the other, parents before their children.
pub(super) fn all(model: &Model<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(tenants::step(model));
    steps.extend(session_tenant::step(model));
    let per_table = [
        column_type::step,
        column::step,
        backfill::step,
        constraints::step,
        backfill::late_step,
        validation::step,
        adoption::step,
        not_null::step,
    ];
    for step in per_table {
        steps.extend(model.targets.iter().filter_map(|it| step(model, it)));
    }
    let indexes = model.targets.iter();
    steps.extend(indexes.flat_map(|it| index::steps(model, it)));
    steps.extend(parent_key::steps(model));
    steps.extend(
        model
            .targets
            .iter()
            .filter_map(|it| guard_trigger::step(model, it)),
    );
    steps.extend(row_security::steps(model));
    steps.extend(views::steps(model));
    steps.extend(
        model
            .targets
            .iter()
            .filter_map(|it| fill_removal::step(model, it)),
    );
    steps
}

/// Rows that a second's sequential reading checks.
const READ_RATE: i64 = 1_000_000;

/// The schema of what only lives while a migration does.
const OWN_SCHEMA: &str = "pgwarden_migrate";
