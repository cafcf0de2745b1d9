//! The price of the barrier: a condition that can't leak keeps its index. What pgwarden sends is planned
//! by the server as it plans the client's statement under row level security, or better.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use pgwarden_policy::engine::{Limits, Request, Scratch};
use pgwarden_policy::{Engine, Protocol, ScopeValue, ScopeValues, SessionFacts};
use pgwarden_tests::engine::catalog_of;
use pgwarden_tests::fixture::{ROLE, Tenant, script, server, set_claims, superuser};
use pgwarden_tests::proxy::policy_of;
use pgwarden_tests::wire::Client;

/// Forty organisations of 1,000 leads each, and as many calls.
const SCHEMA: &str = "
CREATE FUNCTION auth_org_id() RETURNS uuid LANGUAGE sql STABLE AS
  $$ SELECT nullif(nullif(current_setting('request.jwt.claims', true), '')::jsonb #>> '{app_metadata,org_id}', '')::uuid $$;
CREATE TABLE orgs (n int PRIMARY KEY, id uuid NOT NULL);
INSERT INTO orgs SELECT n, CASE n WHEN 0 THEN uuid 'a0000000-0000-0000-0000-000000000001' ELSE md5(n::text)::uuid END
FROM generate_series(0, 39) n;
CREATE TABLE leads (id bigint PRIMARY KEY, org_id uuid NOT NULL, phone text, name text, score int, created timestamptz);
INSERT INTO leads SELECT n, (SELECT id FROM orgs o WHERE o.n = l.n % 40), '+49' || n, 'Lead ' || n, n % 997,
  timestamptz '2026-01-01 00:00:00+00' + n * interval '1 minute' FROM generate_series(1, 40000) AS l(n);
CREATE TABLE calls (id bigint PRIMARY KEY, org_id uuid NOT NULL, lead_id bigint, seconds int);
INSERT INTO calls SELECT n, (SELECT id FROM orgs o WHERE o.n = l.n % 40), n, n % 60 FROM generate_series(1, 40000) AS l(n);
CREATE INDEX leads_created ON leads (org_id, created);
CREATE INDEX leads_phone ON leads (phone text_pattern_ops);
CREATE INDEX leads_score ON leads (score);
CREATE INDEX calls_lead ON calls (lead_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO pgwarden_app";

const RULES: &str = "
ALTER TABLE leads ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE calls ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON leads USING (org_id = (SELECT auth_org_id()));
CREATE POLICY tenant ON calls USING (org_id = (SELECT auth_org_id()))";

const POLICY: &str = "version = 1
[tenant]
claim  = \"app_metadata.org_id\"
type   = \"uuid\"
column = \"org_id\"
[defaults]
discover = [\"public\"]
";

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| {
        let mut admin = superuser(server().address(), "postgres");
        for (name, rules) in [("index_plain", ""), ("index_rls", RULES)] {
            script(&mut admin, &format!("CREATE DATABASE {name}"));
            let mut database = superuser(server().address(), name);
            script(&mut database, SCHEMA);
            script(&mut database, "VACUUM ANALYZE");
            if !rules.is_empty() {
                script(&mut database, rules);
            }
        }
        let catalog = catalog_of("index_plain");
        let policy = policy_of(POLICY).policy;
        Engine::new(policy, Arc::new(catalog), Limits::default()).expect("the policy fits")
    })
}

fn client(database: &str) -> Client {
    let mut client =
        Client::connect(server().address(), ROLE, database, &[], None).expect("the server answers");
    set_claims(&mut client, &Tenant::A.claims());
    client
}

/// What would be sent for a statement.
fn sent(sql: &str, protocol: Protocol) -> String {
    let org = ScopeValue::Uuid(Tenant::A.org().parse().unwrap());
    let request = Request {
        text: sql,
        protocol,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &ScopeValues::new(vec![Some(org)]),
    };
    let mut scratch = Scratch::default();
    let judged = engine().judge(request, &mut scratch);
    match judged {
        Ok(cleared) => cleared.text().to_owned(),
        Err(denial) => panic!("{sql}: {}", denial.message),
    }
}

/// A plan: the indexes that it uses, the tables that it reads whole, and what it costs.
#[derive(Debug)]
struct Plan {
    indexes: BTreeSet<String>,
    whole: BTreeSet<String>,
    cost: f64,
    text: String,
}

fn explain(client: &mut Client, sql: &str) -> Plan {
    let reply = script(client, &format!("EXPLAIN {sql}"));
    let rows = &reply.results.last().expect("a plan").rows;
    let lines: Vec<String> = rows
        .iter()
        .map(|row| String::from_utf8_lossy(row[0].as_deref().unwrap()).into_owned())
        .collect();
    let after = |line: &str, words: &[&str]| {
        let found = words.iter().find_map(|word| line.split_once(word));
        let name = found.map(|(_, rest)| rest.split(' ').next().unwrap_or(rest).to_owned());
        name.filter(|name| !name.is_empty())
    };
    let indexes = [
        "Scan using ",
        "Scan Backward using ",
        "Bitmap Index Scan on ",
    ];
    let cost = lines[0]
        .split_once("..")
        .and_then(|(_, rest)| rest.split_once(' '));
    Plan {
        indexes: lines.iter().filter_map(|it| after(it, &indexes)).collect(),
        whole: lines
            .iter()
            .filter_map(|it| after(it, &["Seq Scan on "]))
            .collect(),
        cost: cost.expect("a cost").0.parse().expect("a number"),
        text: lines.join("\n"),
    }
}

/// Compares the plans of what is sent with those under row level security, and says what is worse.
fn compare(sql: &str, index: &str, ours: &Plan, theirs: &Plan) -> Option<String> {
    let kept = ours.indexes.is_superset(&theirs.indexes) || ours.cost <= theirs.cost;
    let fine = ours.indexes.contains(index) && kept && ours.whole.is_subset(&theirs.whole);
    (!fine).then(|| {
        format!(
            "{sql}\n{}\nunder row level security:\n{}\n",
            ours.text, theirs.text
        )
    })
}

/// Statements, and an index that each must use.
const STATEMENTS: &[(&str, &str)] = &[
    ("SELECT * FROM leads WHERE id = 4000", "leads_pkey"),
    (
        "SELECT * FROM leads WHERE id = 4000 AND name LIKE '%4000%'",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id = 4000 AND name::text || 'x' <> ''",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id IN (40, 80, 120)",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id = ANY ('{40,80}')",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id BETWEEN 400 AND 450",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id >= 400 AND id < 450 AND score > 3",
        "leads_pkey",
    ),
    ("SELECT * FROM leads WHERE score = 5", "leads_score"),
    (
        "SELECT * FROM leads WHERE created > '2026-01-28'",
        "leads_created",
    ),
    (
        "SELECT * FROM leads ORDER BY created DESC LIMIT 20",
        "leads_created",
    ),
    (
        "SELECT * FROM leads WHERE created < '2026-01-20' ORDER BY created DESC LIMIT 20",
        "leads_created",
    ),
    ("SELECT count(*) FROM leads", "leads_created"),
    (
        "SELECT l.*, c.seconds FROM leads l JOIN calls c ON c.lead_id = l.id WHERE l.id = 4000",
        "calls_lead",
    ),
    (
        "SELECT l.*, c.seconds FROM leads l LEFT JOIN calls c ON c.lead_id = l.id WHERE l.id = 4000",
        "calls_lead",
    ),
    (
        "SELECT * FROM leads l WHERE l.id = 4000 AND EXISTS (SELECT FROM calls c WHERE c.lead_id = l.id)",
        "calls_lead",
    ),
    (
        "SELECT * FROM leads WHERE id IN (SELECT lead_id FROM calls WHERE id = 4000)",
        "calls_pkey",
    ),
    (
        "SELECT * FROM (SELECT id, name FROM leads) l WHERE id = 4000",
        "leads_pkey",
    ),
    (
        "WITH l AS (SELECT id, name FROM leads) SELECT * FROM l WHERE id = 4000",
        "leads_pkey",
    ),
    ("UPDATE leads SET name = 'x' WHERE id = 4000", "leads_pkey"),
    ("DELETE FROM leads WHERE id = 4000", "leads_pkey"),
    (
        "SELECT * FROM leads WHERE id = 4000 FOR UPDATE",
        "leads_pkey",
    ),
];

#[test]
fn conditions_that_cannot_leak_keep_their_indexes() {
    let _ = engine();
    let (mut plain, mut rls) = (client("index_plain"), client("index_rls"));
    let mut failures = String::new();
    for (sql, index) in STATEMENTS {
        let theirs = explain(&mut rls, sql);
        let ours = explain(&mut plain, &sent(sql, Protocol::Simple));
        failures += &compare(sql, index, &ours, &theirs).unwrap_or_default();
    }
    assert!(failures.is_empty(), "{failures}");
}

/// LIKE is not leakproof: under row level security it reads no index, and behind the barrier neither.
/// The tenant's own index is used all the same.
#[test]
fn a_prefix_is_looked_for_among_the_tenants_rows() {
    let _ = engine();
    let (mut plain, mut rls) = (client("index_plain"), client("index_rls"));
    let sql = "SELECT * FROM leads WHERE phone LIKE '+49400%'";
    let theirs = explain(&mut rls, sql);
    let ours = explain(&mut plain, &sent(sql, Protocol::Simple));
    assert_eq!(compare(sql, "leads_created", &ours, &theirs), None);
}

/// Statements with parameters, their values, and an index that each must use, whether the server plans
/// for the values or for any.
const PREPARED: &[(&str, &str, &str)] = &[
    ("SELECT * FROM leads WHERE id = $1", "4000", "leads_pkey"),
    (
        "SELECT * FROM leads WHERE id = ANY ($1)",
        "'{40,80}'",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE id BETWEEN $1 AND $2",
        "400, 450",
        "leads_pkey",
    ),
    (
        "SELECT * FROM leads WHERE created > $1 ORDER BY created LIMIT 20",
        "'2026-01-20'",
        "leads_created",
    ),
    (
        "SELECT l.*, c.seconds FROM leads l LEFT JOIN calls c ON c.lead_id = l.id WHERE l.id = $1",
        "4000",
        "calls_lead",
    ),
    (
        "UPDATE leads SET name = $2 WHERE id = $1",
        "4000, 'x'",
        "leads_pkey",
    ),
];

#[test]
fn parameters_keep_their_indexes() {
    let _ = engine();
    let (mut plain, mut rls) = (client("index_plain"), client("index_rls"));
    let mut failures = String::new();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        for client in [&mut plain, &mut rls] {
            script(client, &format!("SET plan_cache_mode = {mode}"));
        }
        for (sql, values, index) in PREPARED {
            script(&mut rls, &format!("PREPARE s AS {sql}"));
            script(
                &mut plain,
                &format!("PREPARE s AS {}", sent(sql, Protocol::Extended)),
            );
            let theirs = explain(&mut rls, &format!("EXECUTE s({values})"));
            let hidden = format!("EXECUTE s({values}, '{}')", Tenant::A.org());
            let ours = explain(&mut plain, &hidden);
            failures += &compare(sql, index, &ours, &theirs).unwrap_or_default();
            for client in [&mut plain, &mut rls] {
                script(client, "DEALLOCATE s");
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
