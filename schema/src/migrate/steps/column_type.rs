//! A tenant column of another type than the tenant's, such as a uuid in a text.
//!
//! The table is rewritten, which stops readers and writers for as long: nothing else keeps the
//! column's name and its values together for an application that goes on using both.

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

/// Rows that are rewritten in a second.
const RATE: i64 = 200_000;

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    let existing = target.existing.filter(|_| target.retyped)?;
    let (table, column, wanted) = (&target.table.sql, &target.sql, &model.tenants.key_type);
    let change = format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE");
    Some(Step {
        phase: Phase::Expand,
        slug: format!("{}_type", target.slug()),
        title: format!("{}.{} becomes {wanted}", target.table.full_name(), target.column),
        run: Run::Transaction,
        lock: "ACCESS EXCLUSIVE on the table (neither reads nor writes) while it is rewritten".to_owned(),
        rows: target.rows,
        rate: RATE,
        reversible: "yes; empty texts stay NULL".to_owned(),
        look_at: vec![
            "a value that is none stops it, and so does a view, a policy or a default that uses the column".to_owned(),
            "what the application compares the column with, and sends for it".to_owned(),
        ],
        up: format!("{change} {wanted}\n  USING nullif(btrim({column}::text), '')::{wanted};"),
        verify: Vec::new(),
        down: format!("{change} {} USING {column}::text::{};", existing.type_name, existing.type_name),
    })
}
