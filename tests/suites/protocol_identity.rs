//! THREATS F and H: nothing that a client sends changes who it is, and nothing of one session is
//! left for the next.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::proxy::{admin_token, connect, now, session, sign, token};
use pgwarden_tests::wire::Client;
use serde_json::json;

const SHOW: &str = "SHOW request.jwt.claims";
const FOREIGN: &str = r#"{"app_metadata":{"org_id":"b0000000-0000-0000-0000-000000000002"}}"#;

fn claims(client: &mut Client) -> String {
    client.query(SHOW).ok().value().unwrap()
}

/// Whoever this session is, it is still organisation a.
fn still_a(client: &mut Client, what: &str) {
    let shown: serde_json::Value =
        serde_json::from_str(&claims(client)).unwrap_or_else(|_| panic!("{what}: no claims"));
    assert_eq!(shown["app_metadata"]["org_id"], Tenant::A.org(), "{what}");
    assert_eq!(shown["sub"], Tenant::A.user(), "{what}");
    let rows =
        client.query("SELECT count(*), count(DISTINCT org_id), min(org_id::text) FROM leads");
    if let Some(reason) = rows.denied() {
        // With another search_path the unqualified name may be another table, which is refused.
        assert!(
            ["unlisted_relation", "unknown_relation"].contains(&reason),
            "{what}: {reason}"
        );
    } else {
        assert_eq!(rows.ok().value().as_deref(), Some("60"), "{what}");
    }
    let rows = client.query("SELECT count(*) FROM public.leads").ok();
    assert_eq!(rows.value().as_deref(), Some("60"), "{what}");
    let role = client.query("SELECT current_user").ok();
    assert_eq!(role.value().as_deref(), Some("pgwarden_app"), "{what}");
}

#[test]
fn f1_claims_are_the_tokens() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    still_a(&mut client, "at start");
    let first = claims(&mut client);
    assert!(!first.contains(' ') || serde_json::from_str::<serde_json::Value>(&first).is_ok());
}

