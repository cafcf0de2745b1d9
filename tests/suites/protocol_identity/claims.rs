//! F1, F2: the claims are the token's, whatever is sent.

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::proxy::{admin_token, connect, session};

use super::{FOREIGN, SHOW, claims, still_a};

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
    // As pgjdbc does for the keys of a table.
    let keys = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'max_index_keys'";
    assert_eq!(client.query(keys).ok().value().as_deref(), Some("32"));
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
        format!("UPDATE pg_settings SET setting = '{FOREIGN}' WHERE name = 'request.jwt.claims'"),
        format!(
            "WITH s AS (UPDATE pg_settings SET setting = '{FOREIGN}' WHERE name = 'request.jwt.claims' RETURNING 1) \
             SELECT count(*) FROM s, pg_settings"
        ),
        "CREATE TEMP VIEW s AS SELECT * FROM pg_settings".to_owned(),
        "SELECT name FROM pg_settings WHERE name = set_config('role', 'postgres', false)".to_owned(),
        "SELECT query_to_xml('UPDATE pg_settings SET setting = 1', true, true, ''), name FROM pg_settings".to_owned(),
        "SELECT 'relname: \"pg_settings\"', name FROM pg_settings".to_owned(),
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
