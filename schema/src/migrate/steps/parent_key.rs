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

use super::adoption::adopted;
use super::index::Wanted;
use super::key_actions::{timing, updated};

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
            let of = it.key.target_columns.clone();
            let wanted = Wanted {
                name,
                sql: columns(it.parent, &of),
                slug: format!("unique_{}", of.join("_")),
                columns: [it.parent.column.clone()].into_iter().chain(of).collect(),
                unique: true,
            };
            steps.extend(wanted.steps(model, it.parent));
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
    // A table's partitions that refer to the whole table: the takeover would end in a circle.
    let circle = child.partitioned() && child.table.oid == parent.table.oid;
    (open && !circle).then_some(Link {
        child,
        parent,
        key,
        action,
    })
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
    fn steps(&self) -> Vec<Step> {
        let (child, parent) = (self.child, self.parent);
        let slug = format!("{}_{}", child.slug(), self.key.columns.join("_"));
        let what = format!("{} of the same tenant", parent.table.full_name());
        let name = ident(&joined(&[&self.key.name, "tenant"]));
        let key = self.sql(&name);
        let (mut up, mut validate, mut down) = (Vec::new(), Vec::new(), Vec::new());
        for table in self.holders() {
            up.push(format!("ALTER TABLE {table} ADD {key} NOT VALID;"));
            validate.push(format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name};"));
            down.push(format!(
                "ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {name};"
            ));
        }
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
            up: up.join("\n"),
            verify: Vec::new(),
            down: down.join("\n"),
        };
        let checked = Step {
            slug: format!("{slug}_checked"),
            title: format!("all rows of {} refer to {what}", child.table.full_name()),
            lock: "SHARE UPDATE EXCLUSIVE on the table, ROW SHARE on its parent, while all rows are read".to_owned(),
            rows: child.rows,
            rate: super::READ_RATE,
            reversible: "nothing to undo".to_owned(),
            look_at: vec![format!(
                "it fails where rows of two tenants refer to each other: whose they are is for people to say; {}",
                self.crossing()
            )],
            up: validate.join("\n"),
            verify: vec![self.crossing()],
            down: String::new(),
            ..added.clone()
        };
        let taken = child
            .partitioned()
            .then(|| adopted(child, &slug, &key, &name));
        [added, checked].into_iter().chain(taken).collect()
    }

    /// The key with the tenant, as SQL.
    fn sql(&self, name: &str) -> String {
        format!(
            "CONSTRAINT {name} FOREIGN KEY ({})\n  REFERENCES {} ({}){}",
            columns(self.child, &self.key.columns),
            self.parent.table.sql,
            columns(self.parent, &self.key.target_columns),
            self.action
        )
    }

    /// The tables whose rows are checked: a partitioned table's key can't be NOT VALID.
    fn holders(&self) -> Vec<&String> {
        match self.child.partitioned() {
            true => self.child.leaves().map(|it| &it.table.sql).collect(),
            false => vec![&self.child.table.sql],
        }
    }

    /// What counts the rows that refer to another tenant's.
    fn crossing(&self) -> String {
        let (child, parent) = (self.child, self.parent);
        let pairs = self.key.columns.iter().zip(&self.key.target_columns);
        let pairs = pairs.filter_map(|(from, to)| {
            let (from, to) = (child.table.column(from)?, parent.table.column(to)?);
            Some(format!("p.{} = c.{}", to.sql, from.sql))
        });
        format!(
            "SELECT count(*) FROM {} c JOIN {} p ON {} WHERE p.{} <> c.{};",
            child.table.sql,
            parent.table.sql,
            pairs.collect::<Vec<_>>().join(" AND "),
            parent.sql,
            child.sql
        )
    }
}
