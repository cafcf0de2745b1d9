//! The tenant of the rows that are there, batch by batch in the order of the primary key.
//!
//! The statement compares each row's sum without the column before and after, so that a trigger
//! that changes more than the tenant stops the backfill instead of changing every row unseen.

use pgwarden_policy::migration::Orphans;

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::literal;
use crate::migrate::phase::Phase;
use crate::migrate::targets::Target;

use super::OWN_SCHEMA;

/// Rows that are given a tenant in a second, triggers and indexes included.
const RATE: i64 = 20_000;

pub(super) fn step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() {
        return None;
    }
    let key = Key::of(target);
    let (table, column) = (&target.table.sql, &target.sql);
    let mut look_at = vec![format!(
        "rows get their tenant from {}",
        target.origins.told()
    )];
    if !key.ordered {
        look_at.push("the table has no primary key: each batch reads it from its start".to_owned());
    }
    if !target.hold.is_empty() {
        look_at.push(
            "the held triggers are off within each batch's transaction only, for nobody else"
                .to_owned(),
        );
    }
    Some(Step {
        phase: Phase::Backfill,
        slug: target.slug(),
        title: format!("the tenants of the rows of {}", target.table.full_name()),
        run: Run::Batches {
            table: table.clone(),
            rows: model.batch_rows,
            hold: target.hold.clone(),
        },
        lock: match target.hold.is_empty() {
            true => "the rows of a batch".to_owned(),
            false => "SHARE ROW EXCLUSIVE on the table (no writes) while a batch runs".to_owned(),
        },
        rows: target.rows,
        rate: RATE,
        reversible: "with the column".to_owned(),
        look_at,
        up: key.statement(target),
        verify: vec![format!(
            "SELECT count(*) FROM {table} WHERE {column} IS NULL;"
        )],
        down: String::new(),
    })
}

/// What orders the rows.
struct Key {
    /// Columns and their types as SQL.
    columns: Vec<(String, String)>,
    /// Whether it is the primary key; else rows are taken as they come.
    ordered: bool,
}

impl Key {
    fn of(target: &Target<'_>) -> Self {
        let primary = target.table.constraints.iter().find(|it| it.kind == 'p');
        let columns = primary.and_then(|it| {
            let columns = it.columns.iter().map(|name| {
                let column = target.table.column(name)?;
                Some((column.sql.clone(), column.type_name.clone()))
            });
            columns.collect::<Option<Vec<_>>>()
        });
        match columns {
            Some(columns) => Self {
                columns,
                ordered: true,
            },
            None => Self {
                columns: [("tableoid", "oid"), ("ctid", "tid")]
                    .map(|(name, of)| (name.to_owned(), of.to_owned()))
                    .to_vec(),
                ordered: false,
            },
        }
    }

    /// The batch behind the key `$1` (from the start if that is NULL), of at most `$2` rows.
    fn statement(&self, target: &Target<'_>) -> String {
        let (table, column) = (&target.table.sql, &target.sql);
        let list = |row: &str| {
            let names = self.columns.iter().map(|(name, _)| format!("{row}.{name}"));
            names.collect::<Vec<_>>().join(", ")
        };
        let numbered = self.columns.iter().enumerate();
        let named = numbered
            .clone()
            .map(|(at, (name, _))| format!("t.{name} AS key_{}", at + 1));
        let named = named.collect::<Vec<_>>().join(", ");
        let joined = numbered
            .clone()
            .map(|(at, (name, _))| format!("t.{name} = b.key_{}", at + 1));
        let joined = joined.collect::<Vec<_>>().join(" AND ");
        let after = numbered
            .clone()
            .map(|(at, (_, of))| format!("($1::text[])[{}]::{of}", at + 1));
        let after = after.collect::<Vec<_>>().join(", ");
        let texts = numbered
            .clone()
            .map(|(at, _)| format!("c.key_{}::text", at + 1));
        let texts = texts.collect::<Vec<_>>().join(", ");
        let keys = numbered.map(|(at, _)| format!("b.key_{}", at + 1));
        let keys = keys.collect::<Vec<_>>().join(", ");
        let (place, order, backwards) = match self.ordered {
            true => (
                format!("($1::text[] IS NULL OR ({}) > ({after})) AND ", list("t")),
                format!("\n  ORDER BY {}", list("t")),
                format!(
                    "ORDER BY {}",
                    (1..=self.columns.len())
                        .map(|at| format!("c.key_{at} DESC"))
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            ),
            false => (
                "($1::text[] IS NULL OR true) AND ".to_owned(),
                String::new(),
                String::new(),
            ),
        };
        let row = literal(&target.column);
        let orphans = self.orphans(target);
        format!(
            "WITH batch AS MATERIALIZED (\n  SELECT {named}, md5((to_jsonb(t) - {row})::text) AS sum\n  FROM {table} t\n  \
             WHERE {place}t.{column} IS NULL{order}\n  LIMIT $2 FOR NO KEY UPDATE\n),\n\
             changed AS (\n  UPDATE {table} t SET {column} = {}\n  FROM batch b WHERE {joined}\n  \
             RETURNING {keys}, t.{column} AS tenant, b.sum IS DISTINCT FROM md5((to_jsonb(t) - {row})::text) AS differs\n){orphans}\n\
             SELECT count(*) AS rows, count(*) FILTER (WHERE c.differs) AS differing,\n  \
             (SELECT ARRAY[{texts}] FROM changed c {backwards} LIMIT 1) AS last\nFROM changed c;",
            target.origins.expression("t"),
        )
    }

    /// The list of what goes into the quarantine.
    fn orphans(&self, target: &Target<'_>) -> String {
        if target.origins.orphans != Orphans::Quarantine || !self.ordered {
            return String::new();
        }
        let texts = (1..=self.columns.len()).map(|at| format!("c.key_{at}::text"));
        format!(
            ",\nlisted AS (\n  INSERT INTO {OWN_SCHEMA}.quarantine (table_name, row_key)\n  \
             SELECT {}, ARRAY[{}] FROM changed c WHERE c.tenant = {}\n)",
            literal(&target.table.full_name()),
            texts.collect::<Vec<_>>().join(", "),
            target.origins.nobodys
        )
    }
}
