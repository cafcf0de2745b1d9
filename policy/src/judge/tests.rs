//! Statements and what becomes of them.

mod ddl;
mod filters;
mod kinds;
mod queries;
mod reads;
mod versions;

use std::sync::Arc;

use crate::testing;
use crate::{Engine, Protocol, Request, Scratch, SessionFacts};

fn judge(sql: &str) -> String {
    let engine = Engine::new(
        Arc::new(testing::policy()),
        Arc::new(testing::catalog()),
        crate::engine::Limits::default(),
    )
    .expect("the test policy fits");
    let request = Request {
        text: sql,
        protocol: Protocol::Extended,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &testing::values(),
    };
    match engine.judge(request, &mut Scratch::default()) {
        Ok(cleared) => cleared.text().to_owned(),
        Err(denial) => format!("! {} {}", denial.reason.code(), denial.message),
    }
}

/// `(statement, what must be in the answer)`; a denial begins with `! <reason>`.
fn check(cases: &[(&str, &str)]) {
    let mut failures = String::new();
    for (sql, wanted) in cases {
        let got = judge(sql);
        if !got.contains(wanted) {
            failures += &format!("\n{sql}\n  wanted: {wanted}\n  got:    {got}\n");
        }
    }
    assert!(failures.is_empty(), "{failures}");
}

const P: &str = "leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid";

#[test]
fn predicates_stand_where_they_guard() {
    check(&[
        (
            "SELECT * FROM leads",
            "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
        ),
        (
            "SELECT * FROM leads WHERE id = 'x' OR true",
            &format!("WHERE {P} AND (id = 'x' OR true)"),
        ),
        (
            "SELECT * FROM leads l LEFT JOIN calls c ON c.lead_id = l.id",
            "LEFT JOIN (public.calls c JOIN (SELECT) pgwarden_1 ON c.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid) ON c.lead_id = l.id WHERE l.org_id",
        ),
        (
            "SELECT * FROM leads FULL JOIN calls USING (org_id)",
            "pgwarden_2",
        ),
        ("SELECT (SELECT count(*) FROM leads)", P),
        ("WITH leads AS (SELECT * FROM leads) SELECT * FROM leads", P),
        (
            "WITH RECURSIVE t AS (SELECT id FROM leads UNION SELECT c.lead_id FROM calls c JOIN t ON t.id = c.lead_id) SELECT * FROM t",
            P,
        ),
        ("SELECT * FROM leads FOR UPDATE OF leads", P),
        ("TABLE leads", P),
        (
            "SELECT * FROM leads AS l(x, y)",
            "l.y OPERATOR(pg_catalog.=) $1",
        ),
        // Nothing scoped: byte for byte, unless another statement may change what the name means.
        ("SELECT * FROM  plans", "SELECT * FROM  plans"),
        ("SELECT 1; TABLE plans", "public.plans"),
        ("SELECT 1", "SELECT 1"),
        (
            "SELECT * FROM user_credits",
            "user_credits.user_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
        ),
        (
            "SELECT x FROM (SELECT note::int AS x FROM leads) s WHERE s.x > 0",
            "OFFSET 0",
        ),
        (
            "SELECT note FROM leads WHERE note::int > 0",
            "CASE WHEN leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid THEN note::int > 0 ELSE false END",
        ),
        (
            "SELECT note FROM leads GROUP BY note HAVING note::int > 0",
            "CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN",
        ),
    ]);
}

