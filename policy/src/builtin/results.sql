-- Makes results.txt: psql -At -f results.sql on PostgreSQL 15, less the names that functions.txt does not allow. One
-- line for each name in pg_catalog whose result can be told:
--   name oid                    the type that every overload gives
--   name column:oid,…           the columns of the only function of that name, where they have names
--   name oid,oid>oid …          the types that overloads give, where these differ
-- Left out: results of the caller's own types; the server's own machinery, and what operators and casts call; and
-- what gives another type on another version: extract() before 14, random() since 17, reverse() since 18.
WITH listed AS (
  SELECT p.oid, p.proname AS name, p.prorettype AS result, p.proargtypes::oid[] AS arguments,
         p.prorettype < 10000 AND t.typtype IN ('b', 'r', 'm') AS told,
         p.provariadic = 0 AND p.pronargdefaults = 0 AND cardinality(p.proargtypes::oid[]) > 0 AS plain,
         (SELECT string_agg(p.proargnames[n] || ':' || p.proallargtypes[n], ',' ORDER BY n)
          FROM generate_subscripts(p.proallargtypes, 1) AS n WHERE p.proargmodes[n] IN ('o', 't')) AS columns,
         EXISTS (SELECT FROM unnest(coalesce(p.proallargtypes, p.proargtypes::oid[])) AS a
                 JOIN pg_type ON pg_type.oid = a WHERE typtype <> 'b') AS pseudo,
         EXISTS (SELECT FROM pg_operator WHERE oprcode = p.oid)
         OR EXISTS (SELECT FROM pg_cast WHERE castfunc = p.oid) AS called
  FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype
  WHERE p.pronamespace = 'pg_catalog'::regnamespace
    AND p.proname NOT IN ('extract', 'random', 'reverse')
    AND p.prorettype NOT IN ('internal'::regtype, 'cstring'::regtype)
    AND NOT ('internal'::regtype = ANY (p.proargtypes::oid[]) OR 'cstring'::regtype = ANY (p.proargtypes::oid[]))
), named AS (
  SELECT name, count(*) AS overloads, bool_and(told) AND count(DISTINCT result) = 1 AS alike, min(result) AS result,
         min(columns) AS columns, bool_or(pseudo) AS pseudo,
         bool_or(called) AND name NOT IN ('abs', 'date', 'lower', 'mod', 'power', 'timezone', 'upper') AS machinery,
         bool_or(pseudo AND cardinality(arguments) > 1) AS guessed,
         string_agg(array_to_string(arguments, ',') || '>' || result, ' ' ORDER BY arguments)
           FILTER (WHERE told AND plain AND NOT pseudo) AS signatures
  FROM listed GROUP BY name
)
SELECT name || ' ' || CASE WHEN columns IS NOT NULL THEN columns WHEN alike THEN result::text ELSE signatures END
FROM named
WHERE NOT machinery
  AND CASE WHEN columns IS NOT NULL THEN overloads = 1 AND NOT pseudo ELSE alike OR signatures IS NOT NULL AND NOT guessed END
  AND name !~ '^(bt.*(cmp|image)$|hash|in_range|regr_|float8_|pg_|txid_)|(cmp|larger|smaller|_hash|_extended|_inv|_subdiff|_canonical|_statefunc)$|^int[248].*_sum$|^int8(inc|dec)|^int4inc'
ORDER BY name COLLATE "C";
