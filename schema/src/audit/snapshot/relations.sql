SELECT to_json(r)::text FROM (
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, format('%I.%I', n.nspname, c.relname) AS sql,
       c.relkind::text AS kind, pg_get_userbyid(c.relowner) AS owner,
       c.relrowsecurity AS row_security, c.relforcerowsecurity AS forced, c.relispartition AS partition,
       c.relreplident::text AS replica_identity,
       coalesce((SELECT o.option_value::bool FROM pg_options_to_table(c.reloptions) o
                 WHERE o.option_name = 'security_invoker'), false) AS security_invoker,
  coalesce((SELECT json_agg(json_build_object(
      'grantee', CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(g.grantee) END, 'privilege', g.privilege))
    FROM (SELECT a.grantee, a.privilege_type AS privilege FROM aclexplode(c.relacl) a
          UNION ALL
          SELECT a.grantee, format('%s (%I)', a.privilege_type, t.attname)
          FROM pg_catalog.pg_attribute t, aclexplode(t.attacl) a WHERE t.attrelid = c.oid AND NOT t.attisdropped) g
    WHERE g.grantee <> c.relowner), '[]') AS grants,
  coalesce((SELECT json_agg(json_build_object(
      'name', a.attname, 'sql', quote_ident(a.attname), 
      -- Of a domain the type under it, by which it is compared.
      'type_oid', (WITH RECURSIVE under (oid, base) AS (
          SELECT t.oid, t.typbasetype FROM pg_catalog.pg_type t WHERE t.oid = a.atttypid
          UNION ALL
          SELECT t.oid, t.typbasetype FROM under u JOIN pg_catalog.pg_type t ON t.oid = u.base)
        SELECT u.oid::int8 FROM under u WHERE u.base = 0),
      'type', format_type(a.atttypid, a.atttypmod),
      -- Since 18 a NOT NULL may be one of new rows alone.
      'not_null', a.attnotnull AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conrelid = c.oid
        AND k.contype = 'n' AND NOT k.convalidated AND a.attnum = ANY (k.conkey)),
      'has_default', a.atthasdef OR a.attidentity <> '') ORDER BY a.attnum)
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), '[]') AS columns,
  coalesce((SELECT json_agg(i.inhparent::int8) FROM pg_catalog.pg_inherits i WHERE i.inhrelid = c.oid), '[]') AS parents,
  coalesce((SELECT json_agg(DISTINCT d.refobjid::int8) FROM pg_catalog.pg_rewrite w
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = w.oid
    WHERE w.ev_class = c.oid AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.refobjid <> c.oid
      AND c.relkind IN ('v', 'm')), '[]') AS depends_on,
  (SELECT d.refobjid::int8 FROM pg_catalog.pg_depend d
    WHERE c.relkind = 'S' AND d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
      AND d.refclassid = 'pg_catalog.pg_class'::regclass AND d.deptype IN ('a', 'i') LIMIT 1) AS owned_by,
  coalesce((SELECT json_agg(json_build_object(
      'name', k.conname, 'sql', quote_ident(k.conname), 'kind', k.contype::text, 'validated', k.convalidated,
      'columns', (SELECT json_agg(a.attname ORDER BY u.at) FROM unnest(k.conkey) WITH ORDINALITY u(num, at)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.num),
      'target', k.confrelid::int8,
      'target_columns', coalesce((SELECT json_agg(a.attname ORDER BY u.at) FROM unnest(k.confkey) WITH ORDINALITY u(num, at)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.num), '[]'),
      'definition', coalesce(pg_get_constraintdef(k.oid), ''), 'on_delete', k.confdeltype::text, 'on_update', k.confupdtype::text,
      'deferrable', k.condeferrable, 'deferred', k.condeferred) ORDER BY k.conname)
    FROM pg_catalog.pg_constraint k
    WHERE k.conrelid = c.oid AND k.contype IN ('f', 'p', 'u') AND k.conparentid = 0), '[]') AS constraints,
  coalesce((SELECT json_agg(json_build_object(
      'name', ic.relname, 'sql', format('%I.%I', n.nspname, ic.relname), 'unique', i.indisunique, 'primary', i.indisprimary,
      'valid', i.indisvalid, 'partial', i.indpred IS NOT NULL,
      'columns', (SELECT json_agg(a.attname ORDER BY u.at) FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(num, at)
                  LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.num AND u.num > 0
                  WHERE u.at <= i.indnkeyatts),
      'definition', coalesce(pg_get_indexdef(i.indexrelid), ''),
      'of_constraint', EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid AND k.conrelid = c.oid)) ORDER BY ic.relname)
    FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class ic ON ic.oid = i.indexrelid WHERE i.indrelid = c.oid), '[]') AS indexes,
  coalesce((SELECT json_agg(json_build_object(
      'name', t.tgname, 'sql', quote_ident(t.tgname), 'enabled', t.tgenabled::text, 'kind', t.tgtype::int4,
      'columns', coalesce((SELECT json_agg(a.attname) FROM unnest(t.tgattr::int2[]) u(num)
                  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = u.num), '[]'),
      'function', t.tgfoid::int8, 'arguments', encode(t.tgargs, 'escape'),
      'definition', coalesce(pg_get_triggerdef(t.oid), '')) ORDER BY t.tgname)
    FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND NOT t.tgisinternal), '[]') AS triggers,
  coalesce((SELECT json_agg(json_build_object(
      'name', p.polname, 'sql', quote_ident(p.polname), 'permissive', p.polpermissive, 'command', p.polcmd::text,
      'roles', (SELECT json_agg(CASE u.id WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(u.id) END) FROM unnest(p.polroles) u(id)),
      'using', pg_get_expr(p.polqual, p.polrelid), 'check', pg_get_expr(p.polwithcheck, p.polrelid)) ORDER BY p.polname)
    FROM pg_catalog.pg_policy p WHERE p.polrelid = c.oid), '[]') AS policies
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
  AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relname) r
