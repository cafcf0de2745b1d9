//! THREATS C3: names mean what the session's search_path really says, however it was changed and
//! undone, in both protocols.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use pgwarden_tests::fixture::{Arena, ROLE, Tenant};
use pgwarden_tests::proxy::session;
use pgwarden_tests::watched::{OFTEN, POLICY, World, ask, until};
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

/// A database where the path leads to more than `public`.
fn wider(more: &str) -> World {
    let policy = POLICY.replace(
        "discover = [\"public\", \"app\"]",
        "discover = [\"public\", \"later\"]",
    );
    let policy = format!("{policy}\n[settings]\nallow = [\"search_path\"]\n");
    World::prepared(OFTEN, &policy, more)
}

const PLACES: &str = "SELECT name FROM places";

#[test]
fn c3_the_schema_that_is_called_like_the_role() {
    let mut world = wider(&format!(
        "CREATE SCHEMA {ROLE}; CREATE TABLE {ROLE}.places (id int, name text);
         INSERT INTO {ROLE}.places VALUES (1, 'at home')"
    ));
    let mut client = world.session();
    // Without USAGE the server looks further, and so does the proxy.
    assert_eq!(ask(&mut client, PLACES), "harbour");
    world.ddl(&format!(
        "GRANT USAGE ON SCHEMA {ROLE} TO {ROLE}; GRANT ALL ON {ROLE}.places TO {ROLE}"
    ));
    until(|| ask(&mut client, PLACES), |it| it == "at home");
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    world.ddl(&format!("REVOKE USAGE ON SCHEMA {ROLE} FROM {ROLE}"));
    until(|| ask(&mut client, PLACES), |it| it == "harbour");
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
}

#[test]
fn c3_a_schema_that_is_made_later() {
    let mut world = wider("");
    let mut client = world.session();
    assert_eq!(
        ask(&mut client, "SET search_path = later, missing, public"),
        ""
    );
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    world.ddl(&format!(
        "CREATE SCHEMA later; GRANT USAGE ON SCHEMA later TO PUBLIC;
         CREATE TABLE later.leads (org_id uuid, note text);
         INSERT INTO later.leads VALUES ('{}', 'later'), ('{}', 'b-secret');
         CREATE TABLE later.places (id int, org_id uuid, name text);
         INSERT INTO later.places VALUES (1, '{}', 'b-secret');
         GRANT ALL ON ALL TABLES IN SCHEMA later TO PUBLIC",
        Tenant::A.org(),
        Tenant::B.org(),
        Tenant::B.org()
    ));
    // What was scoped is named with its schema until the new one is known, and guarded then.
    let seen = |it: &String| it == "later";
    until(
        || ask(&mut client, "SELECT string_agg(note, ',') FROM leads"),
        seen,
    );
    until(
        || ask(&mut client, "SELECT count(*) FROM places"),
        |it| it == "0",
    );
    world.ddl("DROP SCHEMA later CASCADE");
    until(
        || ask(&mut client, "SELECT string_agg(note, ',') FROM leads"),
        |it| it == "a",
    );
}

#[test]
fn c3_the_temporary_schema_in_the_path() {
    let world = wider("");
    for (path, expected) in [
        ("public", "temporary"),
        ("public, pg_temp", "harbour"),
        ("pg_temp, public", "temporary"),
        ("\"$user\", public", "temporary"),
    ] {
        let mut client = world.session();
        assert_eq!(ask(&mut client, "CREATE TEMP TABLE places (name text)"), "");
        assert_eq!(
            ask(
                &mut client,
                "INSERT INTO pg_temp.places VALUES ('temporary')"
            ),
            ""
        );
        let set = ask(&mut client, &format!("SET search_path = {path}"));
        // A path that names the temporary schema may be refused, never misread.
        let expected = if set.is_empty() {
            expected
        } else {
            "temporary"
        };
        assert_eq!(ask(&mut client, PLACES), expected, "{path}: {set}");
    }
}