#[test]
fn writes_stay_in_the_tenant() {
    check(&[
        (
            "INSERT INTO leads (note) VALUES ('x'), ('y')",
            "INSERT INTO public.leads (note, org_id) VALUES ('x', $1::pg_catalog.uuid), ('y', $1::pg_catalog.uuid)",
        ),
        (
            "INSERT INTO leads VALUES ($1)",
            "(id, org_id) VALUES ($1, $2::pg_catalog.uuid)",
        ),
        (
            "INSERT INTO leads DEFAULT VALUES",
            "(org_id) VALUES ($1::pg_catalog.uuid)",
        ),
        (
            "INSERT INTO leads (org_id) VALUES (DEFAULT)",
            "VALUES ($1::pg_catalog.uuid)",
        ),
        (
            "INSERT INTO leads (org_id) VALUES ('b0000000-0000-0000-0000-000000000002')",
            "! foreign_tenant_value",
        ),
        (
            "INSERT INTO leads (org_id) VALUES ('A0000000-0000-0000-0000-000000000001')",
            "INSERT",
        ),
        (
            "INSERT INTO leads (org_id) SELECT org_id FROM calls",
            "calls.org_id",
        ),
        (
            "INSERT INTO leads (org_id) SELECT id FROM calls",
            "SELECT CASE WHEN CASE WHEN id OPERATOR(pg_catalog.=) $1",
        ),
        (
            "INSERT INTO leads (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET note = excluded.note",
            "ON CONFLICT (id) DO UPDATE SET note = excluded.note WHERE CASE WHEN leads.org_id",
        ),
        (
            "UPDATE leads SET org_id = 'b0000000-0000-0000-0000-000000000002'",
            "! foreign_tenant_value",
        ),
        (
            "UPDATE leads SET (note, org_id) = (SELECT 'x', id FROM leads)",
            "CASE WHEN CASE WHEN pgwarden_source.pgwarden_2 OPERATOR(pg_catalog.=) $1::pg_catalog.uuid",
        ),
        ("UPDATE leads SET org_id = $1", "$2::pg_catalog.uuid"),
        (
            "UPDATE leads SET \"org_id\" = DEFAULT",
            "! unproven_tenant_value",
        ),
        (
            "DELETE FROM leads USING calls WHERE calls.lead_id = leads.id",
            "leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND calls.org_id",
        ),
    ]);
}

#[test]
fn what_nobody_knows_is_denied() {
    check(&[
        ("SELECT * FROM nobody", "! unknown_relation"),
        ("SELECT * FROM pg_stats", "! "),
        ("SELECT reltuples FROM pg_class", "! system_relation"),
        ("SELECT * FROM secret", "! unlisted_relation"),
        (
            "SELECT query_to_xml('select 1', true, true, '')",
            "! function_denied",
        ),
        ("SELECT evil()", "! unknown_function"),
        (
            "SELECT set_config('request.jwt.claims', '', false)",
            "! identity_guard",
        ),
        (
            "SELECT set_config('request' || '.jwt', '', false)",
            "! identity_guard",
        ),
        ("SET request.jwt.claims = ''", "! identity_guard"),
        ("SET LOCAL ROLE postgres", "! identity_guard"),
        ("UPDATE pg_settings SET setting = 'x'", "! identity_guard"),
        ("DO $$ BEGIN END $$", "! unsupported_statement"),
        ("INSERT INTO plans VALUES (1)", "! read_only_relation"),
        ("SELECT nothing FROM leads", "! ambiguous_column"),
        ("SELECT 1 AS pgwarden_1", "! unsupported_construct"),
    ]);
}

