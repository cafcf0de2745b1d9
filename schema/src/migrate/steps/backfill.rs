//! The tenant of the rows that are there, batch by batch in the order of the primary key.
//!
//! The statement compares each row's sum without the column before and after, so that a trigger
//! that changes more than the tenant stops the backfill instead of changing every row unseen.

use pgwarden_policy::migration::Orphans;

use crate::migrate::file::{Run, Step};
use crate::migrate::model::Model;
use crate::migrate::names::literal;
use crate::migrate::phase::Phase;
use crate::migrate::sources::Origins;
use crate::migrate::targets::Target;

use super::OWN_SCHEMA;

/// Rows that are given a tenant in a second, triggers and indexes included.
const RATE: i64 = 20_000;

/// The steps of a table before its keys.
pub(super) fn steps(model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
    let name = target.table.full_name();
    let unknown = Rows::unknown(model, target).map(|rows| Step {
        slug: format!("{}_unknown", target.slug()),
        title: format!("other tenants for rows of {name} whose tenant does not exist"),
        ..rows.step(model)
    });
    let lacking = Rows::lacking(target).map(|rows| Step {
        slug: target.slug(),
        title: format!("the tenants of the rows of {name}"),
        ..rows.step(model)
    });
    unknown.into_iter().chain(lacking).collect()
}

/// The rows that transactions have brought which were open all the while: behind the check and the
/// key that let no other in.
pub(super) fn late_steps(model: &Model<'_>, target: &Target<'_>) -> Vec<Step> {
    let name = target.table.full_name();
    let late = |rows: Rows<'_>, slug: &str, title: String| Step {
        phase: Phase::Constrain,
        slug: format!("{}{slug}_late", target.slug()),
        title,
        reversible: "nothing to undo".to_owned(),
        down: String::new(),
        ..rows.step(model)
    };
    let unknown = Rows::unknown(model, target);
    let unknown = unknown.map(|it| {
        late(
            it,
            "_unknown",
            format!("other tenants for late rows of {name}"),
        )
    });
    let lacking = Rows::lacking(target);
    let lacking = lacking.map(|it| late(it, "", format!("the tenants of late rows of {name}")));
    unknown.into_iter().chain(lacking).collect()
}

/// Rows of a table that get a tenant.
struct Rows<'a> {
    target: &'a Target<'a>,
    origins: &'a Origins,
    key: Key,
    /// Which rows, as SQL about `t`.
    condition: String,
    /// Whether they name a tenant that does not exist.
    unknown: bool,
}

impl<'a> Rows<'a> {
    fn lacking(target: &'a Target<'a>) -> Option<Self> {
        target.may_lack().then(|| Self {
            target,
            origins: &target.origins,
            key: Key::of(target),
            condition: format!("t.{} IS NULL", target.sql),
            unknown: false,
        })
    }

    fn unknown(model: &Model<'_>, target: &'a Target<'a>) -> Option<Self> {
        let tenants = &model.tenants;
        Some(Self {
            origins: target.rehomed.as_ref()?,
            key: Key::of(target),
            condition: format!(
                "t.{0} IS NOT NULL AND NOT EXISTS (SELECT FROM {1} k WHERE k.{2} = t.{0})",
                target.sql, tenants.sql, tenants.key
            ),
            unknown: true,
            target,
        })
    }

