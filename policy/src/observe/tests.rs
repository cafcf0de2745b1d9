//! What observe mode lets through, what it notes, and what it never lets through.

use std::sync::Arc;

use crate::deny::DenyReason;
use crate::engine::{Engine, Limits, Request, Scratch};
use crate::plan::Plan;
use crate::rules::{Mode, Policy};
use crate::session::{Protocol, SessionFacts};
use crate::testing;

fn engine(edit: impl FnOnce(&mut Policy)) -> Engine {
    let mut policy = testing::policy();
    edit(&mut policy);
    let catalog = Arc::new(testing::catalog());
    Engine::new(Arc::new(policy), catalog, Limits::default()).unwrap()
}

fn everything() -> Engine {
    engine(|policy| policy.mode = Mode::Observe)
}

/// `user_credits` is observed; leads and calls are not.
fn credits() -> Engine {
    engine(|policy| {
        for table in &mut policy.tables {
            if table.name.name == "user_credits" {
                table.mode = Some(Mode::Observe);
            }
        }
    })
}

fn judge(engine: &Engine, text: &str) -> Result<(String, Arc<Plan>), DenyReason> {
    let request = Request {
        text,
        protocol: Protocol::Simple,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &testing::values(),
    };
    let mut scratch = Scratch::default();
    let judged = engine.judge(request, &mut scratch);
    judged
        .map(|cleared| (cleared.text().to_owned(), Arc::clone(cleared.plan())))
        .map_err(|denial| denial.reason)
}

#[test]
fn what_would_be_rewritten_goes_as_it_came() {
    let engine = everything();
    for text in [
        "SELECT note FROM leads",
        "SELECT l.note FROM leads l LEFT JOIN calls c ON c.lead_id = l.id",
        "UPDATE leads SET note = 'x' WHERE id = 'a0000000-0000-0000-0000-000000000009'",
        "INSERT INTO leads (note) VALUES ('x')",
    ] {
        let (sent, plan) = judge(&engine, text).unwrap();
        assert_eq!(sent, text);
        let observed = plan.observed.clone().unwrap();
        assert_eq!(observed.verdict(), "would_rewrite");
        assert!(plan.hidden.is_empty() && plan.checks.is_empty());
    }
    let (_, plan) = judge(&engine, "SELECT name FROM plans").unwrap();
    assert_eq!(plan.observed, None);
}

#[test]
fn what_would_be_denied_goes_as_it_came() {
    let engine = everything();
    let foreign = "INSERT INTO leads (org_id) VALUES ('b0000000-0000-0000-0000-000000000002')";
    for (text, reason) in [
        ("SELECT * FROM secret", DenyReason::UnlistedRelation),
        ("SELECT * FROM nothing", DenyReason::UnknownRelation),
        ("UPDATE plans SET name = 'x'", DenyReason::ReadOnlyRelation),
        (foreign, DenyReason::ForeignTenantValue),
        ("CREATE TABLE t (a int)", DenyReason::UnsupportedStatement),
        ("TRUNCATE leads", DenyReason::UnsupportedStatement),
    ] {
        let (sent, plan) = judge(&engine, text).unwrap();
        assert_eq!(sent, text);
        let observed = plan.observed.clone().unwrap();
        assert_eq!(
            (observed.verdict(), observed.reason),
            ("would_deny", Some(reason))
        );
    }
}

