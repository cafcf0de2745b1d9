//! Claims in transaction mode: whose they are when a server connection goes from one tenant to the
//! next, whatever became of the statement that they were sent with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicBool, Ordering};

use pgwarden_tests::fixture::{ROLE, Tenant, server};
use pgwarden_tests::frames::{Frames, shown};
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{
    Client, Reply, bind_body, cancel, execute_body, frame, parse_body, tags,
};
use serde_json::json;

/// A policy under which the tokens of auditors run as another server role.
const AUDITOR: &str = "\n[[role]]\nname = \"auditor\"\nset_role = \"platform_admin\"\n";

fn token_of(tenant: Tenant, role: &str) -> String {
    proxy::sign(&json!({
        "exp": proxy::now() + 3600,
        "role": role,
        "sub": tenant.user(),
        "app_metadata": {"org_id": tenant.org()},
    }))
}

#[test]
fn h_a_role_does_not_stay_for_the_next_session() {
    let policy = [include_str!("../fixtures/policy.toml"), AUDITOR].concat();
    let pooled = Pooled::under(proxy::policy_of(&policy), 1, |_| {});
    let mut auditor = pooled.session_of(&token_of(Tenant::A, "auditor"), &[]);
    let mut plain = pooled.session(Tenant::B);
    let role = "SELECT current_user";
    for _ in 0..3 {
        assert_eq!(value(&mut auditor, role), "platform_admin");
        assert_eq!(value(&mut plain, role), ROLE);
        assert_eq!(value(&mut auditor, "SELECT count(*) > 0 FROM leads"), "t");
        assert_eq!(value(&mut plain, "SELECT count(*) > 0 FROM leads"), "t");
        assert_eq!(value(&mut plain, role), ROLE);
        assert_eq!(value(&mut auditor, "SELECT 1"), "1");
        assert_eq!(value(&mut plain, role), ROLE);
    }
}

/// Messages that neither run nor prepare anything, and leave a pipeline open.
fn openers() -> Vec<Frames> {
    vec![
        Frames::new().target(b'C', b'P', ""),
        Frames::new().target(b'C', b'P', "nosuch"),
        Frames::new().target(b'C', b'S', ""),
        Frames::new().target(b'C', b'S', "nosuch").raw(b'H', &[]),
        Frames::new()
            .target(b'D', b'P', "nosuch")
            .sync()
            .target(b'C', b'P', ""),
    ]
}

#[test]
fn h_a_pipeline_that_begins_with_a_close_runs_under_its_own_setup() {
    let policy = [include_str!("../fixtures/policy.toml"), AUDITOR].concat();
    let pooled = Pooled::under(proxy::policy_of(&policy), 1, |_| {});
    let mut auditor = pooled.session_of(&token_of(Tenant::A, "auditor"), &[]);
    let mut plain = pooled.session(Tenant::B);
    let mut own = pooled.session(Tenant::B);
    assert_eq!(own.query("SET TimeZone = 'Asia/Tokyo'").code(), "");
    let asked = "SELECT current_user, current_setting('TimeZone')";
    let zone = value(&mut plain, "SHOW TimeZone");
    for opener in openers() {
        let ways = [
            Frames::new().query(asked),
            Frames::new().run(asked, &[]).sync(),
        ];
        for way in ways {
            let says = |client: &mut Client, wanted: &[&str]| {
                let answers = told(client, &opener.clone().and(&way));
                let row = answers
                    .iter()
                    .find(|line| wanted.iter().all(|it| line.contains(it)));
                assert!(row.is_some(), "{wanted:?}: {answers:?}");
            };
            assert_eq!(auditor.query("SET TimeZone = 'America/Lima'").code(), "");
            says(&mut plain, &[ROLE, &zone]);
            says(&mut own, &[ROLE, "Asia/Tokyo"]);
            says(&mut auditor, &["platform_admin", "America/Lima"]);
            says(&mut plain, &[ROLE, &zone]);
        }
    }
}

