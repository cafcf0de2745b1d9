WITH RECURSIVE closure (member, role) AS (
  SELECT a.member, a.roleid FROM pg_catalog.pg_auth_members a
  UNION SELECT c.member, a.roleid FROM closure c JOIN pg_catalog.pg_auth_members a ON a.member = c.role),
memberships AS (
  SELECT c.member, json_agg(pg_get_userbyid(c.role)) AS member_of,
         json_agg(pg_get_userbyid(c.role)) FILTER (WHERE pg_has_role(c.member, c.role, 'USAGE')) AS acts_for
  FROM closure c GROUP BY c.member)
SELECT to_json(r)::text FROM (
SELECT o.rolname AS name, quote_ident(o.rolname) AS sql, o.rolsuper AS superuser, o.rolbypassrls AS bypasses_rls,
       o.rolcreaterole AS creates_roles, o.rolreplication AS replicates, o.rolcanlogin AS logs_in,
       CASE WHEN o.rolsuper THEN '[]' ELSE coalesce(m.member_of, '[]') END AS member_of,
       coalesce(m.acts_for, '[]') AS acts_for, o.rolname = session_user AS ours
FROM pg_catalog.pg_roles o LEFT JOIN memberships m ON m.member = o.oid WHERE o.rolname NOT LIKE 'pg\_%' ORDER BY 1) r