#[test]
fn what_applications_write_is_proven() {
    check(&[
        (
            "SELECT id FROM leads WHERE (id = $1 AND note = 'a') AND (amount > 1 AND 1/amount > 0)",
            "CASE WHEN",
        ),
        (
            "SELECT * FROM leads l LEFT JOIN calls c ON c.lead_id = l.id WHERE 1/c.seconds > 0",
            "OR c.tableoid IS NULL THEN",
        ),
        (
            "SELECT id FROM leads WHERE CASE WHEN note::int > 3 THEN true ELSE false END",
            "CASE WHEN leads.org_id",
        ),
        (
            "WITH s AS NOT MATERIALIZED (SELECT id, note FROM leads) SELECT id FROM s WHERE note::int > 3",
            "NOT MATERIALIZED (SELECT id, note FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid OFFSET 0)",
        ),
        (
            "INSERT INTO leads (id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET org_id = excluded.org_id",
            "excluded.org_id",
        ),
        (
            "UPDATE leads SET (note, org_id) = ('x', 'a0000000-0000-0000-0000-000000000001')",
            "UPDATE",
        ),
        (
            "UPDATE leads SET (note, amount) = (SELECT max(note), count(*) FROM leads)",
            "UPDATE",
        ),
        (
            "WITH leads AS (SELECT 3 AS id) DELETE FROM leads WHERE id = $1",
            "DELETE FROM public.leads",
        ),
        (
            "INSERT INTO leads (id, note) SELECT id, note FROM leads UNION ALL SELECT $1, 'x'",
            "pgwarden_source",
        ),
        (
            "INSERT INTO leads TABLE leads",
            "pgwarden_source.pgwarden_2 OPERATOR(pg_catalog.=) $1",
        ),
        (
            "INSERT INTO leads (org_id, note) SELECT p0::uuid, p1 FROM (VALUES ('x', 'y', 0)) AS s(p0, p1, c) ORDER BY c",
            "WHEN p0::uuid OPERATOR(pg_catalog.=) $1",
        ),
        (
            "SELECT note.x FROM leads",
            "! ambiguous_column missing FROM-clause",
        ),
        (
            "SELECT count(*) FROM leads WHERE lower(note) LIKE 'a%' GROUP BY amount HAVING count(*) > 1 ORDER BY 1 LIMIT 5",
            "CASE WHEN",
        ),
        (
            "SELECT l.id, (SELECT count(*) FROM calls c WHERE c.lead_id = l.id) FROM leads l WHERE l.id IN (SELECT lead_id FROM calls) ORDER BY l.amount DESC",
            "IN (SELECT lead_id FROM public.calls WHERE calls.org_id",
        ),
        (
            "SELECT row_number() OVER (PARTITION BY l.note ORDER BY l.amount) AS n, l.* FROM leads l WINDOW w AS (ORDER BY id)",
            "WHERE l.org_id",
        ),
        (
            "SELECT * FROM (leads l JOIN calls c ON c.lead_id = l.id) AS j",
            "pgwarden_2",
        ),
    ]);
}

/// Each of these made PostgreSQL 15 fail on, or tell apart, another tenant's row although the
/// predicate stood in WHERE (THREATS.md A1).
#[test]
fn casts_that_nobody_wrote_are_kept_back() {
    let guarded = "CASE WHEN invoices.org_id OPERATOR(pg_catalog.=) $1";
    check(&[
        // "numeric field overflow"
        (
            "SELECT id FROM invoices WHERE total::numeric(3,1) IS NOT NULL",
            guarded,
        ),
        (
            "SELECT id FROM invoices WHERE total::numeric(3,1) = 5",
            guarded,
        ),
        // "date out of range for timestamp"
        (
            "SELECT id FROM invoices WHERE COALESCE(paid, due) IS NOT NULL",
            guarded,
        ),
        (
            "SELECT id FROM invoices WHERE CASE WHEN true THEN paid ELSE due END IS NULL",
            guarded,
        ),
        (
            "SELECT id FROM invoices WHERE ARRAY[paid, due] IS NULL",
            guarded,
        ),
        // "OID out of range"
        ("SELECT id FROM invoices WHERE id = 5::oid", guarded),
        // What can't fail keeps its index.
        (
            "SELECT id FROM invoices WHERE total::numeric = 5",
            "$1::pg_catalog.uuid AND total::numeric = 5",
        ),
        (
            "SELECT id FROM invoices WHERE COALESCE(id, 0) IS NULL",
            "$1::pg_catalog.uuid AND COALESCE(id, 0) IS NULL",
        ),
        (
            "SELECT id FROM invoices WHERE id = 5",
            "$1::pg_catalog.uuid AND id = 5",
        ),
    ]);
}