#[test]
fn a_temporary_table_made_behind_a_close_stays() {
    for opener in openers() {
        let (_pooled, mut a, mut b) = alternating();
        assert_eq!(b.query("SET TimeZone = 'Asia/Tokyo'").code(), "");
        let make = "CREATE TEMP TABLE tt (a int)";
        let frames = opener.query(make).query(make);
        let answers = told(&mut a, &frames);
        assert!(answers.iter().any(|it| it.contains("42P07")), "{answers:?}");
        assert_eq!(value(&mut a, "SELECT count(*) FROM tt"), "0");
    }
}

const CLAIMED: &str = "SELECT current_setting('request.jwt.claims')::json ->> 'sub'";

/// What a tenant asks after another has had the only server connection.
fn alternating() -> (Pooled, Client, Client) {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    // Each knows its path then, and the connection is b's.
    assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
    assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
    (pooled, a, b)
}

fn first_value(reply: &Reply) -> String {
    assert_eq!(reply.code(), "", "{reply:?}");
    reply.value().expect("a value")
}

#[test]
fn h_claims_are_not_those_before_a_failed_statement() {
    let (_pooled, mut a, mut b) = alternating();
    for sql in [
        "SELECT 1/0",
        "SELECT nobody",
        "SELEC",
        "INSERT INTO leads SELECT 1/0",
        "TABLE pg_authid",
    ] {
        for extended in [false, true] {
            let reply = match extended {
                true => a.extended(sql, &[]),
                false => a.query(sql),
            };
            assert_ne!(reply.code(), "", "{sql}");
            assert_eq!(value(&mut a, CLAIMED), Tenant::A.user(), "{sql}");
            assert_eq!(value(&mut b, CLAIMED), Tenant::B.user(), "{sql}");
            assert_eq!(
                first_value(&a.extended(CLAIMED, &[])),
                Tenant::A.user(),
                "{sql}"
            );
            assert_eq!(
                first_value(&b.extended(CLAIMED, &[])),
                Tenant::B.user(),
                "{sql}"
            );
        }
    }
}

#[test]
fn h_what_is_sent_behind_a_failing_statement_waits_for_its_claims() {
    let (_pooled, mut a, mut b) = alternating();
    let query = |sql: &str| frame(b'Q', format!("{sql}\0").as_bytes());
    let extended = |sql: &str| {
        [
            frame(b'P', &parse_body("", sql, &[])),
            frame(b'B', &bind_body("", "", &[], &[], &[])),
            frame(b'E', &execute_body("", 0)),
            frame(b'S', b""),
        ]
        .concat()
    };
    for (first, second) in [(false, false), (false, true), (true, false), (true, true)] {
        let form = |it, sql| if it { extended(sql) } else { query(sql) };
        for fails in [
            "SELECT 1/0",
            "SELECT 1",
            "TABLE pg_authid",
            "BEGIN; ROLLBACK",
            "COMMIT",
        ] {
            assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
            a.send_bytes(
                &[
                    form(first, fails),
                    form(second, CLAIMED),
                    form(second, CLAIMED),
                ]
                .concat(),
            );
            let _ = a.reply();
            assert_eq!(first_value(&a.reply()), Tenant::A.user(), "{fails}");
            assert_eq!(first_value(&a.reply()), Tenant::A.user(), "{fails}");
        }
    }
}

#[test]
fn h_a_transaction_ends_what_was_set_in_it() {
    let (_pooled, mut a, mut b) = alternating();
    let parts = |sqls: &[&str]| {
        let mut bytes = Vec::new();
        for sql in sqls {
            bytes.extend(frame(b'P', &parse_body("", sql, &[])));
            bytes.extend(frame(b'B', &bind_body("", "", &[], &[], &[])));
            bytes.extend(frame(b'E', &execute_body("", 0)));
        }
        bytes.extend(frame(b'S', b""));
        bytes
    };
    let rows = |client: &mut Client| {
        let messages = client.messages();
        let rows = messages.iter().filter(|it| it.tag == b'D');
        rows.map(|it| String::from_utf8_lossy(&it.body[6..]).into_owned())
            .collect::<Vec<_>>()
    };
    for (pipeline, shown) in [
        (vec![CLAIMED, "ROLLBACK", CLAIMED], 2),
        (vec![CLAIMED, "COMMIT", CLAIMED], 2),
        (vec![CLAIMED, "BEGIN", CLAIMED, "ROLLBACK", CLAIMED], 3),
        (vec!["BEGIN", CLAIMED, "ROLLBACK", CLAIMED], 2),
        (vec![CLAIMED, "SELECT 1/0", CLAIMED], 1),
    ] {
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        a.send_bytes(&parts(&pipeline));
        assert_eq!(rows(&mut a), vec![Tenant::A.user(); shown], "{pipeline:?}");
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user(), "{pipeline:?}");
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user(), "{pipeline:?}");
    }
    for end in ["COMMIT", "ROLLBACK"] {
        a.query("BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY").ok();
        assert_eq!(value(&mut a, "SHOW transaction_isolation"), "serializable");
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
        a.query(end).ok();
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        b.query("BEGIN").ok();
        assert_eq!(b.query("SELECT 1/0").code(), "22012");
        b.query(end).ok();
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
    }
}

