//! Functions, operators and casts that are not PostgreSQL's own.
//!
//! What stands in pg_catalog or information_schema is classified by the engine's tables, and what
//! somebody created there is not in those tables, hence denied.

/// Functions. One of a kind that this version does not know is left out.
pub(crate) const QUERY: &str = "
SELECT n.nspname AS schema, p.proname AS name,
       CASE p.prokind WHEN 'f' THEN 'function' WHEN 'p' THEN 'procedure'
            WHEN 'a' THEN 'aggregate' ELSE 'window' END AS kind,
       l.lanname AS language, p.proleakproof AS leakproof, p.prosecdef AS security_definer,
       p.provolatile::pg_catalog.text AS volatility,
       p.proargtypes::pg_catalog.oid[]::pg_catalog.int8[] AS arguments,
       p.proretset AS returns_set, p.pronargdefaults AS defaults, p.provariadic <> 0 AS variadic,
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
  AND p.prokind IN ('f', 'p', 'a', 'w')";

/// Operators.
pub(crate) const OPERATORS: &str = "
SELECT n.nspname AS schema, o.oprname AS name, o.oprleft::pg_catalog.int8 AS left,
       o.oprright::pg_catalog.int8 AS right, f.nspname AS function_schema, p.proname AS function,
       p.proleakproof AS leakproof,
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
  AND NOT n.nspname ~ '^pg_(toast_)?temp_'";

/// Casts. A context that this version does not know may be any.
pub(crate) const CASTS: &str = "
SELECT c.castsource::pg_catalog.int8 AS source, c.casttarget::pg_catalog.int8 AS target,
       CASE c.castcontext WHEN 'e' THEN 'explicit' WHEN 'a' THEN 'assignment'
            ELSE 'implicit' END AS context,
       CASE WHEN p.oid IS NOT NULL THEN pg_catalog.json_build_object(
            'schema', f.nspname, 'name', p.proname) END AS function,
       (SELECT e.extname FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_cast'::pg_catalog.regclass AND d.objid = c.oid
          AND d.objsubid = 0 AND d.deptype = 'e'
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass) AS extension
FROM pg_catalog.pg_cast c
LEFT JOIN (pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace AND f.nspname <> 'pg_catalog')
  ON p.oid = c.castfunc
WHERE p.oid IS NOT NULL OR c.castcontext = 'i'";