/// PostgreSQL moves a HAVING condition without aggregates of its own query into WHERE.
#[test]
fn having_waits_for_the_groups() {
    let held = "HAVING CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 THEN";
    check(&[
        (
            "SELECT (SELECT 1 FROM leads x GROUP BY x.note HAVING has_schema_privilege(x.note, 'usage') OR count(p.id) IS NULL) FROM plans p",
            held,
        ),
        (
            "SELECT (SELECT 1 FROM leads x GROUP BY x.note HAVING x.note::int > max(p.id)) FROM plans p",
            held,
        ),
        (
            "SELECT note FROM leads GROUP BY note HAVING sum(amount) > 10",
            "HAVING sum(amount) > 10",
        ),
        (
            "SELECT note FROM leads GROUP BY note HAVING note::int > count(*)",
            "HAVING note::int > count(*)",
        ),
        // HAVING of a subquery runs for each row of the outer one.
        (
            "SELECT id FROM leads l WHERE EXISTS (SELECT count(*) FROM plans HAVING l.note::int > 0)",
            "CASE WHEN l.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid THEN EXISTS",
        ),
        // "more than one row returned by a subquery"
        (
            "SELECT id FROM leads l WHERE (SELECT p.id FROM plans p WHERE p.id <> l.amount) IS NULL",
            "CASE WHEN l.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid THEN (SELECT",
        ),
        (
            "SELECT id FROM leads l WHERE EXISTS (SELECT note::int FROM calls c WHERE c.lead_id = l.id)",
            "EXISTS",
        ),
    ]);
}

/// A field of a value calls the function of that name, and not only on rows.
#[test]
fn fields_are_not_a_way_to_functions() {
    check(&[
        (
            "SELECT ('leads_id_seq'::text).nextval",
            "! unsupported_construct",
        ),
        (
            "SELECT * FROM leads l LEFT JOIN calls AS c(tableoid, o) ON c.o = l.org_id WHERE 1/c.seconds > 0",
            "! unsupported_construct",
        ),
    ]);
}

#[test]
fn prepare_holds_the_sessions_value() {
    let own = "leads.org_id OPERATOR(pg_catalog.=) 'a0000000";
    check(&[
        ("PREPARE p AS SELECT * FROM leads WHERE id = $1", own),
        ("PREPARE p AS SELECT * FROM leads WHERE org_id = $1", own),
        (
            "PREPARE p AS INSERT INTO leads (id, org_id) VALUES ($1, $2)",
            "VALUES ($1, CASE WHEN CASE WHEN $2 OPERATOR(pg_catalog.=) 'a0000000",
        ),
        (
            "PREPARE p AS UPDATE leads SET org_id = $1",
            "SET org_id = CASE WHEN CASE WHEN $1 OPERATOR(pg_catalog.=) 'a0000000",
        ),
        (
            "PREPARE p AS SELECT set_config('search_path', 'x', false)",
            "! unsupported_construct",
        ),
        ("PREPARE pgwarden_1 AS SELECT 1", "! unsupported_construct"),
        ("EXECUTE p(1)", "EXECUTE p(1)"),
        ("EXECUTE p(query_to_xml('x', true, true, ''))", "! "),
        ("EXECUTE p(1); SELECT 1", "EXECUTE p(1); SELECT 1"),
        ("EXECUTE p(1); LISTEN x", "! unsupported_construct"),
        ("COMMIT; EXECUTE p(1)", "! unsupported_construct"),
        (
            "CREATE TEMP TABLE x (id int); EXECUTE p(1)",
            "! unsupported_construct",
        ),
        ("DEALLOCATE pgwarden_1", "! unsupported_construct"),
        ("CREATE TABLE x AS EXECUTE p", "! unsupported_statement"),
        ("EXPLAIN EXECUTE p", "! unsupported_statement"),
        ("EXECUTE p(1); EXPLAIN EXECUTE p", "! unsupported_statement"),
    ]);
}