#[test]
fn the_identity_stays_guarded() {
    let engine = everything();
    for text in [
        "SET request.jwt.claims = '{}'",
        "SET ROLE postgres",
        "SET SESSION AUTHORIZATION postgres",
        "RESET ROLE",
        "SET no.such = 'x'",
        "SELECT set_config('request.jwt.claims', '', false)",
        "SELECT set_config('request.jwt.claims', '', false) FROM secret",
        "SELECT 1 FROM secret; SET ROLE postgres",
        "SELECT 1 FROM secret; SELECT set_config('role', 'x', false)",
        "TRUNCATE leads; SET SESSION AUTHORIZATION postgres",
        "UPDATE pg_catalog.pg_settings SET setting = 'x' WHERE name = 'role'",
        "UPDATE pg_settings SET setting = 'x' FROM secret",
        "DELETE FROM pg_db_role_setting USING secret",
        "INSERT INTO pg_catalog.pg_authid SELECT * FROM secret",
        "DO $$ BEGIN PERFORM 1; END $$",
        "CALL change_identity()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER ROLE postgres SET role = 'x'",
        "ALTER DATABASE app SET role = 'x'",
        "ALTER SYSTEM SET role = 'x'",
        "SELECT query_to_xml('select ' || note, true, true, '') FROM leads, secret",
        "SELECT no_such_function() FROM secret",
        "SELECT * FROM secret, ts_rewrite('a'::tsquery, 'SELECT 1')",
        "EXPLAIN ANALYZE SELECT dblink('x', 'y')",
        "EXPLAIN ANALYZE EXECUTE x",
        "CREATE TABLE t AS EXECUTE x",
        "CREATE TABLE t (a int DEFAULT pg_sleep(1))",
        "SELECT * INTO TEMP t FROM secret",
        "COPY secret TO PROGRAM 'cat'",
        "COPY secret TO '/tmp/x'",
        "DROP FUNCTION auth_org_id()",
        "SELEC 1",
    ] {
        assert!(judge(&engine, text).is_err(), "{text}");
    }
}

#[test]
fn the_cache_remembers_what_is_observed_and_what_is_not() {
    let engine = everything();
    let text = |org: &str| {
        format!("INSERT INTO leads (org_id) VALUES ('{org}0000000-0000-0000-0000-000000000001')")
    };
    for _ in 0..2 {
        let (_, foreign) = judge(&engine, &text("b")).unwrap();
        assert_eq!(foreign.observed.as_ref().unwrap().verdict(), "would_deny");
        let (_, own) = judge(&engine, &text("a")).unwrap();
        assert_ne!(own.observed, foreign.observed);
        assert!(judge(&engine, "SELECT 'set_config', id FROM secret").is_err());
        assert!(judge(&engine, "SELECT 'harmless', id FROM secret").is_ok());
    }
}

#[test]
fn single_tables_are_observed_and_the_others_enforced() {
    let engine = credits();
    let (sent, plan) = judge(&engine, "SELECT credits FROM public.user_credits").unwrap();
    assert_eq!(sent, "SELECT credits FROM public.user_credits");
    assert_eq!(plan.observed.as_ref().unwrap().verdict(), "would_rewrite");

    let both = "SELECT 1 FROM public.user_credits u JOIN public.leads l ON true";
    let (sent, plan) = judge(&engine, both).unwrap();
    assert!(sent.contains("l.org_id OPERATOR(pg_catalog.=)"), "{sent}");
    assert!(!sent.contains("u.user_id"), "{sent}");
    assert_eq!(plan.observed.as_ref().unwrap().verdict(), "would_rewrite");

    let foreign = "UPDATE public.user_credits SET user_id = 'b0000000-0000-0000-0000-000000000002'";
    let (sent, plan) = judge(&engine, foreign).unwrap();
    assert_eq!(sent, foreign);
    let reason = plan.observed.as_ref().unwrap().reason;
    assert_eq!(reason, Some(DenyReason::ForeignTenantValue));

    let (_, plan) = judge(&engine, "SELECT note FROM leads").unwrap();
    assert_eq!(plan.observed, None);
    for text in [
        "SELECT 1 FROM user_credits, secret",
        "SELECT set_config('role', 'x', false) FROM user_credits",
        "TRUNCATE user_credits",
    ] {
        assert!(judge(&engine, text).is_err(), "{text}");
    }
    let copied = "INSERT INTO leads (org_id) SELECT user_id FROM user_credits";
    let (sent, _) = judge(&engine, copied).unwrap();
    assert!(
        sent.contains("CASE WHEN user_id OPERATOR(pg_catalog.=)"),
        "{sent}"
    );
}
