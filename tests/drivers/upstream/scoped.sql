-- Every table of public and test_schema becomes one of many tenants', with rows of another organisation in it: those that
-- are there, and, with `:later`, by an event trigger those that are made. Run by the superuser; `:org` is the
-- organisation of the suite, `:rls` says whether row level security is what keeps the two apart.
CREATE SCHEMA scoped;
CREATE TABLE scoped.run AS SELECT :'org'::uuid AS org, :'rls'::bool AS rls;

-- What a row of the other organisation holds: values that no test has, negative numbers and b-secret.
CREATE FUNCTION scoped.foreign_value(type oid, typmod int, i int, sign int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  base regtype := (SELECT CASE typtype WHEN 'd' THEN typbasetype ELSE oid END FROM pg_type WHERE oid = type);
  category "char" := (SELECT typcategory FROM pg_type WHERE oid = base);
BEGIN
  CASE
    WHEN base IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype) THEN RETURN (sign * (31000 + i))::text;
    WHEN base IN ('numeric'::regtype, 'float4'::regtype, 'float8'::regtype, 'money'::regtype) THEN RETURN (sign * i / 10.0)::text;
    WHEN base IN ('json'::regtype, 'jsonb'::regtype) THEN RETURN format('{"secret": "b-secret-%s"}', i);
    WHEN base = 'uuid'::regtype THEN RETURN md5('b-secret' || i);
    WHEN base = 'bytea'::regtype THEN RETURN 'b-secret-' || i;
    WHEN base = 'bool'::regtype THEN RETURN (i % 2 = 0)::text;
    WHEN base = 'interval'::regtype THEN RETURN format('-%s days', i);
    WHEN base IN ('time'::regtype, 'timetz'::regtype) THEN RETURN format('03:33:%s', 10 + i);
    WHEN category = 'D' THEN RETURN format('1777-01-%s', 10 + i);
    WHEN category = 'S' THEN RETURN right('b-secret-' || i, greatest(CASE WHEN typmod < 0 THEN 100 ELSE typmod - 4 END, 1));
    WHEN category = 'A' THEN RETURN '{}';
    WHEN category = 'R' THEN RETURN 'empty';
    WHEN category = 'I' THEN RETURN '10.7.7.' || i;
    WHEN category = 'E' THEN RETURN (SELECT enumlabel FROM pg_enum WHERE enumtypid = base ORDER BY enumsortorder LIMIT 1);
    ELSE RETURN '';
  END CASE;
END $$;

-- One row; the last of five has NULL wherever it may.
CREATE FUNCTION scoped.foreign_row(t regclass, i int, sign int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  columns text; vals text;
BEGIN
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum),
         string_agg(CASE WHEN attname = 'org_id' THEN quote_literal('b0000000-0000-0000-0000-000000000002')
                         WHEN i = 5 AND NOT attnotnull THEN 'NULL'
                         ELSE quote_literal(scoped.foreign_value(atttypid, atttypmod, i, sign))
                              || '::' || format_type(atttypid, atttypmod) END, ', ' ORDER BY attnum)
    INTO columns, vals
    FROM pg_attribute WHERE attrelid = t AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
  EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s)', t, columns, vals);
END $$;

-- What a constraint does not let in is tried with positive numbers, and then left out.
CREATE FUNCTION scoped.foreign_rows(t regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  FOR i IN 1..5 LOOP
    BEGIN
      PERFORM scoped.foreign_row(t, i, -1);
    EXCEPTION WHEN OTHERS THEN
      BEGIN
        PERFORM scoped.foreign_row(t, i, 1);
      EXCEPTION WHEN OTHERS THEN
        IF i = 1 THEN RAISE WARNING '% has no row of the other organisation: %', t, SQLERRM; END IF;
      END;
    END;
  END LOOP;
END $$;

-- No foreign key is checked: the other organisation's rows refer to its own, or to nothing.
CREATE FUNCTION scoped.scope(t regclass) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
  SET session_replication_role = replica SET client_min_messages = warning AS $$
DECLARE
  run scoped.run := (SELECT r FROM scoped.run r);
BEGIN
  EXECUTE format('ALTER TABLE %s ADD org_id uuid', t);
  EXECUTE format('UPDATE %s SET org_id = %L', t, run.org);
  EXECUTE format('ALTER TABLE %s ALTER org_id SET NOT NULL', t);
  PERFORM scoped.foreign_rows(t);
  IF run.rls THEN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY tenant ON %s USING (org_id = %L)', t, run.org);
    EXECUTE format('ALTER TABLE %s ALTER org_id SET DEFAULT %L', t, run.org);
  END IF;
END $$;

CREATE FUNCTION scoped.scope_all() RETURNS void LANGUAGE sql AS $$
  SELECT scoped.scope(c.oid) FROM pg_class c
   WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text IN ('public', 'test_schema')
     AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = c.oid)
     AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND attname = 'org_id')
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype = 'e')
$$;

CREATE FUNCTION scoped.of_event() RETURNS event_trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  PERFORM scoped.scope_all();
END $$;

-- The other organisation's rows of each table, as they are: nobody of the suite may change them.
CREATE FUNCTION scoped.others() RETURNS TABLE (name text, rows text) LANGUAGE plpgsql AS $$
BEGIN
  FOR name IN SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
               WHERE relkind IN ('r', 'p') AND relnamespace::regnamespace::text IN ('public', 'test_schema')
                 AND attname = 'org_id' AND atttypid = 'uuid'::regtype
  LOOP
    EXECUTE format('SELECT md5(string_agg(t::text, '','' ORDER BY t::text)) FROM ONLY %s t WHERE org_id <> $1', name)
       INTO rows USING (SELECT org FROM scoped.run);
    RETURN NEXT;
  END LOOP;
END $$;

GRANT USAGE ON SCHEMA scoped TO PUBLIC;
SELECT scoped.scope_all();
CREATE TABLE scoped.before AS SELECT * FROM scoped.others();
\if :later
CREATE EVENT TRIGGER scoped ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO')
  EXECUTE FUNCTION scoped.of_event();
\endif
