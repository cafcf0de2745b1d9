//! Lasting DDL through the proxy, where the policy has `ddl = "unscoped"`: it works, and is known when it
//! has come into force.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, ROLE, Tenant, script, server, superuser};
use pgwarden_tests::proxy::{address_with, session_at};
use pgwarden_tests::wire::{Client, Reply};

type Send = fn(&mut Client, &str) -> Reply;

const PROTOCOLS: [Send; 2] = [
    |client, sql| client.query(sql),
    |client, sql| client.extended(sql, &[]),
];

#[test]
fn tables_of_no_tenant_are_made_changed_and_dropped() {
    let arena = Arena::take();
    let mut admin = superuser(server().address(), &arena.plain());
    script(&mut admin, &format!("GRANT CREATE ON SCHEMA app TO {ROLE}"));
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let mut client = session_at(address_with(&lines), &arena.plain(), Tenant::A);
    for send in PROTOCOLS {
        let client = &mut client;
        send(
            client,
            "CREATE TABLE app.stock (id int PRIMARY KEY, note text)",
        )
        .ok();
        // What was made is known to the next statement, without a pause.
        send(client, "INSERT INTO app.stock VALUES (1, 'x')").ok();
        send(
            client,
            "ALTER TABLE app.stock ADD COLUMN shelf text DEFAULT 'top'",
        )
        .ok();
        send(
            client,
            "CREATE INDEX stock_by_note ON app.stock (lower(note))",
        )
        .ok();
        let shelf = send(client, "SELECT shelf FROM app.stock").ok();
        assert_eq!(shelf.value().as_deref(), Some("top"));
        send(client, "TRUNCATE app.stock RESTART IDENTITY").ok();
        let left = send(client, "SELECT count(*) FROM app.stock").ok();
        assert_eq!(left.value().as_deref(), Some("0"));
        for denied in [
            "DROP TABLE public.leads",
            "TRUNCATE public.leads",
            "TRUNCATE app.stock, public.leads",
            "CREATE TABLE app.calls (id int)",
            "ALTER TABLE app.stock ADD COLUMN org_id uuid",
            "CREATE TABLE app.lead_copies AS SELECT * FROM public.leads",
        ] {
            assert!(send(client, denied).denied().is_some(), "{denied}");
        }
        send(client, "ALTER TABLE app.stock RENAME TO stock_of_old").ok();
        send(client, "DROP TABLE app.stock_of_old").ok();
        // The name is free again, for the next round, too.
        let gone = send(client, "SELECT FROM app.stock_of_old");
        assert_eq!(gone.denied(), Some("unknown_relation"));
        for sql in [
            "BEGIN",
            "CREATE TABLE app.stock (id int)",
            "COMMIT",
            "INSERT INTO app.stock VALUES (1)",
            "DROP TABLE app.stock",
        ] {
            send(client, sql).ok();
        }
    }
    script(
        &mut admin,
        &format!("REVOKE CREATE ON SCHEMA app FROM {ROLE}"),
    );
}

#[test]
fn what_one_connection_makes_another_knows() {
    let arena = Arena::take();
    let mut admin = superuser(server().address(), &arena.plain());
    script(&mut admin, &format!("GRANT CREATE ON SCHEMA app TO {ROLE}"));
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let address = address_with(&lines);
    let [mut one, mut other] = [0; 2].map(|_| session_at(address, &arena.plain(), Tenant::A));
    for send in PROTOCOLS {
        for (ty, value) in [("int", "7"), ("text", "seven"), ("date", "2026-07-07")] {
            send(&mut one, &format!("CREATE TABLE app.lots (v {ty})")).ok();
            // In transaction mode the server has prepared it for the table that was there before.
            other
                .extended("INSERT INTO app.lots VALUES ($1)", &[Some(value)])
                .ok();
            let found = send(&mut other, "SELECT v FROM app.lots").ok();
            assert_eq!(found.value().as_deref(), Some(value));
            send(&mut one, "DROP TABLE app.lots").ok();
            // The other knows that the name is free.
            std::mem::swap(&mut one, &mut other);
        }
        let unknown = send(&mut other, "SELECT v FROM app.nobody_has_made_it");
        assert_eq!(unknown.denied(), Some("unknown_relation"));
    }
    script(
        &mut admin,
        &format!("REVOKE CREATE ON SCHEMA app FROM {ROLE}"),
    );
}