#[test]
fn f1_no_statement_changes_the_claims() {
    let arena = Arena::take();
    let attacks = [
        format!("SET request.jwt.claims = '{FOREIGN}'"),
        format!("SET LOCAL request.jwt.claims = '{FOREIGN}'"),
        format!("SET SESSION request.jwt.claims TO '{FOREIGN}'"),
        format!("SET \"request\".\"jwt\".\"claims\" = '{FOREIGN}'"),
        format!("SET \"request.jwt.claims\" = '{FOREIGN}'"),
        format!("SET U&\"request\\002Ejwt.claims\" = '{FOREIGN}'"),
        format!("SET REQUEST.JWT.CLAIMS = '{FOREIGN}'"),
        "SET request.jwt.claims = DEFAULT".to_owned(),
        "SET request.jwt.claims FROM CURRENT".to_owned(),
        "RESET request.jwt.claims".to_owned(),
        "RESET ALL".to_owned(),
        "DISCARD ALL".to_owned(),
        "DISCARD PLANS; DISCARD SEQUENCES; DISCARD TEMP".to_owned(),
        format!("SELECT set_config('request.jwt.claims', '{FOREIGN}', false)"),
        format!("SELECT pg_catalog.set_config('request.jwt.claims', '{FOREIGN}', true)"),
        format!("SELECT 1 WHERE set_config('request.jwt.claims', '{FOREIGN}', false) IS NOT NULL"),
        format!("SELECT * FROM set_config('request.jwt.claims', '{FOREIGN}', false)"),
        format!("VALUES (set_config('request.jwt.claims', '{FOREIGN}', false))"),
        format!(
            "WITH x AS (SELECT set_config('request.jwt.claims', '{FOREIGN}', false)) SELECT * FROM x"
        ),
        format!(
            "SELECT count(*) OVER (ORDER BY set_config('request.jwt.claims', '{FOREIGN}', false))"
        ),
        format!("UPDATE pg_settings SET setting = '{FOREIGN}' WHERE name = 'request.jwt.claims'"),
        format!(
            "UPDATE pg_catalog.pg_settings AS s SET setting = '{FOREIGN}' WHERE s.name LIKE 'request%'"
        ),
        format!("DO $$ BEGIN PERFORM set_config('request.jwt.claims', '{FOREIGN}', false); END $$"),
        format!("ALTER ROLE pgwarden_app SET request.jwt.claims = '{FOREIGN}'"),
        format!("ALTER ROLE ALL IN DATABASE plain_0 SET request.jwt.claims = '{FOREIGN}'"),
        "SET ROLE platform_admin".to_owned(),
        "SET LOCAL ROLE platform_admin".to_owned(),
        "SET SESSION ROLE platform_admin".to_owned(),
        "SET role TO platform_admin".to_owned(),
        "SET \"role\" TO platform_admin".to_owned(),
        "SELECT set_config('role', 'platform_admin', false)".to_owned(),
        "SET SESSION AUTHORIZATION platform_admin".to_owned(),
        "SET SESSION AUTHORIZATION DEFAULT".to_owned(),
        "RESET ROLE".to_owned(),
        "SET session_authorization = 'platform_admin'".to_owned(),
        "SET row_security = off".to_owned(),
        "SET search_path = app, hidden".to_owned(),
        "SET search_path = ''".to_owned(),
        "SET LOCAL search_path = hidden".to_owned(),
        "SET SCHEMA 'hidden'".to_owned(),
        "SET search_path FROM CURRENT".to_owned(),
        "SELECT set_config('search_path', 'hidden', false)".to_owned(),
        format!("PREPARE p AS SELECT set_config('request.jwt.claims', '{FOREIGN}', false)"),
        "EXECUTE p".to_owned(),
        format!("BEGIN; SELECT 1; SET LOCAL request.jwt.claims = '{FOREIGN}'; COMMIT"),
        "BEGIN; RESET ALL; ROLLBACK".to_owned(),
        "BEGIN; RESET ALL; COMMIT".to_owned(),
        "BEGIN; SAVEPOINT a; RESET ALL; ROLLBACK TO a; COMMIT".to_owned(),
        "SELECT 1; RESET ALL; SELECT count(*) FROM leads".to_owned(),
        "SELECT 1; DISCARD ALL".to_owned(),
    ];
    for attack in &attacks {
        let mut client = session(&arena.plain(), Tenant::A);
        let before = claims(&mut client);
        client.query(attack);
        if client.query("SELECT 1").code() == "25P02" {
            client.query("ROLLBACK").ok();
        }
        client.query("COMMIT");
        still_a(&mut client, attack);
        assert_eq!(claims(&mut client), before, "{attack}");
        client.extended(attack, &[]);
        client.query("ROLLBACK");
        still_a(&mut client, attack);
        assert_eq!(claims(&mut client), before, "{attack}");
    }
}

#[test]
fn f2_claims_hold_within_and_after_transactions() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    for steps in [
        &["BEGIN", "RESET ALL", "CHECK", "ROLLBACK", "CHECK"][..],
        &[
            "BEGIN",
            "SAVEPOINT s",
            "RESET ALL",
            "CHECK",
            "ROLLBACK TO s",
            "CHECK",
            "COMMIT",
            "CHECK",
        ],
        &[
            "BEGIN",
            "RESET ALL",
            "CHECK",
            "SAVEPOINT s",
            "FAIL",
            "ROLLBACK TO s",
            "CHECK",
            "COMMIT",
            "CHECK",
        ],
        &["RESET ALL", "BEGIN", "CHECK", "ROLLBACK", "CHECK"],
        &["BEGIN", "FAIL", "ROLLBACK", "CHECK"],
        &["RESET ALL", "BEGIN", "FAIL", "ROLLBACK", "CHECK"],
        &["BEGIN", "RESET ALL", "FAIL", "COMMIT", "CHECK"],
        &["DISCARD ALL", "CHECK", "BEGIN", "COMMIT", "CHECK"],
        &["BEGIN", "DISCARD ALL", "ROLLBACK", "CHECK"],
        &[
            "BEGIN",
            "RESET ALL",
            "COMMIT AND CHAIN",
            "CHECK",
            "ROLLBACK AND CHAIN",
            "CHECK",
            "ROLLBACK",
            "CHECK",
        ],
        &["RESET ALL", "FAIL", "CHECK"],
        &["RESET ALL", "SYNTAX", "CHECK"],
        &["RESET ALL", "DENIED", "CHECK"],
    ] {
        for step in steps {
            match *step {
                "CHECK" => still_a(&mut client, &format!("{steps:?}")),
                "FAIL" => assert_eq!(client.query("SELECT 1/0").code(), "22012"),
                "SYNTAX" => assert_eq!(client.query("SELEC").code(), "42601"),
                "DENIED" => assert_eq!(client.query("TRUNCATE leads").code(), "0A000"),
                sql => {
                    client.query(sql);
                }
            }
        }
    }
}

