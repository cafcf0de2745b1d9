-- Makes operators.txt: psql -At -f operators.sql on the newest supported PostgreSQL. One line for each
-- name in pg_catalog, with the types of its operands by oid (0: a prefix operator has no left one) and of
-- its result.
SELECT oprname || ' ' || string_agg(oprleft || ':' || oprright || '>' || oprresult, ' ' ORDER BY oprleft, oprright)
FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprright <> 0
GROUP BY oprname ORDER BY oprname COLLATE "C";