#[test]
fn cursors_hold_the_sessions_value() {
    let own = "leads.org_id OPERATOR(pg_catalog.=) 'a0000000";
    check(&[
        ("DECLARE c CURSOR FOR SELECT * FROM leads", own),
        (
            "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM leads WHERE id = $1",
            own,
        ),
        (
            "DECLARE pgwarden_c CURSOR FOR SELECT 1",
            "! unsupported_construct",
        ),
        (
            "DECLARE c CURSOR FOR SELECT set_config('search_path', 'x', false)",
            "! unsupported_construct",
        ),
        ("FETCH ALL FROM c", "FETCH ALL FROM c"),
        ("MOVE pgwarden_claims", "! unsupported_construct"),
        ("CLOSE pgwarden_claims", "! unsupported_construct"),
        (
            "UPDATE leads SET id = $1 WHERE CURRENT OF c",
            "UPDATE public.leads SET id = $1 WHERE CURRENT OF c",
        ),
        (
            "UPDATE leads SET id = p.id FROM plans p WHERE CURRENT OF c",
            "! unsupported_construct",
        ),
        (
            "PREPARE p AS DELETE FROM leads WHERE CURRENT OF c",
            "! unsupported_construct",
        ),
    ]);
}

#[test]
fn merge_hides_foreign_rows_from_its_join() {
    let on = "ON leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND ";
    check(&[
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN MATCHED THEN DELETE",
            on,
        ),
        (
            "MERGE INTO leads USING calls p ON leads.id = p.id WHEN MATCHED THEN DELETE",
            "USING public.calls p JOIN (SELECT) pgwarden_1 ON p.org_id",
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN NOT MATCHED THEN INSERT (id) VALUES (p.id)",
            "INSERT (id, org_id) VALUES (p.id, $1::pg_catalog.uuid)",
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
            "INSERT (org_id) VALUES ($1::pg_catalog.uuid)",
        ),
        (
            "MERGE INTO leads USING plans p ON true WHEN MATCHED THEN DELETE",
            "! unsupported_construct",
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN NOT MATCHED BY SOURCE THEN DELETE",
            "WHEN NOT MATCHED BY SOURCE AND leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid THEN DELETE",
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN NOT MATCHED BY SOURCE AND note::int > 3 THEN DELETE",
            "BY SOURCE AND CASE WHEN leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid THEN note::int > 3 ELSE false END THEN",
        ),
        (
            "MERGE INTO leads USING plans p ON false WHEN NOT MATCHED THEN INSERT (id) VALUES (NULL)",
            "ON leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND false",
        ),
        (
            "MERGE INTO leads USING plans p ON false WHEN NOT MATCHED BY SOURCE THEN DELETE",
            "! unsupported_construct",
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN MATCHED THEN DELETE RETURNING *, merge_action()",
            on,
        ),
        ("SELECT merge_action()", "! unsupported_construct"),
        (
            "WITH m AS (MERGE INTO leads USING plans p ON leads.id = p.id WHEN MATCHED THEN DELETE RETURNING 1) SELECT 1",
            on,
        ),
        (
            "MERGE INTO leads USING plans p ON leads.id = p.id WHEN MATCHED THEN UPDATE SET org_id = p.id",
            "! unproven_tenant_value",
        ),
    ]);
}

#[test]
fn stars_over_stars_are_refused_before_they_take_the_memory() {
    let level = |n: usize| format!(", c{n} AS (SELECT * FROM c{} AS a, c{0} AS b)", n - 1);
    let levels: String = (1..40).map(level).collect();
    let fan = format!("WITH c0 AS (SELECT * FROM leads){levels} SELECT 1");
    assert!(judge(&fan).contains("target lists"), "{}", judge(&fan));
    let nested: String = (0..40).fold("leads".to_owned(), |inner, n| {
        format!("(SELECT a{n}.*, a{n}.* FROM {inner} AS a{n})")
    });
    let nested = format!("SELECT 1 FROM {nested} AS n");
    assert!(
        judge(&nested).contains("target lists"),
        "{}",
        judge(&nested)
    );
}
