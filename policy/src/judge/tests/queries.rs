//! Recursive queries, sequences and locks.

use std::sync::Arc;

use super::{P, check};
use crate::rules::QualifiedName;
use crate::{Engine, Protocol, Request, Scratch, SessionFacts, testing};

#[test]
fn search_and_cycle_add_columns() {
    let t = "WITH RECURSIVE t(id) AS (SELECT amount FROM leads UNION ALL SELECT id FROM t) SEARCH \
             DEPTH FIRST BY id SET o CYCLE id SET c USING p";
    for (query, wanted) in [
        ("SELECT id, o, c, p FROM t", "SELECT id, o, c, p FROM t"),
        ("SELECT nope FROM t", "! ambiguous_column"),
        // Below the WITH's own level, `*` is `id` alone.
        ("SELECT s.x FROM (SELECT * FROM t) s(x)", "SELECT s.x FROM"),
        ("SELECT s.o FROM (SELECT * FROM t) s", "! ambiguous_column"),
        ("SELECT s.o FROM t AS s(a)", "SELECT s.o FROM"),
    ] {
        check(&[(&format!("{t} {query}"), wanted)]);
    }
}

/// The answer under a policy that lists functions.
fn judge(sql: &str, listed: &[&str]) -> String {
    let mut policy = testing::policy();
    let named = |name: &&str| QualifiedName {
        schema: "pg_catalog".to_owned(),
        name: (*name).to_owned(),
    };
    policy.functions.allow = listed.iter().map(|name| named(name).into()).collect();
    let catalog = Arc::new(testing::catalog());
    let engine = Engine::new(Arc::new(policy), catalog, crate::engine::Limits::default());
    let facts = SessionFacts::default();
    let request = Request {
        text: sql,
        protocol: Protocol::Simple,
        declared: &[],
        facts: &facts,
        values: &testing::values(),
    };
    let engine = engine.expect("the policy fits");
    match engine.judge(request, &mut Scratch::default()) {
        Ok(_) => "passed".to_owned(),
        Err(denial) => denial.reason.code().to_owned(),
    }
}

#[test]
fn what_a_sequence_gave_last_is_the_connections() {
    assert_eq!(judge("SELECT lastval()", &[]), "passed");
    assert_eq!(
        judge("SELECT ('leads').currval", &[]),
        "unsupported_construct"
    );
}

#[test]
fn locks_are_lent_by_the_policy() {
    for lock in ["pg_advisory_xact_lock", "pg_try_advisory_lock"] {
        let sql = format!("SELECT {lock}(1)");
        assert_eq!(judge(&sql, &[lock]), "passed");
        assert_eq!(judge(&sql, &[]), "function_denied");
    }
    assert_eq!(judge("SELECT pg_advisory_unlock(1)", &[]), "passed");
    for denied in ["pg_sleep", "query_to_xml"] {
        let sql = format!("SELECT {denied}(1)");
        assert_eq!(judge(&sql, &[denied]), "function_denied", "{denied}");
    }
}

#[test]
fn a_predicate_of_the_clients_own_is_no_guard() {
    // What the rewriter writes, sent by a client: it is kept, and guarded once more.
    let own = "leads.org_id OPERATOR(pg_catalog.=) \
               'a0000000-0000-0000-0000-000000000001'::pg_catalog.uuid";
    let sql = format!(
        "SELECT * FROM public.leads NATURAL JOIN (SELECT id FROM public.leads WHERE {own}) x WHERE {own}"
    );
    let guarded = format!("WHERE {P} AND {own}) x WHERE {P} AND {own}");
    check(&[(sql.as_str(), guarded.as_str())]);
}

#[test]
fn joins_that_hide_names_or_need_them_keep_the_barrier() {
    check(&[
        (
            "SELECT FROM (leads l JOIN calls c ON c.lead_id = l.id) AS j WHERE j.note::int > 3",
            "ON c.lead_id = l.id OFFSET 0) j WHERE j.note::int > 3",
        ),
        (
            "SELECT FROM leads l FULL JOIN calls c ON l.note::int = c.id",
            "OR l.tableoid IS NULL THEN l.note::int END = CASE WHEN c.org_id",
        ),
    ]);
}
