//! THREATS C3: names mean what the session's search_path really says, however it was changed and
//! undone, in both protocols.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::proxy::session;
use pgwarden_tests::wire::{Client, Reply};

type Send = fn(&mut Client, &str) -> Reply;

const PROTOCOLS: [(&str, Send); 2] = [
    ("simple", |client, sql| client.query(sql)),
    ("extended", |client, sql| client.extended(sql, &[])),
];

/// Whether the bare name is found, by the proxy's own eyes and by the server's.
fn finds_leads(client: &mut Client, send: Send) -> bool {
    let path = send(client, "SHOW search_path").ok().value().unwrap();
    let reply = send(client, "SELECT count(*) FROM leads");
    let found = reply.denied().is_none();
    if found {
        assert_eq!(reply.ok().value().as_deref(), Some("60"), "{path}");
    }
    assert_eq!(found, path.contains("public"), "{path}");
    found
}

#[test]
fn c3_a_path_that_is_set_and_reset() {
    let arena = Arena::take();
    for (protocol, send) in PROTOCOLS {
        let mut client = session(&arena.plain(), Tenant::A);
        for (change, expected) in [
            ("SET search_path = pg_catalog", false),
            ("SET search_path TO public", true),
            (
                "SELECT set_config('search_path', 'pg_catalog', false)",
                false,
            ),
            ("SELECT set_config('search_path', 'public', false)", true),
            ("SET search_path = pg_catalog", false),
            ("RESET search_path", true),
            ("SET search_path = pg_catalog", false),
            ("RESET ALL", true),
            ("SET search_path = pg_catalog", false),
            ("DISCARD ALL", true),
        ] {
            send(&mut client, change).ok();
            let found = finds_leads(&mut client, send);
            assert_eq!(found, expected, "{protocol}: {change}");
        }
    }
}

#[test]
fn c3_a_path_of_a_transaction() {
    let arena = Arena::take();
    for (protocol, send) in PROTOCOLS {
        for change in [
            "SET LOCAL search_path = pg_catalog",
            "SELECT set_config('search_path', 'pg_catalog', true)",
        ] {
            for end in ["COMMIT", "ROLLBACK"] {
                let mut client = session(&arena.plain(), Tenant::A);
                send(&mut client, "BEGIN").ok();
                send(&mut client, change).ok();
                let reply = send(&mut client, "SELECT count(*) FROM leads");
                assert!(reply.denied().is_some(), "{protocol}: {change}");
                send(&mut client, end).ok();
                assert!(finds_leads(&mut client, send), "{protocol}: {change} {end}");
            }
        }
    }
}

#[test]
fn c3_a_path_that_a_rollback_undoes() {
    let arena = Arena::take();
    for (protocol, send) in PROTOCOLS {
        let mut client = session(&arena.plain(), Tenant::A);
        send(&mut client, "BEGIN").ok();
        send(&mut client, "SET search_path = pg_catalog").ok();
        send(&mut client, "ROLLBACK").ok();
        assert!(finds_leads(&mut client, send), "{protocol}: rollback");

        send(&mut client, "BEGIN").ok();
        send(&mut client, "SAVEPOINT a").ok();
        send(&mut client, "SET search_path = pg_catalog").ok();
        send(&mut client, "ROLLBACK TO a").ok();
        assert!(finds_leads(&mut client, send), "{protocol}: savepoint");
        send(&mut client, "COMMIT").ok();

        send(&mut client, "BEGIN").ok();
        send(&mut client, "SET search_path = pg_catalog").ok();
        assert_eq!(send(&mut client, "SELECT 1/0").code(), "22012");
        send(&mut client, "COMMIT").ok();
        assert!(finds_leads(&mut client, send), "{protocol}: failed");
    }
}