#[test]
fn f2_claims_in_one_pipeline_with_reset_all() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let frames = Frames::new()
        .run("RESET ALL", &[])
        .run("SELECT count(*) FROM leads", &[])
        .sync()
        .run("SELECT count(*) FROM leads", &[])
        .sync()
        .query(SHOW);
    frames.exchange(&mut client);
    still_a(&mut client, "pipeline with RESET ALL");
    let frames = Frames::new()
        .run("RESET ALL", &[])
        .run("SELECT 1/0", &[])
        .run(SHOW, &[])
        .sync()
        .query(SHOW);
    frames.exchange(&mut client);
    still_a(&mut client, "pipeline with RESET ALL that failed");
    let frames = Frames::new()
        .run("BEGIN", &[])
        .run("RESET ALL", &[])
        .run(SHOW, &[])
        .run("ROLLBACK", &[])
        .run(SHOW, &[])
        .sync();
    for message in frames
        .exchange(&mut client)
        .iter()
        .filter(|message| message.tag == b'D')
    {
        let text = String::from_utf8_lossy(&message.body).into_owned();
        assert!(
            text.contains(Tenant::A.org()),
            "the claims were lost in between: {text}"
        );
    }
    still_a(&mut client, "pipeline with RESET ALL rolled back");
}

#[test]
fn f1_start_up_parameters_do_not_change_who_it_is() {
    let arena = Arena::take();
    let foreign_option = format!("-c request.jwt.claims={}", FOREIGN.replace(' ', "\\ "));
    let attacks: Vec<(&str, &str)> = vec![
        ("request.jwt.claims", FOREIGN),
        ("Request.JWT.claims", FOREIGN),
        ("options", &foreign_option),
        ("options", "-crequest.jwt.claims={}"),
        ("options", "--request.jwt.claims={}"),
        ("options", "--request.jwt-claims={}"),
        ("options", "-c role=platform_admin"),
        ("options", "-c session_authorization=platform_admin"),
        ("options", "-c search_path=hidden"),
        ("options", "--search-path=hidden"),
        ("options", "--search_path=hidden,app"),
        ("options", "-c row_security=off"),
        ("options", "-e -c statement_timeout=5s"),
        ("options", "-O -P"),
        ("options", "-c statement_timeout=5s -c search_path=hidden"),
        ("options", "-c\\ search_path=hidden"),
        (
            "options",
            "-c statement_timeout=5s\\ -c\\ role=platform_admin",
        ),
        ("role", "platform_admin"),
        ("ROLE", "platform_admin"),
        ("session_authorization", "platform_admin"),
        ("is_superuser", "on"),
        ("search_path", "hidden"),
        ("search_path", "app, public"),
        ("search_path", "pg_temp, public"),
        ("Search_Path", "hidden"),
        ("row_security", "off"),
        ("default_transaction_isolation", "serializable"),
        ("session_preload_libraries", "auto_explain"),
        ("local_preload_libraries", "auto_explain"),
        ("org_id", Tenant::B.org()),
        ("app_metadata.org_id", Tenant::B.org()),
        ("tenant", Tenant::B.org()),
        ("application_name", Tenant::B.org()),
        ("pgwarden.token", "x"),
        ("_pq_.protocol_managed_params", "x"),
        ("user", "postgres"),
    ];
    for (name, value) in attacks {
        match connect(&arena.plain(), &token(Tenant::A), &[(name, value)]) {
            Ok(mut client) => {
                client.forbid(Tenant::A.markers());
                still_a(&mut client, &format!("{name}={value}"));
            }
            Err(error) => assert!(
                ["42501", "08P01", "28000", "28P01", "0A000", "22023"].contains(&error.code()),
                "{name}={value}: {error:?}"
            ),
        }
    }
}

