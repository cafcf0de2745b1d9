//! What is said in random conversations, and what tells the state that a session is in.

/// Statements that need no values.
pub(super) const TEXTS: &[&str] = &[
    "SELECT id, full_name FROM leads WHERE score > 3 ORDER BY id",
    "SELECT count(*) FROM calls",
    "SELECT count(*), min(id) FROM calls WHERE seconds > 5",
    "SELECT l.id, c.name FROM leads l LEFT JOIN campaigns c ON c.id = l.campaign_id AND c.id < 50 ORDER BY 1",
    "SELECT 1",
    "SELECT now() IS NOT NULL, 'a;b'::text",
    "",
    "-- nothing",
    "SELECT 1 / (count(*) * 0) FROM leads",
    "SELECT nosuch FROM leads",
    "SELEC 1",
    "SELECT id FROM leads WHERE phone = ANY('{+491,+492,+493}') ORDER BY 1",
    "SELECT g, (SELECT count(*) FROM agents) FROM generate_series(1, 40) g",
    "SELECT repeat('x', 3000), g FROM generate_series(1, 12) g, (SELECT count(*) FROM leads) l",
    "SELECT current_setting('request.jwt.claims')::json ->> 'sub', count(*) FROM shifts",
    "VALUES (1), (2), (3)",
    "TABLE plan_names ORDER BY 1",
    "BEGIN",
    "BEGIN",
    "START TRANSACTION READ ONLY",
    "COMMIT",
    "ROLLBACK",
    "COMMIT AND CHAIN",
    "SAVEPOINT a",
    "ROLLBACK TO a",
    "RELEASE a",
    "SET statement_timeout = 12345",
    "SET LOCAL statement_timeout = 23456",
    "SHOW statement_timeout",
    "RESET statement_timeout",
    "SET application_name = 'talker'",
    "SHOW application_name",
    "SET DateStyle = 'SQL, DMY'",
    "SET TimeZone = 'Asia/Tokyo'",
    "SELECT '2026-03-04 05:06:07+00'::timestamptz, '01/02/2026'::date, count(*) FROM leads",
    "SELECT max(created_at) FROM leads",
    "DECLARE c CURSOR FOR SELECT id FROM leads ORDER BY id",
    "DECLARE h CURSOR WITH HOLD FOR SELECT id FROM calls ORDER BY id",
    "FETCH 2 FROM c",
    "FETCH ALL FROM h",
    "CLOSE c",
    "CLOSE ALL",
    "CREATE TEMP TABLE tt (a int)",
    "CREATE TEMP TABLE tt AS SELECT 1 AS a FROM leads",
    "INSERT INTO tt VALUES (1), (2)",
    "SELECT count(*) FROM tt",
    "DROP TABLE tt",
    "COPY (SELECT id FROM leads ORDER BY id LIMIT 3) TO STDOUT",
    "LISTEN jobs",
    "UNLISTEN *",
    "DEALLOCATE ALL",
    "SELECT lower(full_name) FROM leads WHERE full_name LIKE 'Lead 1%' ORDER BY 1",
];

/// What is in statements that fail before they run, or may.
pub(super) const FAIL_EARLY: &[&str] = &["nosuch", "SELEC ", "tt", " own"];

/// Those of SQL's own PREPARE: alone in their message. (Neither they nor Bind use what the other has prepared:
/// the proxy refuses that.)
pub(super) const PREPARES: &[&str] = &[
    "PREPARE u (int) AS SELECT count(*) FROM leads WHERE score > $1",
    "EXECUTE u (3)",
    "DEALLOCATE u",
];

/// Those with values: how many, and what they may be.
pub(super) const WITH_VALUES: &[(&str, &[&str])] = &[
    ("SELECT id FROM leads WHERE score = $1 ORDER BY id", &["3"]),
    ("SELECT $1::text, count(*) FROM leads", &["word"]),
    ("SELECT $1::int / $2::int, count(*) FROM leads", &["6", "0"]),
    (
        "SELECT id FROM calls WHERE seconds < $2 AND id > $1 ORDER BY id LIMIT 5",
        &["10", "30"],
    ),
    (
        "SELECT $1::timestamptz, count(*) FROM agents",
        &["2026-01-02 03:04:05+00"],
    ),
    (
        "SELECT a.id, $1::int FROM agents a LEFT JOIN campaigns c ON c.owner_id = a.id AND c.id = $1 ORDER BY 1",
        &["7"],
    ),
];

/// What changes the state of a session, and must be its own alone.
pub(super) const STATES: &[&str] = &[
    "SET TimeZone = 'America/Lima'",
    "SET LOCAL TimeZone = 'Asia/Kolkata'",
    "RESET TimeZone",
    "SET work_mem = '3MB'",
    "SET LOCAL work_mem = '5MB'",
    "RESET work_mem",
    "SET search_path = public, app",
    "SET LOCAL search_path = public",
    "SET search_path = \"$user\", public, app",
    "RESET search_path",
    "SELECT set_config('TimeZone', 'Europe/Lisbon', false)",
    "SELECT set_config('work_mem', '6MB', true)",
    "RESET ALL",
    "SET LOCAL DateStyle = 'German'",
    "RESET DateStyle",
    "SET application_name = 'stranger'",
    "SET LOCAL application_name = 'passing'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET TRANSACTION READ ONLY",
    "CREATE TEMP TABLE own AS SELECT 7 AS a",
    "CREATE TEMP TABLE plans (code text) ON COMMIT DROP",
    "INSERT INTO own SELECT count(*) FROM leads",
    "SELECT sum(a) FROM own",
    "DROP TABLE own",
    "TRUNCATE own",
    "DECLARE k CURSOR WITH HOLD FOR SELECT id, full_name FROM leads ORDER BY id",
    "FETCH 1 FROM k",
    "CLOSE k",
    "LISTEN \"Mixed Case\"",
    "UNLISTEN jobs",
    "NOTIFY jobs",
];

/// What tells it.
pub(super) const PROBES: &[&str] = &[
    "SELECT current_user, session_user, current_setting('request.jwt.claims')::json ->> 'sub', \
     current_setting('request.jwt.claims')::json ->> 'role'",
    "SELECT current_setting('TimeZone'), current_setting('DateStyle'), current_setting('work_mem'), \
     current_setting('search_path'), current_setting('application_name'), \
     current_setting('statement_timeout'), current_setting('default_transaction_read_only')",
    "SELECT current_schemas(false), '2026-01-02 03:04+00'::timestamptz",
    "SELECT to_regclass('own') IS NULL, to_regclass('tt') IS NULL",
    "SELECT count(*), min(score), max(phone) FROM leads",
    "SELECT count(*) FROM plans",
];
