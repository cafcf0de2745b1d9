//! Relations that can be selected from, with their columns, parents and what views stand on.
//!
//! Toast tables are left out, and so are temporary relations: those of other sessions can't be
//! used, and the session's own are asked for apart.

/// The rule of a view depends on what its query names, and on the view itself (`depends_on`).
pub(crate) const QUERY: &str = "
SELECT c.oid::pg_catalog.int8 AS oid, n.nspname AS schema, c.relname AS name,
       CASE c.relkind WHEN 'r' THEN 'table' WHEN 'p' THEN 'partitioned_table'
            WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized_view'
            WHEN 'f' THEN 'foreign_table' ELSE 'sequence' END AS kind,
       coalesce(a.columns, '[]'::pg_catalog.json) AS columns,
       coalesce(h.parents, '[]'::pg_catalog.json) AS parents,
       coalesce(s.sources, '[]'::pg_catalog.json) AS depends_on,
       c.relispartition AS is_partition, c.relrowsecurity AS row_security,
       c.relforcerowsecurity AS force_row_security,
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
       c.oid IN (
         WITH RECURSIVE users AS (
           SELECT d.classid, d.objid FROM pg_catalog.pg_depend d
           WHERE d.refclassid IN ('pg_catalog.pg_proc'::pg_catalog.regclass, 'pg_catalog.pg_operator'::pg_catalog.regclass)
             AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend x
                             WHERE x.classid = d.refclassid AND x.objid = d.refobjid AND x.deptype = 'e')
         ), reaches (relid) AS (
           SELECT t.tgrelid FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D'
           UNION SELECT f.adrelid FROM users u
             JOIN pg_catalog.pg_attrdef f ON u.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND f.oid = u.objid
           UNION SELECT coalesce(i.indrelid, u.objid) FROM users u
             LEFT JOIN pg_catalog.pg_index i ON i.indexrelid = u.objid
             WHERE u.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
           UNION SELECT coalesce(a.attrelid, k.conrelid) FROM users u
             JOIN pg_catalog.pg_constraint k ON u.classid = 'pg_catalog.pg_constraint'::pg_catalog.regclass AND k.oid = u.objid
             LEFT JOIN pg_catalog.pg_attribute a ON a.atttypid = k.contypid
           UNION SELECT e.origin FROM reaches JOIN (
             SELECT inhparent AS origin, inhrelid AS target FROM pg_catalog.pg_inherits
             UNION ALL SELECT confrelid, conrelid FROM pg_catalog.pg_constraint
               WHERE contype = 'f' AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))
             UNION ALL SELECT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r
               JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                 AND d.objid = r.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
           ) e ON e.target = reaches.relid
         ) SELECT relid FROM reaches) AS runs_code,
       c.relpersistence = 'u' AS unlogged,
       coalesce(u.keys, '[]'::pg_catalog.json) AS keys,
       coalesce((SELECT pg_catalog.json_agg(DISTINCT k.confrelid::pg_catalog.int8) FROM pg_catalog.pg_constraint k
                 WHERE k.conrelid = c.oid AND k.contype = 'f'), '[]'::pg_catalog.json) AS references
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN (
  SELECT attrelid, pg_catalog.json_agg(pg_catalog.json_build_object('name', attname,
           'number', attnum, 'type_oid', atttypid::pg_catalog.int8, 'not_null', attnotnull,
           'generated', attgenerated <> '', 'identity', attidentity <> '',
           'has_default', atthasdef, 'modifier', NULLIF(atttypmod, -1)) ORDER BY attnum) AS columns
  FROM pg_catalog.pg_attribute
  JOIN pg_catalog.pg_class k ON k.oid = attrelid AND k.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
  WHERE attnum > 0 AND NOT attisdropped GROUP BY attrelid
) a ON a.attrelid = c.oid
LEFT JOIN (
  SELECT inhrelid, pg_catalog.json_agg(inhparent::pg_catalog.int8 ORDER BY inhseqno) AS parents
  FROM pg_catalog.pg_inherits GROUP BY inhrelid
) h ON h.inhrelid = c.oid
LEFT JOIN (
  SELECT r.ev_class, pg_catalog.json_agg(DISTINCT d.refobjid::pg_catalog.int8) AS sources
  FROM pg_catalog.pg_rewrite r
  JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')
  JOIN pg_catalog.pg_depend d
    ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid
  WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class
  GROUP BY r.ev_class
) s ON s.ev_class = c.oid
LEFT JOIN (
  SELECT x.indrelid, pg_catalog.json_agg(pg_catalog.to_json((x.indkey::pg_catalog.int2[])[0:x.indnkeyatts - 1])
           ORDER BY x.indexrelid) AS keys
  FROM pg_catalog.pg_index x
  WHERE x.indisunique AND x.indimmediate AND x.indisvalid AND x.indpred IS NULL AND x.indexprs IS NULL
  GROUP BY x.indrelid
) u ON u.indrelid = c.oid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'";
