SELECT to_json(r)::text FROM (
SELECT p.oid::int8 AS oid, n.nspname AS schema, p.proname AS name, pg_get_userbyid(p.proowner) AS owner,
       format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS sql,
       p.prosecdef AS security_definer, p.provolatile = 'i' AS immutable, p.prorettype = 'pg_catalog.trigger'::regtype AS trigger,
       coalesce((SELECT bool_or(s LIKE 'search\_path=%') FROM unnest(p.proconfig) s), false) AS fixed_search_path,
       coalesce(pg_get_functiondef(p.oid), '') AS source,
  coalesce((SELECT json_agg(CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee) END)
    FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a WHERE a.grantee <> p.proowner), '[]') AS callers
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
JOIN pg_catalog.pg_language l ON l.oid = p.prolang
WHERE p.prokind IN ('f', 'p') AND l.lanname NOT IN ('c', 'internal')
  AND n.nspname NOT LIKE 'pg\_%' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.classid = 'pg_catalog.pg_proc'::regclass
                  AND d.objid = p.oid AND d.deptype = 'e')
ORDER BY 2, 3, 1) r
