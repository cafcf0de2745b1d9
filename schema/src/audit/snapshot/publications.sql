SELECT to_json(r)::text FROM (
SELECT p.pubname AS name, quote_ident(p.pubname) AS sql, p.puballtables AS all_tables,
  p.pubupdate AS updates,
  coalesce((SELECT json_agg(c.oid::int8) FROM pg_catalog.pg_publication_tables t
    JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename
    WHERE t.pubname = p.pubname), '[]') AS tables,
  coalesce((SELECT json_agg(r.prrelid::int8) FROM pg_catalog.pg_publication_rel r WHERE r.prpubid = p.oid), '[]') AS named
FROM pg_catalog.pg_publication p ORDER BY 1) r
