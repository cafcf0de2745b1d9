//! References between tenants' tables with the tenant in them, so that no row can refer to
//! another tenant's. The old keys stay: what they do on UPDATE and when they are deferred, others
//! may count on.

use std::collections::HashSet;

use crate::audit::snapshot::{Constraint, Relation};
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::{Model, SET_NULL_OF_COLUMNS};
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

/// A key that leaves the tenant out.
struct Link<'a> {
    child: &'a Target<'a>,
    parent: &'a Target<'a>,
    key: &'a Constraint,
    /// What it does on DELETE and UPDATE, and when, as SQL.
    action: String,
}

pub(super) fn steps(model: &Model<'_>) -> Vec<Step> {
    let links: Vec<Link<'_>> = model
        .targets
        .iter()
        .flat_map(|child| {
            child
                .table
                .foreign_keys()
                .filter_map(move |key| link(model, child, key))
        })
        .collect();
    let mut steps = Vec::new();
    let mut made = HashSet::new();
    for it in &links {
        let name = joined(&[
            &it.parent.table.name,
            &it.parent.column,
            &it.key.target_columns.join("_"),
            "key",
        ]);
        let name = model.index_name(&it.parent.table.schema, name);
        if !has_unique(it) && made.insert(name.clone()) {
            let columns = columns(it.parent, &it.key.target_columns);
            let mut step = super::index::concurrent(it.parent, &name, &columns, true);
            step.slug = format!(
                "{}_unique_{}",
                it.parent.slug(),
                it.key.target_columns.join("_")
            );
            steps.push(step);
        }
    }
    for it in &links {
        steps.extend(it.steps());
    }
    steps
}

fn link<'a>(model: &'a Model<'a>, child: &'a Target<'a>, key: &'a Constraint) -> Option<Link<'a>> {
    let parent = model.target(key.target)?;
    let open = !key.columns.contains(&child.column)
        && !child.table.foreign_keys().any(|other| {
            other.target == key.target
                && other.columns.contains(&child.column)
                && key.columns.iter().all(|it| other.columns.contains(it))
        });
    let action = match key.on_delete {
        'a' => String::new(),
        'r' => " ON DELETE RESTRICT".to_owned(),
        'c' => " ON DELETE CASCADE".to_owned(),
        // SET NULL must leave the tenant alone.
        'n' if model.server_version >= SET_NULL_OF_COLUMNS => {
            format!(" ON DELETE SET NULL ({})", sql(child.table, &key.columns))
        }
        'd' if model.server_version >= SET_NULL_OF_COLUMNS => {
            format!(
                " ON DELETE SET DEFAULT ({})",
                sql(child.table, &key.columns)
            )
        }
        _ => return None,
    };
    let action = action + updated(key)? + timing(key);
    let both_plain = !child.partitioned() && !parent.partitioned();
    (open && both_plain).then_some(Link {
        child,
        parent,
        key,
        action,
    })
}

/// What it does when the parent's key changes. The tenant can't be left alone there.
fn updated(key: &Constraint) -> Option<&'static str> {
    match key.on_update {
        'a' => Some(""),
        'r' => Some(" ON UPDATE RESTRICT"),
        'c' => Some(" ON UPDATE CASCADE"),
        _ => None,
    }
}

/// When it is checked: who inserts a circle at once relies on it.
fn timing(key: &Constraint) -> &'static str {
    match (key.deferrable, key.deferred) {
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        (false, _) => "",
    }
}

fn has_unique(it: &Link<'_>) -> bool {
    let wanted = |columns: &[Option<String>]| {
        let mut wanted = vec![it.parent.column.clone()];
        wanted.extend(it.key.target_columns.iter().cloned());
        columns.iter().flatten().eq(wanted.iter()) && columns.len() == wanted.len()
    };
    let mut indexes = it.parent.table.indexes.iter();
    indexes.any(|it| it.unique && it.valid && !it.partial && wanted(&it.columns))
}

fn sql(table: &Relation, names: &[String]) -> String {
    let columns = names.iter().filter_map(|it| table.column(it));
    columns
        .map(|it| it.sql.clone())
        .collect::<Vec<_>>()
        .join(", ")
}

fn columns(target: &Target<'_>, names: &[String]) -> String {
    format!("{}, {}", target.sql, sql(target.table, names))
}

impl Link<'_> {
    fn steps(&self) -> [Step; 2] {
        let (child, parent) = (self.child, self.parent);
        let name = ident(&joined(&[&self.key.name, "tenant"]));
        let table = &child.table.sql;
        let slug = format!("{}_{}", child.slug(), self.key.columns.join("_"));
        let what = format!("{} of the same tenant", parent.table.full_name());
        let joined = self.key.columns.iter().zip(&self.key.target_columns);
        let joined = joined.filter_map(|(from, to)| {
            let (from, to) = (child.table.column(from)?, parent.table.column(to)?);
            Some(format!("p.{} = c.{}", to.sql, from.sql))
        });
        let crossing = format!(
            "SELECT count(*) FROM {table} c JOIN {} p ON {} WHERE p.{} <> c.{};",
            parent.table.sql,
            joined.collect::<Vec<_>>().join(" AND "),
            parent.sql,
            child.sql
        );
        let added = Step {
            phase: Phase::Constrain,
            slug: format!("{slug}_reference"),
            title: format!("new rows of {} refer to {what}", child.table.full_name()),
            run: Run::Transaction,
            lock: "SHARE ROW EXCLUSIVE on both tables, for a moment".to_owned(),
            rows: 0,
            rate: 0,
            reversible: "yes".to_owned(),
            look_at: vec![format!(
                "it does on DELETE and UPDATE what {} does",
                self.key.name
            )],
            up: format!(
                "ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({})\n  REFERENCES {} ({}){} NOT VALID;",
                columns(child, &self.key.columns),
                parent.table.sql,
                columns(parent, &self.key.target_columns),
                self.action
            ),
            verify: Vec::new(),
            down: format!("ALTER TABLE {table} DROP CONSTRAINT {name};"),
        };
        let checked = Step {
            slug: format!("{slug}_checked"),
            title: format!("all rows of {} refer to {what}", child.table.full_name()),
            lock: "SHARE UPDATE EXCLUSIVE on the table, ROW SHARE on its parent, while all rows are read".to_owned(),
            rows: child.rows,
            rate: super::READ_RATE,
            reversible: "nothing to undo".to_owned(),
            look_at: vec!["it fails where rows of two tenants refer to each other: whose they are is for people to say".to_owned()],
            up: format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"),
            verify: vec![crossing],
            down: String::new(),
            ..added.clone()
        };
        [added, checked]
    }
}
