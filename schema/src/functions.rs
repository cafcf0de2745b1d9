//! Functions, operators and casts that are not PostgreSQL's own.
//!
//! What stands in pg_catalog or information_schema is classified by the engine's tables, and what
//! somebody created there is not in those tables, hence denied.

use pgwarden_policy::catalog::{Cast, CastContext, Function, FunctionKind, FunctionName, Operator};
use tokio_postgres::{Client, Row};

use crate::error::Error;

const FUNCTIONS: &str = "
SELECT n.nspname, p.proname, p.prokind::pg_catalog.text AS kind, l.lanname, p.proleakproof,
       p.prosecdef, p.provolatile::pg_catalog.text AS volatility,
       p.proargtypes::pg_catalog.oid[] AS arguments, p.proretset,
       p.pronargdefaults, p.provariadic <> 0 AS variadic,
       (SELECT e.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
FROM pg_catalog.pg_proc p
JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT n.nspname ~ '^pg_(toast_)?temp_'
ORDER BY p.oid";

const OPERATORS: &str = "
SELECT n.nspname, o.oprname, o.oprleft, o.oprright, f.nspname AS function_schema, p.proname, p.proleakproof,
       (SELECT e.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_operator'::pg_catalog.regclass AND d.objid = o.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
FROM pg_catalog.pg_operator o
JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace
JOIN pg_catalog.pg_proc p ON p.oid = o.oprcode
JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT n.nspname ~ '^pg_(toast_)?temp_'
ORDER BY o.oid";

const CASTS: &str = "
SELECT c.castsource, c.casttarget, c.castcontext::pg_catalog.text AS context,
       f.nspname AS function_schema, p.proname,
       (SELECT e.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = c.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
FROM pg_catalog.pg_cast c
LEFT JOIN (pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace AND f.nspname <> 'pg_catalog')
  ON p.oid = c.castfunc
WHERE p.oid IS NOT NULL OR c.castcontext = 'i'
ORDER BY c.oid";

pub(crate) async fn read(client: &Client) -> Result<Vec<Function>, Error> {
    let mut functions = Vec::new();
    for row in client.query(FUNCTIONS, &[]).await? {
        if let Some(kind) = kind(row.try_get("kind")?) {
            functions.push(function(&row, kind)?);
        }
    }
    Ok(functions)
}

fn function(row: &Row, kind: FunctionKind) -> Result<Function, Error> {
    let volatility: &str = row.try_get("volatility")?;
    Ok(Function {
        schema: row.try_get("nspname")?,
        name: row.try_get("proname")?,
        kind,
        language: row.try_get("lanname")?,
        extension: row.try_get("extension")?,
        leakproof: row.try_get("proleakproof")?,
        security_definer: row.try_get("prosecdef")?,
        volatility: volatility.chars().next().unwrap_or('v'),
        arguments: row.try_get("arguments")?,
        defaults: u16::try_from(row.try_get::<_, i16>("pronargdefaults")?).unwrap_or(u16::MAX),
        variadic: row.try_get("variadic")?,
        returns_set: row.try_get("proretset")?,
    })
}

/// `None` for a kind that this version does not know: such a function does not exist for the
/// engine.
fn kind(prokind: &str) -> Option<FunctionKind> {
    Some(match prokind {
        "f" => FunctionKind::Function,
        "p" => FunctionKind::Procedure,
        "a" => FunctionKind::Aggregate,
        "w" => FunctionKind::Window,
        _ => return None,
    })
}

pub(crate) async fn read_operators(client: &Client) -> Result<Vec<Operator>, Error> {
    let rows = client.query(OPERATORS, &[]).await?;
    rows.iter()
        .map(|row| {
            Ok(Operator {
                schema: row.try_get("nspname")?,
                name: row.try_get("oprname")?,
                left: row.try_get("oprleft")?,
                right: row.try_get("oprright")?,
                function_schema: row.try_get("function_schema")?,
                function: row.try_get("proname")?,
                leakproof: row.try_get("proleakproof")?,
                extension: row.try_get("extension")?,
            })
        })
        .collect()
}

pub(crate) async fn read_casts(client: &Client) -> Result<Vec<Cast>, Error> {
    let rows = client.query(CASTS, &[]).await?;
    rows.iter().map(cast).collect()
}

fn cast(row: &Row) -> Result<Cast, Error> {
    let schema: Option<String> = row.try_get("function_schema")?;
    let name: Option<String> = row.try_get("proname")?;
    Ok(Cast {
        source: row.try_get("castsource")?,
        target: row.try_get("casttarget")?,
        context: match row.try_get("context")? {
            "e" => CastContext::Explicit,
            "a" => CastContext::Assignment,
            // A context that this version does not know may be any.
            _ => CastContext::Implicit,
        },
        function: schema
            .zip(name)
            .map(|(schema, name)| FunctionName { schema, name }),
        extension: row.try_get("extension")?,
    })
}
