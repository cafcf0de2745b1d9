//! An index that leads with the tenant, made while readers and writers go on: of a partitioned
//! table, which PostgreSQL can't do that for, partition by partition.

use crate::audit::lints::has_tenant_index;
use crate::audit::snapshot::Relation;
use crate::ident::ident;
use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::joined;
use crate::migrate::phase::Phase;
use crate::migrate::targets::{Target, slug};

/// Rows that are indexed in a second.
const RATE: i64 = 300_000;

/// An index that a table is to have.
pub(super) struct Wanted {
    pub(super) name: String,
    /// Its columns.
    pub(super) columns: Vec<String>,
    /// The same as SQL.
    pub(super) sql: String,
    pub(super) unique: bool,
    /// What the steps' names say of it.
    pub(super) slug: String,
}

pub(super) fn steps(model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
    let column = model.facts.tenant_column(target.table);
    let composite = !super::composite::wanted(model, target).is_empty();
    if composite || column.is_some_and(|it| has_tenant_index(&it)) {
        return Vec::new();
    }
    let name = joined(&[&target.table.name, &target.column, "idx"]);
    let wanted = Wanted {
        name: model.index_name(&target.table.schema, name),
        columns: vec![target.column.clone()],
        sql: target.sql.clone(),
        unique: false,
        slug: "index".to_owned(),
    };
    wanted.steps(model, target)
}

impl Wanted {
    /// The steps that make it.
    pub(super) fn steps(&self, model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
        // A foreign table's rows can't be indexed from here: then PostgreSQL decides.
        let foreign = target.leaves().any(|it| it.table.kind == 'f');
        match target.partitioned() {
            false => vec![self.concurrent(target.table, &self.name, target.rows)],
            true if foreign => vec![self.at_once(target)],
            true => self.by_partition(model, target),
        }
    }

    fn kind(&self) -> &'static str {
        if self.unique { "UNIQUE INDEX" } else { "INDEX" }
    }

    fn concurrent(&self, table: &Relation, name: &str, rows: i64) -> Step {
        let index = in_schema(table, name);
        let (kind, columns) = (self.kind(), &self.sql);
        Step {
            phase: Phase::Constrain,
            slug: format!("{}_{}", slug(table), self.slug),
            title: format!("an index on {} ({columns})", table.full_name()),
            lock: "SHARE UPDATE EXCLUSIVE on the table (no other DDL); reads and writes go on"
                .to_owned(),
            rows,
            rate: RATE,
            reversible: "yes".to_owned(),
            look_at: vec!["it waits for transactions that are open".to_owned()],
            up: format!(
                "CREATE {kind} CONCURRENTLY {} ON {} ({columns});",
                ident(name),
                table.sql
            ),
            verify: Vec::new(),
            down: format!("DROP INDEX IF EXISTS {index};"),
            run: Run::Concurrently { index },
        }
    }

    fn at_once(&self, target: &Target<'_>) -> Step {
        Step {
            run: Run::Transaction,
            lock: "SHARE on the table (no writes) while it is built".to_owned(),
            look_at: vec![
                "a partition is a foreign table, so it can't be built concurrently".to_owned(),
            ],
            up: format!(
                "CREATE {} {} ON {} ({});",
                self.kind(),
                ident(&self.name),
                target.table.sql,
                self.sql
            ),
            ..self.concurrent(target.table, &self.name, target.rows)
        }
    }

    /// An empty index on the table, full ones on the partitions, which it then takes over.
    fn by_partition(&self, model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
        let root = in_schema(target.table, &self.name);
        let (mut frames, mut undone) = (Vec::new(), Vec::new());
        let (mut built, mut attached) = (Vec::new(), Vec::new());
        frames.push(self.frame(target.table, &self.name));
        undone.push(format!("DROP INDEX IF EXISTS {root};"));
        for it in &target.partitions {
            let there = self.there(it.table);
            let name = there.clone().unwrap_or_else(|| {
                let name = joined(&[&it.table.name, &self.columns.join("_"), self.suffix()]);
                model.index_name(&it.table.schema, name)
            });
            let parent = it
                .table
                .parents
                .first()
                .filter(|it| **it != target.table.oid);
            let parent =
                parent.and_then(|oid| target.partitions.iter().find(|it| it.table.oid == *oid));
            let above = parent.map_or_else(|| root.clone(), |it| self.name_on(model, it.table));
            let index = in_schema(it.table, &name);
            attached.push(format!("ALTER INDEX {above} ATTACH PARTITION {index};"));
            match (there, it.is_leaf()) {
                (Some(_), _) => {}
                (None, true) => built.push(self.concurrent(it.table, &name, it.rows)),
                (None, false) => {
                    frames.push(self.frame(it.table, &name));
                    undone.push(format!("DROP INDEX IF EXISTS {index};"));
                }
            }
        }
        // What is below another is attached before that is.
        attached.reverse();
        let lock = "SHARE on the table, for a moment: nothing is read".to_owned();
        let frame = Step {
            run: Run::Transaction,
            slug: format!("{}_{}_frame", target.slug(), self.slug),
            title: format!(
                "an empty index on {} ({})",
                target.table.full_name(),
                self.sql
            ),
            lock,
            rows: 0,
            look_at: vec![
                "its partitions get theirs one by one; nothing uses it before".to_owned(),
            ],
            up: frames.join("\n"),
            down: undone.join("\n"),
            ..self.concurrent(target.table, &self.name, 0)
        };
        let taken = Step {
            slug: format!("{}_{}", target.slug(), self.slug),
            title: format!(
                "{} has the indexes of its partitions",
                target.table.full_name()
            ),
            lock: "SHARE UPDATE EXCLUSIVE on the table and its partitions, for a moment".to_owned(),
            look_at: vec![
                "a partition without the index would leave it unusable: plan again then".to_owned(),
            ],
            up: attached.join("\n"),
            verify: vec![format!(
                "SELECT count(*) FROM pg_index WHERE indexrelid = {}::regclass AND NOT indisvalid;",
                crate::migrate::names::literal(&root)
            )],
            // With it go those that it took over.
            down: format!("DROP INDEX IF EXISTS {root};"),
            ..frame.clone()
        };
        [frame].into_iter().chain(built).chain([taken]).collect()
    }

    fn suffix(&self) -> &'static str {
        if self.unique { "key" } else { "idx" }
    }

    fn name_on(&self, model: &Model<'_>, table: &Relation) -> String {
        let name = self.there(table).unwrap_or_else(|| {
            let name = joined(&[&table.name, &self.columns.join("_"), self.suffix()]);
            model.index_name(&table.schema, name)
        });
        in_schema(table, &name)
    }

    /// The name of such an index that the table has already.
    fn there(&self, table: &Relation) -> Option<String> {
        let mut indexes = table.indexes.iter();
        let found = indexes.find(|it| {
            it.valid
                && !it.partial
                && !it.of_constraint
                && it.unique == self.unique
                && it.columns.len() == self.columns.len()
                && it.columns.iter().flatten().eq(self.columns.iter())
        });
        found.map(|it| it.name.clone())
    }

    fn frame(&self, table: &Relation, name: &str) -> String {
        format!(
            "CREATE {} {} ON ONLY {} ({});",
            self.kind(),
            ident(name),
            table.sql,
            self.sql
        )
    }
}

fn in_schema(table: &Relation, name: &str) -> String {
    format!("{}.{}", ident(&table.schema), ident(name))
}
