//! Types, and which of them run code when a value is converted to them.

/// `checked` holds the types whose input may call a function outside pg_catalog: domains with
/// such a check, and everything that is made of them (arrays, composites, ranges, other domains).
/// Dependencies on objects of initdb are not recorded, so any dependency of a check on a function
/// or operator is one on somebody's code.
///
/// `compared` holds what the default btree and hash classes of a type call that no extension brought:
/// ORDER BY, GROUP BY, DISTINCT, unions and ranges find it by the type, no name of it stands in a
/// statement.
///
/// `rngmultitypid` does not exist before PostgreSQL 14, hence the detour through JSON, and NULL there.
///
/// A type of a kind that this version does not know is left out.
pub(crate) const QUERY: &str = "
WITH RECURSIVE made_of (whole, part) AS (
  SELECT oid, typbasetype FROM pg_catalog.pg_type WHERE typbasetype <> 0
  UNION ALL
  SELECT oid, typelem FROM pg_catalog.pg_type WHERE typelem <> 0
  UNION ALL
  SELECT c.reltype, a.atttypid FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  WHERE c.reltype <> 0
  UNION ALL
  SELECT rngtypid, rngsubtype FROM pg_catalog.pg_range
  UNION ALL
  SELECT (pg_catalog.to_jsonb(r) ->> 'rngmultitypid')::pg_catalog.oid, r.rngtypid
  FROM pg_catalog.pg_range r
  UNION ALL
  SELECT k.contypid, d.refobjid FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
  WHERE k.contypid <> 0 AND d.refobjid <> k.contypid
    AND d.refclassid = 'pg_catalog.pg_type'::pg_catalog.regclass
), checked (oid) AS (
  SELECT k.contypid FROM pg_catalog.pg_constraint k
  JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND d.objid = k.oid
  WHERE k.contypid <> 0
    AND d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,
                         'pg_catalog.pg_operator'::pg_catalog.regclass)
  UNION
  SELECT m.whole FROM made_of m JOIN checked c ON c.oid = m.part
  WHERE m.whole IS NOT NULL
), comparing (type, family, operand) AS (
  SELECT opcintype, opcfamily, opcintype FROM pg_catalog.pg_opclass
  WHERE opcdefault AND opcmethod IN (403, 405)
  UNION
  SELECT r.rngtypid, c.opcfamily, c.opcintype FROM pg_catalog.pg_range r
  JOIN pg_catalog.pg_opclass c ON c.oid = r.rngsubopc
), support (type, function) AS (
  SELECT c.type, p.amproc::pg_catalog.oid FROM comparing c
  JOIN pg_catalog.pg_amproc p ON p.amprocfamily = c.family
   AND p.amproclefttype = c.operand AND p.amprocrighttype = c.operand
  UNION
  SELECT c.type, o.oprcode::pg_catalog.oid FROM comparing c
  JOIN pg_catalog.pg_amop a ON a.amopfamily = c.family
   AND a.amoplefttype = c.operand AND a.amoprighttype = c.operand
  JOIN pg_catalog.pg_operator o ON o.oid = a.amopopr
), compared (type, schema, name) AS (
  SELECT s.type, f.nspname, p.proname FROM support s
  JOIN pg_catalog.pg_proc p ON p.oid = s.function
  JOIN pg_catalog.pg_namespace f ON f.oid = p.pronamespace
  WHERE f.nspname <> 'pg_catalog'
    AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
      WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid
        AND d.deptype = 'e')
  UNION
  SELECT m.whole, c.schema, c.name FROM made_of m JOIN compared c ON c.type = m.part
  WHERE m.whole IS NOT NULL
)
SELECT t.oid::pg_catalog.int8 AS oid, n.nspname AS schema, t.typname AS name,
       CASE t.typtype WHEN 'b' THEN 'base' WHEN 'c' THEN 'composite' WHEN 'd' THEN 'domain'
            WHEN 'e' THEN 'enum' WHEN 'r' THEN 'range' WHEN 'm' THEN 'multirange'
            ELSE 'pseudo' END AS kind,
       CASE WHEN t.typlen = -1 THEN t.typelem::pg_catalog.int8 ELSE 0 END AS element,
       t.typbasetype::pg_catalog.int8 AS base,
       NULLIF(t.typtypmod, -1) AS modifier,
       t.oid IN (SELECT oid FROM checked) AS check_calls_function,
       coalesce((SELECT pg_catalog.json_agg(pg_catalog.json_build_object(
                          'schema', c.schema, 'name', c.name) ORDER BY c.schema, c.name)
                 FROM compared c WHERE c.type = t.oid), '[]'::pg_catalog.json) AS compared_by,
       (SELECT pg_catalog.min(e.extname) FROM pg_catalog.pg_depend d
        JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid
        WHERE d.deptype = 'e' AND d.objsubid = 0
          AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass
          AND (d.classid = 'pg_catalog.pg_type'::pg_catalog.regclass
                 AND d.objid IN (t.oid, t.typelem)
            OR d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
                 AND d.objid = t.typrelid)) AS extension
FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE NOT n.nspname ~ '^pg_(toast_)?temp_'
  AND t.typtype IN ('b', 'c', 'd', 'e', 'r', 'm', 'p')";