    /// The backfill of these rows; whose it is, the caller says.
    fn step(&self, model: &Model<'_>) -> Step {
        let target = self.target;
        let table = &target.table.sql;
        let mut look_at = vec![format!(
            "rows get their tenant from {}",
            self.origins.told()
        )];
        if !self.key.ordered {
            look_at.push("the table has no key: each batch reads it from its start".to_owned());
        }
        if !target.hold.is_empty() {
            look_at.push(
                "the held triggers are off within each batch's transaction only, for nobody else"
                    .to_owned(),
            );
        }
        let reversible = match (target.existing, self.unknown && self.key.ordered) {
            (None, _) => "with the column",
            (Some(_), true) => {
                "yes, by the list in pgwarden_migrate.quarantine, if no trigger of the table refuses it"
            }
            (Some(_), false) => "no: which rows it were is not kept",
        };
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
                false => {
                    "SHARE ROW EXCLUSIVE on the table (no writes) while a batch runs".to_owned()
                }
            },
            rows: target.rows,
            rate: RATE,
            reversible: reversible.to_owned(),
            look_at,
            up: self.statement(),
            verify: vec![format!(
                "SELECT count(*) FROM {table} t WHERE {};",
                self.condition
            )],
            down: self.undone(model),
        }
    }

    /// What gives listed rows back the tenant that they named.
    fn undone(&self, model: &Model<'_>) -> String {
        if !self.unknown || !self.key.ordered {
            return String::new();
        }
        let (table, column) = (&self.target.table.sql, &self.target.sql);
        let listed = format!("table_name = {} AND was IS NOT NULL", self.table_name());
        let keys = self.key.list(", ", |_, name, _| format!("t.{name}::text"));
        format!(
            "UPDATE {table} t SET {column} = q.was::{} FROM {OWN_SCHEMA}.quarantine q\n  \
             WHERE q.{listed} AND q.row_key = ARRAY[{keys}];\n\
             DELETE FROM {OWN_SCHEMA}.quarantine WHERE {listed};",
            model.tenants.key_type
        )
    }

    fn table_name(&self) -> String {
        literal(&self.target.table.full_name())
    }

    /// The batch behind the key `$1` (from the start if that is NULL), of at most `$2` rows. Rows
    /// that others hold are left for a later sweep, so that nobody waits for anybody.
    fn statement(&self) -> String {
        let (table, column, key) = (&self.target.table.sql, &self.target.sql, &self.key);
        let sum = sum(self.target);
        let named = key.list(", ", |at, name, _| format!("t.{name} AS key_{at}"));
        let joined = key.list(" AND ", |at, name, _| format!("t.{name} = b.key_{at}"));
        let keys = key.list(", ", |at, _, _| format!("b.key_{at}"));
        let (place, order, last) = match key.ordered {
            true => {
                let own = key.list(", ", |_, name, _| format!("t.{name}"));
                let after = key.list(", ", |at, _, of| format!("($1::text[])[{at}]::{of}"));
                let texts = key.list(", ", |at, _, _| format!("key_{at}::text"));
                let backwards = key.list(", ", |at, _, _| format!("key_{at} DESC"));
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
            "WITH batch AS MATERIALIZED (\n  SELECT {named},\n    {} AS tenant,\n    t.{column}::text AS was, {sum} AS sum\n  \
             FROM {table} t\n  WHERE {place} AND {}{order}\n  LIMIT $2 FOR NO KEY UPDATE OF t SKIP LOCKED\n),\n\
             changed AS (\n  UPDATE {table} t SET {column} = b.tenant\n  FROM batch b WHERE {joined} AND b.tenant IS NOT NULL\n  \
             RETURNING {keys}, t.{column} AS tenant, b.was, b.sum IS DISTINCT FROM {sum} AS differs\n){}\n\
             SELECT count(*) AS rows, count(*) FILTER (WHERE c.differs) AS differing,\n  \
             {last} AS last\nFROM changed c;",
            self.origins.expression("t"),
            self.condition,
            self.list(),
        )
    }

    /// The list of what goes into the quarantine, or named a tenant that does not exist.
    fn list(&self) -> String {
        let quarantined = self.origins.orphans == Orphans::Quarantine;
        let nobodys = self.origins.nobodys.as_ref().filter(|_| quarantined);
        let which = match (nobodys, self.unknown) {
            _ if !self.key.ordered => return String::new(),
            (_, true) => "true".to_owned(),
            (Some(nobodys), false) => format!("c.tenant = {nobodys}"),
            (None, false) => return String::new(),
        };
        format!(
            ",\nlisted AS (\n  INSERT INTO {OWN_SCHEMA}.quarantine (table_name, row_key, was)\n  \
             SELECT {}, ARRAY[{}], c.was FROM changed c WHERE {which}\n)",
            self.table_name(),
            self.key.list(", ", |at, _, _| format!("c.key_{at}::text")),
        )
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
}

/// A sum of all other columns, by which a change beside the tenant's would show.
fn sum(target: &Target<'_>) -> String {
    let others = target.table.columns.iter();
    let others = others.filter(|it| it.name != target.column);
    let others: Vec<String> = others.map(|it| format!("t.{}", it.sql)).collect();
    format!("md5(ROW({})::text)", others.join(", "))
}
