//! Relations that can be selected from, with their columns, parents and what views stand on.
//!
//! Toast tables are left out, and so are temporary relations: those of other sessions can't be
//! used, and the catalogue's own reader has none.

use std::collections::HashMap;

use pgwarden_policy::catalog::{Column, Oid, Relation, RelationKind};
use tokio_postgres::{Client, Row};

use crate::error::Error;

const RELATIONS: &str = "
SELECT c.oid, n.nspname, c.relname, c.relkind::pg_catalog.text AS kind, c.relispartition,
       c.relrowsecurity, c.relforcerowsecurity,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_policy p
        WHERE p.polrelid = c.oid)::pg_catalog.int4 AS policies,
       coalesce((SELECT o.option_value::pg_catalog.bool
                 FROM pg_catalog.pg_options_to_table(c.reloptions) o
                 WHERE o.option_name = 'security_invoker'), false) AS security_invoker,
       (SELECT e.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension,
       CASE WHEN c.relkind = 'v' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
            THEN pg_catalog.pg_get_viewdef(c.oid) END AS definition,
       coalesce((SELECT o.option_value::pg_catalog.bool
                 FROM pg_catalog.pg_options_to_table(c.reloptions) o
                 WHERE o.option_name = 'security_barrier'), false) AS security_barrier,
       EXISTS (SELECT FROM pg_catalog.pg_rewrite w WHERE w.ev_class = c.oid AND w.ev_type <> '1')
         OR EXISTS (SELECT FROM pg_catalog.pg_trigger t
                    WHERE t.tgrelid = c.oid AND t.tgtype::pg_catalog.int4 & 64 <> 0) AS redirects_writes,
       c.relpersistence = 'u' AS unlogged
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
ORDER BY c.oid";

const COLUMNS: &str = "
SELECT a.attrelid, a.attname, a.attnum, a.atttypid, a.attnotnull, a.atthasdef,
       a.attgenerated <> '' AS generated, a.attidentity <> '' AS identity
FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
WHERE a.attnum > 0 AND NOT a.attisdropped
  AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
ORDER BY a.attrelid, a.attnum";

const PARENTS: &str = "
SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits ORDER BY inhrelid, inhseqno";

/// The rule of a view depends on what its query names, and on the view itself.
const VIEW_SOURCES: &str = "
SELECT DISTINCT r.ev_class, d.refobjid
FROM pg_catalog.pg_rewrite r
JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
JOIN pg_catalog.pg_depend d
  ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
ORDER BY r.ev_class, d.refobjid";

pub(crate) async fn read(client: &Client) -> Result<Vec<Relation>, Error> {
    let mut columns = read_columns(client).await?;
    let mut parents = read_pairs(client, PARENTS).await?;
    let mut sources = read_pairs(client, VIEW_SOURCES).await?;
    let rows = client.query(RELATIONS, &[]).await?;
    rows.iter()
        .map(|row| {
            let mut relation = relation(row)?;
            relation.columns = columns.remove(&relation.oid).unwrap_or_default();
            relation.parents = parents.remove(&relation.oid).unwrap_or_default();
            relation.depends_on = sources.remove(&relation.oid).unwrap_or_default();
            Ok(relation)
        })
        .collect()
}

fn relation(row: &Row) -> Result<Relation, Error> {
    Ok(Relation {
        oid: row.try_get("oid")?,
        schema: row.try_get("nspname")?,
        name: row.try_get("relname")?,
        kind: kind(row.try_get("kind")?),
        columns: Vec::new(),
        parents: Vec::new(),
        is_partition: row.try_get("relispartition")?,
        row_security: row.try_get("relrowsecurity")?,
        force_row_security: row.try_get("relforcerowsecurity")?,
        policies: row.try_get("policies")?,
        security_invoker: row.try_get("security_invoker")?,
        depends_on: Vec::new(),
        extension: row.try_get("extension")?,
        definition: row.try_get("definition")?,
        security_barrier: row.try_get("security_barrier")?,
        redirects_writes: row.try_get("redirects_writes")?,
        unlogged: row.try_get("unlogged")?,
    })
}

fn kind(relkind: &str) -> RelationKind {
    match relkind {
        "r" => RelationKind::Table,
        "p" => RelationKind::PartitionedTable,
        "v" => RelationKind::View,
        "m" => RelationKind::MaterializedView,
        "f" => RelationKind::ForeignTable,
        "S" => RelationKind::Sequence,
        _ => RelationKind::Other,
    }
}

async fn read_columns(client: &Client) -> Result<HashMap<Oid, Vec<Column>>, Error> {
    let mut columns: HashMap<Oid, Vec<Column>> = HashMap::new();
    for row in client.query(COLUMNS, &[]).await? {
        let relation = row.try_get("attrelid")?;
        columns.entry(relation).or_default().push(column(&row)?);
    }
    Ok(columns)
}

fn column(row: &Row) -> Result<Column, Error> {
    Ok(Column {
        name: row.try_get("attname")?,
        number: row.try_get("attnum")?,
        type_oid: row.try_get("atttypid")?,
        not_null: row.try_get("attnotnull")?,
        generated: row.try_get("generated")?,
        identity: row.try_get("identity")?,
        has_default: row.try_get("atthasdef")?,
    })
}

/// Gathers rows of (relation, other relation) by the first.
async fn read_pairs(client: &Client, text: &str) -> Result<HashMap<Oid, Vec<Oid>>, Error> {
    let mut pairs: HashMap<Oid, Vec<Oid>> = HashMap::new();
    for row in client.query(text, &[]).await? {
        pairs
            .entry(row.try_get(0)?)
            .or_default()
            .push(row.try_get(1)?);
    }
    Ok(pairs)
}
