//! What can be done, one kind of step in one file; each leaves out what the database already has.

use super::file::Step;
use super::model::Model;
use super::targets::Target;

mod adoption;
mod backfill;
mod column;
mod column_type;
mod composite;
mod constraints;
mod fill_removal;
mod guard_trigger;
mod index;
mod key_actions;
mod not_null;
mod parent_key;
mod replica_identity;
mod row_security;
mod session_tenant;
mod tenants;
mod validation;
mod views;

/// All steps, in their order: a phase after the other, parents before their children.
pub(super) fn all(model: &Model<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    steps.extend(tenants::step(model));
    let each = |of: fn(&Model<'_>, &Target<'_>) -> Option<Step>| {
        let targets = model.targets.iter();
        targets.filter_map(move |it| of(model, it))
    };
    steps.extend(each(column_type::step));
    steps.extend(each(column::step));
    let targets = || model.targets.iter();
    steps.extend(each(replica_identity::step));
    steps.extend(targets().flat_map(|it| backfill::steps(model, it)));
    steps.extend(each(constraints::step));
    steps.extend(targets().flat_map(|it| backfill::late_steps(model, it)));
    steps.extend(each(validation::step));
    steps.extend(each(adoption::step));
    steps.extend(each(not_null::step));
    steps.extend(targets().flat_map(|it| index::steps(model, it)));
    steps.extend(targets().flat_map(|it| composite::steps(model, it)));
    steps.extend(parent_key::steps(model));
    steps.extend(each(guard_trigger::step));
    steps.extend(row_security::steps(model));
    steps.extend(views::steps(model));
    steps.extend(each(fill_removal::step));
    // Only where something asks it.
    let asks = steps.iter().any(|it| it.up.contains(&model.function.sql));
    if let Some(step) = session_tenant::step(model).filter(|_| asks) {
        let behind = steps.partition_point(|it| it.slug == "tenants");
        steps.insert(behind, step);
    }
    steps
}

/// Rows that a second's sequential reading checks.
const READ_RATE: i64 = 1_000_000;

/// The schema of what only lives while a migration does.
const OWN_SCHEMA: &str = "pgwarden_migrate";
