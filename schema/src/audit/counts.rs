//! How many rows break the model: counted within bounds, since tables may be large. A count that
//! fails (time, privileges, row level security) is told, not taken for zero.

use std::collections::HashMap;

use pgwarden_policy::catalog::Oid;
use tokio_postgres::Client;

use super::facts::Facts;
use crate::Error;

/// No more rows than this are counted.
const ROWS_MAX: i64 = 1000;

/// What was counted; only numbers above zero.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Rows without a tenant, by table.
    pub(crate) nulls: HashMap<Oid, i64>,
    /// Rows whose tenant does not exist, by table.
    pub(crate) orphans: HashMap<Oid, i64>,
    /// Rows whose parent is another tenant's, by table and foreign key.
    pub(crate) crossing: HashMap<(Oid, String), i64>,
    /// What could not be counted.
    pub(crate) notes: Vec<String>,
}

/// A number, as findings show it.
pub(crate) fn shown(count: i64) -> String {
    match count {
        1 => "1 row".to_owned(),
        ROWS_MAX.. => format!("{ROWS_MAX} rows or more"),
        _ => format!("{count} rows"),
    }
}

pub(super) async fn read(client: &Client, facts: &Facts) -> Result<Counts, Error> {
    let mut counts = Counts::default();
    for it in facts.tenant_columns() {
        let (table, column) = (&it.table.sql, &it.column.sql);
        if !it.column.not_null {
            let rows = format!("{table} c WHERE c.{column} IS NULL");
            if let Some(count) = count(client, &it.full_name(), &rows, &mut counts.notes).await? {
                counts.nulls.insert(it.table.oid, count);
            }
        }
        let Some((tenants, id)) = facts.tenants() else {
            continue;
        };
        let kept = |target, column: &str| target == tenants.oid && column == id.name;
        let checked = it
            .foreign_keys()
            .any(|key| key.validated && key.target_columns.iter().any(|it| kept(key.target, it)));
        if !checked {
            // As text: the types may differ, which is a finding of its own.
            let rows = format!(
                "{table} c WHERE c.{column} IS NOT NULL AND NOT EXISTS \
                 (SELECT FROM {} p WHERE p.{}::text = c.{column}::text)",
                tenants.sql, id.sql
            );
            if let Some(count) = count(client, &it.full_name(), &rows, &mut counts.notes).await? {
                counts.orphans.insert(it.table.oid, count);
            }
        }
    }
    crossing(client, facts, &mut counts).await?;
    Ok(counts)
}

/// Foreign keys between scoped tables that leave the tenant out.
async fn crossing(client: &Client, facts: &Facts, counts: &mut Counts) -> Result<(), Error> {
    for link in super::lints::links_without_tenant(facts) {
        let (child, parent) = (link.child, link.parent);
        let pairs = link.key.columns.iter().zip(&link.key.target_columns);
        let joined = pairs.filter_map(|(from, to)| {
            let from = child.table.column(from)?;
            let to = parent.table.column(to)?;
            Some(format!("p.{} = c.{}", to.sql, from.sql))
        });
        let joined: Vec<String> = joined.collect();
        let rows = format!(
            "{} c JOIN {} p ON {} WHERE p.{}::text <> c.{}::text",
            child.table.sql,
            parent.table.sql,
            joined.join(" AND "),
            parent.column.sql,
            child.column.sql
        );
        let what = format!("{}.{}", child.table.full_name(), link.key.name);
        if let Some(count) = count(client, &what, &rows, &mut counts.notes).await? {
            let at = (child.table.oid, link.key.name.clone());
            counts.crossing.insert(at, count);
        }
    }
    Ok(())
}

/// Counts in a savepoint, so that a failure does not end the transaction.
async fn count(
    client: &Client,
    what: &str,
    rows: &str,
    notes: &mut Vec<String>,
) -> Result<Option<i64>, Error> {
    client.batch_execute("SAVEPOINT count").await?;
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {rows} LIMIT {ROWS_MAX}) counted");
    match client.query_one(&sql, &[]).await {
        Ok(row) => {
            client.batch_execute("RELEASE count").await?;
            Ok(Some(row.try_get(0)?).filter(|count| *count > 0))
        }
        Err(error) if error.is_closed() => Err(error.into()),
        Err(error) => {
            client.batch_execute("ROLLBACK TO count").await?;
            notes.push(format!(
                "{what} could not be counted: {}",
                Error::from(error)
            ));
            Ok(None)
        }
    }
}