/// The messages that answer a Query, without what names a process.
fn answers(client: &mut Client, sql: &str) -> Vec<(u8, Vec<u8>)> {
    client.send_query(sql);
    let messages = client.messages();
    messages.into_iter().map(|it| (it.tag, it.body)).collect()
}

#[test]
fn a_query_is_answered_as_the_server_answers_a_query() {
    let (pooled, mut a, mut b) = alternating();
    // Before 14 DISCARD ALL tells who one is.
    let arena = pooled.arena().plain();
    let direct = Client::connect(server().address(), ROLE, &arena, &[], None);
    let mut direct = direct.expect("the server answers");
    for sql in [
        "SELECT 1",
        "SELECT 1 AS a, 'b'::text, NULL, now() - now(), ARRAY[1, 2], '\\x01'::bytea -- comment",
        "/* before */ SELECT 1;",
        "SELECT",
        "SELECT 1 WHERE false",
        "VALUES (1, 'a'), (2, NULL)",
        "SELECT generate_series(1, 300), repeat('x', 100)",
        "WITH a AS (SELECT 1 AS n) SELECT n FROM a",
        "SELECT 1/0",
        "SELECT 1 + 'a'",
        "SELECT $1",
        "SELECT 1; SELECT 2",
        "SELECT 1; SELECT 1/0",
        "",
        ";",
        "SHOW transaction_isolation",
        "BEGIN; SELECT 1; COMMIT",
        "DISCARD ALL",
        "DEALLOCATE ALL",
    ] {
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        let wanted = answers(&mut direct, sql);
        assert_eq!(answers(&mut a, sql), wanted, "{sql}");
    }
    for sql in [
        "INSERT INTO leads (full_name) VALUES ('new')",
        "UPDATE leads SET full_name = 'other' WHERE full_name = 'new' RETURNING full_name",
        "DELETE FROM leads WHERE full_name = 'other'",
    ] {
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        let reply = a.query(sql).ok();
        assert!(
            reply.results[0].tag.as_ref().unwrap().ends_with('1'),
            "{reply:?}"
        );
    }
    pooled.arena().restore();
}

#[test]
fn a_query_drops_the_unnamed_statement() {
    let (_pooled, mut a, mut b) = alternating();
    a.send(b'P', &parse_body("", "SELECT 1", &[]));
    a.send(b'S', b"");
    assert_eq!(tags(&a.messages()), "1Z");
    assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
    assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
    a.send(b'B', &bind_body("", "", &[], &[], &[]));
    a.send(b'S', b"");
    let messages = a.messages();
    assert_eq!(messages[0].error().code(), "26000");
}

#[test]
fn h_a_cancel_may_hit_the_claims_and_ends_no_session() {
    let (pooled, mut a, mut b) = alternating();
    let over = AtomicBool::new(false);
    let (key, address) = (a.key.clone(), pooled.address());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                cancel(address, &key);
            }
        });
        let _over = Sets(&over);
        for round in 0..300 {
            let reply = match round % 3 {
                0 => a.query(CLAIMED),
                1 => a.extended(CLAIMED, &[]),
                _ => {
                    let begun = a.query("BEGIN");
                    assert!(["", "57014"].contains(&begun.code()), "{begun:?}");
                    let reply = a.query(CLAIMED);
                    let ended = a.query("ROLLBACK");
                    assert!(["", "57014"].contains(&ended.code()), "{ended:?}");
                    reply
                }
            };
            match reply.code() {
                "" => assert_eq!(first_value(&reply), Tenant::A.user()),
                // It has met the claims inside the transaction, which is at its end then.
                "25P02" => assert_eq!(round % 3, 2, "{reply:?}"),
                code => assert_eq!(code, "57014", "{reply:?}"),
            }
            while let status = a.query("ROLLBACK").status
                && status != b'I'
            {
                assert_ne!(status, 0, "the session has ended");
            }
            assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        }
    });
    assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
}

