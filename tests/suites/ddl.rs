//! Lasting DDL through the proxy, where the policy has `ddl = "unscoped"`: it works, and is known when it
//! has come into force.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::{Duration, Instant};

use pgwarden_tests::fixture::{Arena, ROLE, Tenant, script, server, superuser};
use pgwarden_tests::proxy::{address_with, session_at};
use pgwarden_tests::wire::{Client, Reply};

const PATIENCE: Duration = Duration::from_secs(60);

type Send = fn(&mut Client, &str) -> Reply;

const PROTOCOLS: [Send; 2] = [
    |client, sql| client.query(sql),
    |client, sql| client.extended(sql, &[]),
];

/// Sends a statement until the proxy knows what it is about: it reads the catalogue again.
fn once_known(client: &mut Client, send: Send, sql: &str) -> Reply {
    let start = Instant::now();
    loop {
        let reply = send(client, sql);
        if reply.denied() != Some("unknown_relation") || start.elapsed() > PATIENCE {
            return reply.ok();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

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
        once_known(client, send, "INSERT INTO app.stock VALUES (1, 'x')");
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
        let start = Instant::now();
        while send(client, "SELECT shelf FROM app.stock")
            .value()
            .as_deref()
            != Some("top")
        {
            assert!(start.elapsed() < PATIENCE, "the new column is not known");
            std::thread::sleep(Duration::from_millis(50));
        }
        for denied in [
            "DROP TABLE public.leads",
            "CREATE TABLE app.calls (id int)",
            "ALTER TABLE app.stock ADD COLUMN org_id uuid",
            "CREATE TABLE app.lead_copies AS SELECT * FROM public.leads",
        ] {
            assert!(send(client, denied).denied().is_some(), "{denied}");
        }
        send(client, "ALTER TABLE app.stock RENAME TO stock_of_old").ok();
        once_known(client, send, "DROP TABLE app.stock_of_old");
        // The name is free for the next round when nobody knows the table any more.
        let start = Instant::now();
        while send(client, "SELECT FROM app.stock_of_old")
            .denied()
            .is_none()
        {
            assert!(start.elapsed() < PATIENCE, "the table is still known");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    script(
        &mut admin,
        &format!("REVOKE CREATE ON SCHEMA app FROM {ROLE}"),
    );
}
