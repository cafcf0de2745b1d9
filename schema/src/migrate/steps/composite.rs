//! Composite indexes, the tenant in front, where the application's SQL looks rows up by more.

use crate::audit::lints::{links_to_tenants, serves};
use crate::migrate::file::Step;
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::targets::Target;

use super::index::Wanted;

pub(super) fn steps(model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
    let wanted = wanted(model, target);
    let steps = wanted.iter().flat_map(|(it, place)| {
        let steps = it.steps(model, target).into_iter();
        steps.map(move |mut step| {
            step.look_at.push(format!("{place} looks rows up by it"));
            step
        })
    });
    steps.collect()
}

/// The indexes, and who wants them. Of two, of which one begins with the other, the longer.
pub(super) fn wanted(model: &Model<'_>, target: &Target<'_>) -> Vec<(Wanted, String)> {
    let lookups = model
        .lookups
        .iter()
        .filter(|it| it.table == target.table.oid);
    let mut all: Vec<(Vec<String>, &String)> = Vec::new();
    for it in lookups {
        let others = it.columns.iter().filter(|name| **name != target.column);
        let others: Vec<String> = others.cloned().collect();
        if others.is_empty() || is_served(model, target, &others) {
            continue;
        }
        let columns: Vec<String> = [target.column.clone()].into_iter().chain(others).collect();
        if !all.iter().any(|known| known.0.starts_with(&columns)) {
            all.retain(|known| !columns.starts_with(&known.0));
            all.push((columns, &it.place));
        }
    }
    let made = all.into_iter().filter_map(|(columns, place)| {
        let sql = columns.iter().map(|name| match *name == target.column {
            true => Some(target.sql.clone()),
            false => Some(target.table.column(name)?.sql.clone()),
        });
        let sql = sql.collect::<Option<Vec<_>>>()?.join(", ");
        let name = joined(&[&target.table.name, &columns.join("_"), "idx"]);
        let wanted = Wanted {
            name: model.index_name(&target.table.schema, name),
            slug: format!("index_{}", columns.join("_")),
            sql,
            columns,
            unique: false,
        };
        Some((wanted, place.clone()))
    });
    made.collect()
}

/// Whether an index finds few rows already: it leads with the tenant and these columns, is unique in
/// them, or leads with a parent of one tenant.
fn is_served(model: &Model<'_>, target: &Target<'_>, columns: &[String]) -> bool {
    let leads_with_parent = target.table.indexes.iter().any(|it| {
        let first = it.columns.first().and_then(Option::as_ref);
        it.valid
            && !it.partial
            && first.is_some_and(|name| {
                columns.contains(name) && links_to_tenants(model.facts, target.table, name)
            })
    });
    leads_with_parent
        || target
            .table
            .indexes
            .iter()
            .any(|it| serves(it, &target.column, columns))
}