/// CASCADE does what RESTRICT does: where something depends on a table or type, the server refuses.
#[test]
fn cascade_reaches_nothing_else() {
    let arena = Arena::take();
    let mut admin = superuser(server().address(), &arena.plain());
    script(&mut admin, &format!("GRANT CREATE ON SCHEMA app TO {ROLE}"));
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let mut client = session_at(address_with(&lines), &arena.plain(), Tenant::A);
    for send in PROTOCOLS {
        let client = &mut client;
        for sql in [
            "CREATE TYPE app.stock_kind AS ENUM ('new', 'used')",
            "CREATE TABLE app.stock (id int PRIMARY KEY, kind app.stock_kind)",
            "CREATE TABLE app.stock_moves (stock int REFERENCES app.stock)",
            "COMMENT ON TABLE app.stock IS 'what there is'",
            "COMMENT ON COLUMN app.stock.kind IS 'how it is'",
            "INSERT INTO app.stock VALUES (1, 'new')",
            "INSERT INTO app.stock_moves VALUES (1)",
        ] {
            send(client, sql).ok();
        }
        for (sql, code) in [
            ("DROP TABLE app.stock CASCADE", "2BP01"),
            ("DROP TYPE app.stock_kind CASCADE", "2BP01"),
            ("TRUNCATE app.stock CASCADE", "0A000"),
        ] {
            let refused = send(client, sql);
            assert_eq!((refused.code(), refused.denied()), (code, None), "{sql}");
        }
        let left =
            "SELECT (SELECT count(*) FROM app.stock) + (SELECT count(*) FROM app.stock_moves)";
        let left = send(client, left).ok();
        assert_eq!(left.value().as_deref(), Some("2"));
        for sql in [
            "TRUNCATE app.stock, app.stock_moves CASCADE",
            "DROP TABLE IF EXISTS app.stock_moves CASCADE",
            "DROP TABLE app.stock CASCADE",
            "DROP TYPE IF EXISTS app.stock_kind CASCADE",
            "DROP TYPE IF EXISTS app.stock_kind CASCADE",
            "DROP TABLE IF EXISTS app.stock CASCADE",
        ] {
            send(client, sql).ok();
        }
        let gone = "SELECT count(*) FROM pg_type WHERE typname LIKE '%stock%'";
        assert_eq!(send(client, gone).ok().value().as_deref(), Some("0"));
    }
    // What is a tenant's, or somebody else's, stays.
    for sql in [
        "DROP TABLE public.leads CASCADE",
        "DROP TYPE public.money_pair",
        "DROP TYPE public.small CASCADE",
        "COMMENT ON TABLE public.leads IS 'x'",
    ] {
        assert!(client.query(sql).denied().is_some(), "{sql}");
    }
    assert_eq!(client.query("DROP TYPE public.call_status").code(), "42501");
    script(
        &mut admin,
        &format!("REVOKE CREATE ON SCHEMA app FROM {ROLE}"),
    );
}

/// A migration in one message: what it makes is used behind it, by a bare name and by a whole one.
#[test]
fn a_message_uses_what_it_makes() {
    let arena = Arena::take();
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let mut client = session_at(address_with(&lines), &arena.plain(), Tenant::A);
    client.query("SET search_path = made, public").ok();
    let migration = "CREATE TABLE parts (id serial PRIMARY KEY, label text NOT NULL); \
        CREATE INDEX parts_by_label ON parts (label); \
        INSERT INTO parts (label) SELECT full_name FROM leads; \
        ALTER TABLE made.parts ADD COLUMN done boolean NOT NULL DEFAULT false; \
        UPDATE parts SET done = label <> '' WHERE id = 1; ";
    for (end, left) in [("COMMIT", true), ("ROLLBACK", false)] {
        client.query(&format!("BEGIN; {migration} {end}")).ok();
        let found = client.query("SELECT count(*) FILTER (WHERE done) FROM made.parts");
        assert_eq!(found.error.is_none(), left, "{end}: {:?}", found.error);
        if left {
            assert_eq!(found.value().as_deref(), Some("1"));
            client.query("DROP TABLE parts").ok();
        }
    }
    let all = client.query(&format!("{migration} SELECT label FROM parts"));
    let labels: Vec<_> = all.ok().results.last().unwrap().rows.clone();
    let own = client.query("SELECT full_name FROM leads").ok();
    assert_eq!(labels.len(), own.results.last().unwrap().rows.len());
    // A message that fails leaves nothing.
    client
        .query("DROP TABLE parts; CREATE TABLE parts (a int); SELECT 1 / (a - a) FROM parts; SELECT 1 / 0")
        .error
        .expect("a division by zero");
    let still = client.query("SELECT count(*) FROM parts").ok();
    assert_eq!(still.value(), Some(labels.len().to_string()));
    client.query("DROP TABLE parts").ok();
}