/// Sets a flag at the end, also at that of a failed test.
struct Sets<'a>(&'a AtomicBool);

impl Drop for Sets<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn h_settings_in_common_stay_and_others_do_not() {
    let pooled = Pooled::new(1);
    let one = |tenant| pooled.session_of(&proxy::token(tenant), &[("application_name", "one")]);
    let mut a = one(Tenant::A);
    let mut b = one(Tenant::B);
    let mut other = pooled.session(Tenant::B);
    let named = "SELECT current_setting('application_name') || (current_setting('request.jwt.claims')::json ->> 'sub')";
    for _ in 0..3 {
        assert_eq!(value(&mut a, named), format!("one{}", Tenant::A.user()));
        assert_eq!(value(&mut b, named), format!("one{}", Tenant::B.user()));
        assert_eq!(value(&mut a, named), format!("one{}", Tenant::A.user()));
        assert_eq!(value(&mut other, named), Tenant::B.user());
        b.query("SET application_name = 'two'").ok();
        assert_eq!(value(&mut a, named), format!("one{}", Tenant::A.user()));
        assert_eq!(value(&mut b, named), format!("two{}", Tenant::B.user()));
        b.query("RESET application_name").ok();
    }
}

/// What a tenant is told, as text, for messages that are sent at once.
fn told(client: &mut Client, frames: &Frames) -> Vec<String> {
    shown(&frames.exchange(client))
}

#[test]
fn a_query_behind_a_pipeline_without_its_sync_runs_under_the_same_claims() {
    let (_pooled, mut a, mut b) = alternating();
    let open = || Frames::new().run("SELECT count(*) > 0 FROM leads", &[]);
    let behind = [
        "SELEC",
        "TABLE pg_authid",
        CLAIMED,
        "SELECT id FROM leads WHERE false",
        "UPDATE leads SET score = score WHERE false",
        "COPY (SELECT 1) TO STDOUT",
        "SHOW work_mem",
        "BEGIN; COMMIT",
        "EXECUTE nosuch",
        "SELECT 1/0",
    ];
    let ways = [
        Frames::new().query(CLAIMED),
        Frames::new().run(CLAIMED, &[]).sync(),
    ];
    for (sql, way) in behind
        .iter()
        .flat_map(|sql| ways.iter().map(move |way| (sql, way)))
    {
        let answers = told(&mut a, &open().query(sql).and(way));
        let own = |user: &str| answers.iter().any(|line| line.contains(user));
        assert!(!own(Tenant::B.user()), "{sql}: {answers:?}");
        assert!(own(Tenant::A.user()), "{sql}: {answers:?}");
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user(), "{sql}");
    }
}

#[test]
fn a_connection_that_skips_up_to_a_sync_goes_to_nobody_else() {
    let (_pooled, mut a, mut b) = alternating();
    // The Query is sent before the error of the Bind has come: it is skipped as all else up to the Sync.
    let failing = Frames::new()
        .parse("", "SELECT $1::int, count(*) FROM leads")
        .bind("", "", &["no number"])
        .query("SELECT 1");
    for _ in 0..3 {
        a.send_bytes(failing.bytes());
        let error = a.read().and_then(|_| a.read()).expect("an error").error();
        assert_eq!(error.code(), "22P02");
        std::thread::scope(|scope| {
            let other = scope.spawn(|| value(&mut b, CLAIMED));
            let end = Frames::new().sync().query(CLAIMED);
            let answers = told(&mut a, &end);
            assert!(
                answers.iter().any(|it| it.contains(Tenant::A.user())),
                "{answers:?}"
            );
            assert_eq!(other.join().expect("an answer"), Tenant::B.user());
        });
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
    }
}
