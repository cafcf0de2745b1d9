-- Makes functions.txt: psql -At -f functions.sql on the newest supported PostgreSQL, then add the
-- names that only other versions have (see functions.rs). One line for each name in pg_catalog:
--   l  allowed, and every overload is leakproof
--   a  allowed
--   g  allowed, an aggregate or window function
--   c  allowed or not by its arguments
--   d  denied
WITH named AS (
  SELECT proname AS name,
         bool_and(proleakproof) AS leakproof,
         bool_and(prokind IN ('a', 'w')) AS aggregate,
         bool_or(provolatile = 'v') AS volatile,
         -- Functions of the server's own machinery: input and output, index and language support.
         bool_or(prorettype IN ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype,
                                'event_trigger'::regtype, 'language_handler'::regtype,
                                'index_am_handler'::regtype, 'table_am_handler'::regtype,
                                'tsm_handler'::regtype, 'fdw_handler'::regtype)
                 OR EXISTS (SELECT FROM unnest(proargtypes::oid[]) AS arg
                            WHERE arg IN ('internal'::regtype, 'cstring'::regtype))) AS machinery
  FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace GROUP BY proname
)
SELECT CASE
    WHEN name IN ('set_config', 'nextval', 'currval', 'lastval', 'ts_rewrite', 'current_setting', 'pg_notify') THEN 'c'
    WHEN aggregate THEN 'g'
    WHEN machinery AND name NOT IN ('text', 'varchar', 'bpchar', 'name', 'timestamp') THEN 'd'
    WHEN name IN ('clock_timestamp', 'gen_random_uuid', 'random', 'setseed', 'timeofday',
                  'pg_is_in_recovery', 'pg_advisory_unlock', 'pg_advisory_unlock_all',
                  'pg_advisory_unlock_shared', 'pg_partition_tree',
                  'pg_partition_ancestors', 'pg_jit_available', 'pg_sequence_parameters',
                  'pg_tablespace_location', 'pg_statistics_obj_is_visible') THEN 'a'
    WHEN volatile THEN 'd'
    WHEN name ~ '(_to_xml|_to_xmlschema|_to_xml_and_xmlschema)$' THEN 'd'
    WHEN name ~ '^(pg_stat|pg_mcv|pg_show|pg_ls|pg_read|pg_cursor|pg_prepared|pg_get_replication|pg_get_publication|pg_listening|pg_relation_file|pg_filenode|pg_tablespace|pg_event_trigger|pg_options_to_table|pg_config|pg_replication|pg_timezone|pg_available|pg_extension|pg_sequence|pg_control|lo_|binary_upgrade|brin|gin|gist|spg|fmgr_|pg_get_catalog|currtid|pg_isolation|pg_wal|pg_lsn_pl_|pg_snapshot|pg_settings_get|pg_get_backend|pg_get_shmem|pg_hba|pg_ident_|pg_conf_load)' THEN 'd'
    WHEN name ~ '(send|recv|_in|_out|typmodin|typmodout|validator|handler|_support|_transfn|_accum|_combine|_finalfn|_serialize|_deserialize|_trans|_final|sortsupport|^interval_avg)$' AND name NOT IN ('pg_size_in', 'json_object_agg_transfn') THEN 'd'
    WHEN leakproof THEN 'l'
    ELSE 'a'
  END || ' ' || name
FROM named ORDER BY name COLLATE "C";
