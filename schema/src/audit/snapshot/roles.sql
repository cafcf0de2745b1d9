SELECT to_json(r)::text FROM (
SELECT o.rolname AS name, quote_ident(o.rolname) AS sql, o.rolsuper AS superuser, o.rolbypassrls AS bypasses_rls,
       o.rolcreaterole AS creates_roles, o.rolreplication AS replicates, o.rolcanlogin AS logs_in,
  coalesce((SELECT json_agg(m.rolname) FROM pg_catalog.pg_roles m
    WHERE m.oid <> o.oid AND NOT o.rolsuper AND pg_has_role(o.oid, m.oid, 'MEMBER')), '[]') AS member_of
FROM pg_catalog.pg_roles o WHERE o.rolname NOT LIKE 'pg\_%' ORDER BY 1) r
