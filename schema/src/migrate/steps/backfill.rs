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
    let reversible = match target.existing {
        None => "with the column",
        Some(_) => "no: which rows were empty is not kept",
    };
    Some(Step {
        phase: Phase::Backfill,
        slug: target.slug(),
        title: format!("the tenants of the rows of {}", target.table.full_name()),
        reversible: reversible.to_owned(),
        ..batches(model, target)
    })
}

/// The rows that transactions have brought which were open all the while: behind the check that
/// lets no other in.
pub(super) fn late_step(model: &Model<'_>, target: &Target<'_>) -> Option<Step> {
    if !target.may_lack() {
        return None;
    }
    Some(Step {
        phase: Phase::Constrain,
        slug: format!("{}_late", target.slug()),
        title: format!("the tenants of late rows of {}", target.table.full_name()),
        reversible: "nothing to undo".to_owned(),
        ..batches(model, target)
    })
}

fn batches(model: &Model<'_>, target: &Target<'_>) -> Step {
    let key = Key::of(target);
    let (table, column) = (&target.table.sql, &target.sql);
    let mut look_at = vec![format!(
        "rows get their tenant from {}",
        target.origins.told()
    )];
    if !key.ordered {
        look_at.push("the table has no key: each batch reads it from its start".to_owned());
    }
    if !target.hold.is_empty() {
        look_at.push(
            "the held triggers are off within each batch's transaction only, for nobody else"
                .to_owned(),
        );
    }
    Step {
        phase: Phase::Backfill,
        slug: String::new(),
        title: String::new(),
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
        reversible: String::new(),
        look_at,
        up: key.statement(target),
        verify: vec![format!(
            "SELECT count(*) FROM {table} WHERE {column} IS NULL;"
        )],
        down: String::new(),
    }
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
        let mut indexes = target.table.indexes.iter();
        let keys = indexes.clone().filter(|it| it.primary);
        let keys = keys.chain(indexes.by_ref().filter(|it| it.unique && !it.primary));
        let columns = keys.filter(|it| it.valid && !it.partial).find_map(|it| {
            let columns = it.columns.iter().map(|name| {
                let column = target.table.column(name.as_ref()?)?;
                let kept = column.not_null && column.name != target.column;
                kept.then(|| (column.sql.clone(), column.type_name.clone()))
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

    /// A list of something for each column of the key, by its number.
    fn list(&self, separator: &str, of: impl Fn(usize, &str, &str) -> String) -> String {
        let numbered = self.columns.iter().enumerate();
        let listed = numbered.map(|(at, (name, of_type))| of(at + 1, name, of_type));
        listed.collect::<Vec<_>>().join(separator)
    }

    /// The batch behind the key `$1` (from the start if that is NULL), of at most `$2` rows. Rows
    /// that others hold are left for a later sweep, so that nobody waits for anybody.
    fn statement(&self, target: &Target<'_>) -> String {
        let (table, column) = (&target.table.sql, &target.sql);
        let sum = sum(target);
        let named = self.list(", ", |at, name, _| format!("t.{name} AS key_{at}"));
        let joined = self.list(" AND ", |at, name, _| format!("t.{name} = b.key_{at}"));
        let keys = self.list(", ", |at, _, _| format!("b.key_{at}"));
        let (place, order, last) = match self.ordered {
            true => {
                let own = self.list(", ", |_, name, _| format!("t.{name}"));
                let after = self.list(", ", |at, _, of| format!("($1::text[])[{at}]::{of}"));
                let texts = self.list(", ", |at, _, _| format!("key_{at}::text"));
                let backwards = self.list(", ", |at, _, _| format!("key_{at} DESC"));
                (
                    format!("($1::text[] IS NULL OR ({own}) > ({after}))"),
                    format!("\n  ORDER BY {own}"),
                    format!("(SELECT ARRAY[{texts}] FROM batch ORDER BY {backwards} LIMIT 1)"),
                )
            }
            false => (
                "($1::text[] IS NULL OR true)".to_owned(),
                String::new(),
                "NULL::text[]".to_owned(),
            ),
        };
        format!(
            "WITH batch AS MATERIALIZED (\n  SELECT {named},\n    {} AS tenant,\n    {sum} AS sum\n  FROM {table} t\n  \
             WHERE {place} AND t.{column} IS NULL{order}\n  LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED\n),\n\
             changed AS (\n  UPDATE {table} t SET {column} = b.tenant\n  FROM batch b WHERE {joined} AND b.tenant IS NOT NULL\n  \
             RETURNING {keys}, t.{column} AS tenant, b.sum IS DISTINCT FROM {sum} AS differs\n){}\n\
             SELECT count(*) AS rows, count(*) FILTER (WHERE c.differs) AS differing,\n  \
             {last} AS last\nFROM changed c;",
            target.origins.expression("t"),
            self.orphans(target),
        )
    }

    /// The list of what goes into the quarantine.
    fn orphans(&self, target: &Target<'_>) -> String {
        let quarantined = target.origins.orphans == Orphans::Quarantine && self.ordered;
        let Some(nobodys) = target.origins.nobodys.as_ref().filter(|_| quarantined) else {
            return String::new();
        };
        format!(
            ",\nlisted AS (\n  INSERT INTO {OWN_SCHEMA}.quarantine (table_name, row_key)\n  \
             SELECT {}, ARRAY[{}] FROM changed c WHERE c.tenant = {nobodys}\n)",
            literal(&target.table.full_name()),
            self.list(", ", |at, _, _| format!("c.key_{at}::text")),
        )
    }
}

/// A sum of all other columns, by which a change beside the tenant's would show.
fn sum(target: &Target<'_>) -> String {
    let others = target.table.columns.iter();
    let others = others.filter(|it| it.name != target.column);
    let others: Vec<String> = others.map(|it| format!("t.{}", it.sql)).collect();
    format!("md5(ROW({})::text)", others.join(", "))
}
