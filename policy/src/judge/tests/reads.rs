//! What a standby may answer.

use std::sync::Arc;

use crate::catalog::{Catalog, Function, FunctionKind};
use crate::rules::{FunctionRule, QualifiedName};
use crate::{Engine, Protocol, Request, Scratch, SessionFacts, testing};

fn function(name: &str, volatility: char) -> Function {
    Function {
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: FunctionKind::Function,
        language: "sql".to_owned(),
        extension: None,
        leakproof: false,
        security_definer: false,
        volatility,
        arguments: Vec::new(),
        defaults: 0,
        variadic: false,
        returns_set: false,
    }
}

fn engine() -> Engine {
    let mut parts = testing::catalog().parts().clone();
    for relation in &mut parts.relations {
        relation.unlogged = relation.name == "plans";
    }
    parts.functions.push(function("own_org", 's'));
    parts.functions.push(function("count_up", 'v'));
    let mut policy = testing::policy();
    for (schema, name) in [
        ("public", "own_org"),
        ("public", "count_up"),
        ("pg_catalog", "pg_advisory_xact_lock"),
    ] {
        let name = QualifiedName {
            schema: schema.to_owned(),
            name: name.to_owned(),
        };
        policy.functions.allow.push(FunctionRule {
            name,
            arguments: None,
        });
    }
    let engine = Engine::new(
        Arc::new(policy),
        Arc::new(Catalog::new(parts)),
        crate::engine::Limits::default(),
    );
    engine.expect("the policy fits")
}

/// Judged twice: the fact must come out of the cache as it went in.
fn reads_only(engine: &Engine, sql: &str) -> bool {
    let facts = SessionFacts::default();
    let values = testing::values();
    let [first, second] = [(), ()].map(|()| {
        let request = Request {
            text: sql,
            protocol: Protocol::Simple,
            declared: &[],
            facts: &facts,
            values: &values,
        };
        let mut scratch = Scratch::default();
        let cleared = engine.judge(request, &mut scratch);
        let cleared = cleared.unwrap_or_else(|denial| panic!("{sql}: {denial:?}"));
        cleared.plan().reads_only
    });
    assert_eq!(first, second, "{sql}");
    first
}

#[test]
fn a_standby_answers_what_only_reads() {
    let engine = engine();
    for sql in [
        "SELECT 1",
        "VALUES (1)",
        "TABLE leads",
        "SELECT count(*), now(), lower(note), pg_typeof(note) FROM leads GROUP BY note",
        "WITH l AS (SELECT * FROM leads) SELECT * FROM l JOIN calls c ON c.lead_id = l.id",
        "SELECT own_org()",
    ] {
        assert!(reads_only(&engine, sql), "{sql}");
    }
}

#[test]
fn all_else_goes_to_the_primary() {
    let engine = engine();
    for sql in [
        "",
        "SELECT 1; SELECT 2",
        "SELECT * FROM leads FOR UPDATE",
        "SELECT * FROM (SELECT * FROM leads FOR SHARE) l",
        "WITH gone AS (DELETE FROM leads RETURNING id) SELECT count(*) FROM gone",
        "INSERT INTO leads (note) VALUES ('x')",
        "SELECT count_up()",
        "SELECT random()",
        "SELECT * FROM leads WHERE gen_random_uuid() IS NULL",
        "SELECT clock_timestamp()",
        "SELECT txid_current()",
        "SELECT pg_backend_pid()",
        "SELECT pg_is_in_recovery()",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT current_setting('TimeZone')",
        "SELECT set_config('application_name', 'x', false)",
        "SELECT relname FROM pg_catalog.pg_class",
        // It is unlogged.
        "SELECT * FROM plans",
        "SELECT 1 WHERE EXISTS (SELECT FROM plans)",
        "BEGIN",
        "BEGIN READ ONLY",
        "COMMIT",
        "SET application_name = 'x'",
        "SHOW TimeZone",
        "COPY leads TO STDOUT",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE p AS SELECT 1",
        "EXECUTE p",
        "UNLISTEN *",
        "DISCARD ALL",
    ] {
        assert!(!reads_only(&engine, sql), "{sql}");
    }
}