#[test]
fn f1_drivers_start_up_parameters_work() {
    let arena = Arena::take();
    for (name, value) in [
        ("application_name", "psql"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("datestyle", "ISO"),
        ("TimeZone", "Europe/Berlin"),
        ("extra_float_digits", "3"),
        ("statement_timeout", "5000"),
        ("options", "-c statement_timeout=5000"),
        ("options", "-c statement_timeout=5s -c application_name=x"),
        ("client_min_messages", "warning"),
    ] {
        let mut client = connect(&arena.plain(), &token(Tenant::A), &[(name, value)])
            .unwrap_or_else(|error| panic!("{name}={value}: {error:?}"));
        still_a(&mut client, name);
        if name != "options" && name != "client_encoding" && !name.eq_ignore_ascii_case("datestyle")
        {
            let shown = client.query(&format!("SHOW {name}")).ok().value().unwrap();
            assert!(
                shown == value || shown.trim_end_matches('s') == "5",
                "{name}: {shown}"
            );
        }
    }
}

#[test]
fn f1_of_several_values_the_one_that_wins_is_judged() {
    let arena = Arena::take();
    let settings = |switch, parameter| {
        connect(
            &arena.plain(),
            &token(Tenant::A),
            &[("options", switch), ("client_encoding", parameter)],
        )
    };
    let mut client = settings("-c Client_Encoding=LATIN1 --client-encoding=SJIS", "UTF8").unwrap();
    still_a(&mut client, "a switch that the parameter overrides");
    assert_eq!(client.parameter("client_encoding"), Some("UTF8"));
    let refused = settings("-c client_encoding=UTF8", "LATIN1").unwrap_err();
    assert_eq!(refused.code(), "0A000");
    let twice = [("options", "-c role=platform_admin -c ROLE=none")];
    let refused = connect(&arena.plain(), &token(Tenant::A), &twice).unwrap_err();
    assert_eq!(refused.code(), "42501");
}

#[test]
fn f1_the_user_name_chooses_nothing() {
    let arena = Arena::take();
    for user in [
        "postgres",
        "platform_admin",
        Tenant::B.org(),
        "b",
        "pgwarden_app",
    ] {
        let mut client = Client::connect(
            pgwarden_tests::proxy::address(),
            user,
            &arena.plain(),
            &[],
            Some(&token(Tenant::A)),
        )
        .unwrap();
        still_a(&mut client, user);
    }
}

#[test]
fn f3_bad_tokens_get_one_wording() {
    let arena = Arena::take();
    let good = token(Tenant::A);
    let mut parts = good.split('.');
    let (header, payload, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let expired = sign(&json!({"exp": now() - 3600, "app_metadata": {"org_id": Tenant::A.org()}}));
    let bad = [
        String::new(),
        "x".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!(
            "{header}.{payload}.{}",
            signature.chars().rev().collect::<String>()
        ),
        format!("eyJhbGciOiJub25lIn0.{payload}."),
        format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"),
        sign(&json!({"app_metadata": {"org_id": Tenant::A.org()}})),
        expired,
        format!("{good} "),
        "x".repeat(100_000),
    ];
    let mut wordings = std::collections::BTreeSet::new();
    for token in &bad {
        let error = connect(&arena.plain(), token, &[]).expect_err("a bad token is refused");
        let short: String = token.chars().take(60).collect();
        if token.len() < 60_000 {
            assert_eq!(
                (error.field(b'S'), error.code()),
                ("FATAL", "28P01"),
                "{short}: {error:?}"
            );
            wordings.insert(error.message().to_owned());
            assert_eq!(error.field(b'D'), "", "{short}: no detail");
        }
    }
    assert_eq!(wordings.len(), 1, "{wordings:?}");
}

#[test]
fn f3_good_token_without_tenant() {
    let arena = Arena::take();
    for claims in [
        json!({"exp": now() + 600, "sub": Tenant::A.user()}),
        json!({"exp": now() + 600, "app_metadata": {}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": null}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": [Tenant::A.org()]}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": 1}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": "b"}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": ""}}),
        json!({"exp": now() + 600, "user_metadata": {"org_id": Tenant::A.org()}}),
        json!({"exp": now() + 600, "org_id": Tenant::A.org()}),
    ] {
        let error =
            connect(&arena.plain(), &sign(&claims), &[]).expect_err("no tenant, no session");
        assert!(
            ["28000", "28P01"].contains(&error.code()),
            "{claims}: {error:?}"
        );
    }
}

#[test]
fn f3_token_without_the_users_claim_can_use_what_needs_none() {
    let arena = Arena::take();
    let claims = json!({"exp": now() + 600, "app_metadata": {"org_id": Tenant::A.org()}});
    let mut client = connect(&arena.plain(), &sign(&claims), &[]).unwrap();
    client.forbid(Tenant::A.markers());
    assert_eq!(
        client
            .query("SELECT count(*) FROM leads")
            .ok()
            .value()
            .as_deref(),
        Some("60")
    );
    assert_eq!(
        client.query("SELECT * FROM user_credits").denied(),
        Some("missing_claim")
    );
}

#[test]
fn f5_unknown_database() {
    let error = connect("nosuch", &token(Tenant::A), &[]).expect_err("there is none");
    assert_eq!(error.code(), "3D000", "{error:?}");
    let error = connect("nosuch", "bad", &[]).expect_err("and nobody learns it without a token");
    assert_eq!(error.code(), "28P01", "{error:?}");
}

#[test]
fn f5_token_that_expires_under_an_open_session() {
    let arena = Arena::take();
    // Within the leeway of 30 s it is still good; afterwards the next statement is refused.
    let claims = json!({"exp": now() - 27, "sub": Tenant::A.user(), "app_metadata": {"org_id": Tenant::A.org()}});
    let mut client = connect(&arena.plain(), &sign(&claims), &[]).expect("still within the leeway");
    std::thread::sleep(std::time::Duration::from_secs(5));
    let reply = client.query("SELECT count(*) FROM leads");
    assert!(["28000", "57P01", ""].contains(&reply.code()), "{reply:?}");
    assert!(reply.results.is_empty(), "{reply:?}");
}

#[test]
fn f_break_glass_passes_all_but_the_identity_guards() {
    let arena = Arena::take();
    let mut client = connect(&arena.plain(), &admin_token(), &[]).unwrap();
    assert_eq!(
        client
            .query("SELECT count(*) FROM leads")
            .ok()
            .value()
            .as_deref(),
        Some("120")
    );
    assert_eq!(
        client.query("SELECT current_user").ok().value().as_deref(),
        Some("platform_admin")
    );
    client.query("SELECT pg_sleep(0)").ok();
    client.query("LISTEN x").ok();
    client.query("NOTIFY x, 'y'").ok();
    // As asyncpg does before and after it looks types up.
    let jit = "SELECT current_setting('jit') AS cur, set_config('jit', $1, false) AS new";
    client.extended(jit, &[Some("off")]).ok();
    let shown = client.query("SHOW jit").ok();
    assert_eq!(shown.value().as_deref(), Some("off"));
    for (sql, reason) in [
        ("SET client_encoding = 'LATIN1'", "unsupported_construct"),
        (
            "SET standard_conforming_strings = off",
            "unsupported_construct",
        ),
        (
            "SELECT set_config('client_encoding', 'SJIS', false)",
            "unsupported_construct",
        ),
        (
            "SELECT set_config('jit', set_config('role', 'x', false), false)",
            "identity_guard",
        ),
        (
            "SELECT 1 WHERE set_config('jit', 'on', false) = 'on'",
            "identity_guard",
        ),
    ] {
        assert_eq!(client.query(sql).denied(), Some(reason), "{sql}");
    }
    for sql in [
        format!("SET request.jwt.claims = '{FOREIGN}'"),
        format!("SELECT set_config('request.jwt.claims', '{FOREIGN}', false)"),
        "RESET ROLE".to_owned(),
        "SET ROLE postgres".to_owned(),
        "SET SESSION AUTHORIZATION postgres".to_owned(),
    ] {
        assert_eq!(client.query(&sql).denied(), Some("identity_guard"), "{sql}");
    }
    client.query("RESET ALL").ok();
    assert!(claims(&mut client).contains(Tenant::A.org()));
    assert_eq!(
        client.query("SELECT current_user").ok().value().as_deref(),
        Some("platform_admin")
    );
}

#[test]
fn h_nothing_is_left_for_the_next_session() {
    let arena = Arena::take();
    let mut a = session(&arena.plain(), Tenant::A);
    let pid = a.key.0;
    a.query("SET statement_timeout = 4321").ok();
    a.query("SET TIME ZONE 'Asia/Tokyo'").ok();
    a.query("SET search_path = app");
    Frames::new()
        .parse("left", "SELECT full_name FROM leads")
        .sync()
        .exchange(&mut a);
    a.query("BEGIN").ok();
    a.query("UPDATE public.notes SET txt = 'uncommitted'").ok();
    drop(a);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut reused = false;
    for _ in 0..3 {
        let mut b = session(&arena.plain(), Tenant::B);
        reused |= b.key.0 == pid;
        assert!(claims(&mut b).contains(Tenant::B.org()));
        assert_eq!(
            b.query("SELECT count(DISTINCT org_id), min(org_id::text) FROM leads")
                .ok()
                .value()
                .as_deref(),
            Some("1")
        );
        assert_eq!(
            b.query("SELECT min(org_id::text) FROM leads")
                .ok()
                .value()
                .as_deref(),
            Some(Tenant::B.org())
        );
        assert_eq!(
            b.query("SHOW statement_timeout").ok().value().as_deref(),
            Some("0")
        );
        assert_ne!(
            b.query("SHOW TimeZone").ok().value().as_deref(),
            Some("Asia/Tokyo")
        );
        let messages = Frames::new()
            .bind("", "left", &[])
            .execute("", 0)
            .sync()
            .exchange(&mut b);
        assert_eq!(messages[0].error().code(), "26000");
        let mut a = session(&arena.plain(), Tenant::A);
        reused |= a.key.0 == pid;
        assert_eq!(
            a.query("SELECT txt FROM notes WHERE id = 1")
                .ok()
                .value()
                .as_deref(),
            Some("n1")
        );
    }
    println!("server connection reused: {reused}");
}

#[test]
fn h_sessions_of_two_tenants_side_by_side() {
    let arena = Arena::take();
    let mut a = session(&arena.plain(), Tenant::A);
    let mut b = session(&arena.plain(), Tenant::B);
    for round in 0..20 {
        // The same text and shape, with other literals: a shared plan must not carry a tenant over.
        let sql = format!(
            "SELECT count(*), min(org_id::text), {round} FROM leads WHERE score IS NOT NULL OR score = {round}"
        );
        let (from_a, from_b) = (a.query(&sql).ok(), b.query(&sql).ok());
        let org = |reply: &pgwarden_tests::wire::Reply| {
            String::from_utf8(reply.results[0].rows[0][1].clone().unwrap()).unwrap()
        };
        assert_eq!(
            (org(&from_a).as_str(), org(&from_b).as_str()),
            (Tenant::A.org(), Tenant::B.org())
        );
        let (from_a, from_b) = (a.extended(&sql, &[]).ok(), b.extended(&sql, &[]).ok());
        assert_eq!(
            (org(&from_a).as_str(), org(&from_b).as_str()),
            (Tenant::A.org(), Tenant::B.org())
        );
    }
}
