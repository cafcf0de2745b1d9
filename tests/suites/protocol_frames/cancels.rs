//! G3: cancel requests, which need no session.

use pgwarden_tests::fixture::{Arena, Tenant, server, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::proxy::{address, keeps_its_server, session};
use pgwarden_tests::wire::Client;

use super::sound;

#[test]
fn g3_cancel_with_guessed_keys_reaches_nobody() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let pid = client.key.0;
    client.send_query("SELECT count(*) FROM generate_series(1, 3000000) g");
    for key in 0..40_u32 {
        cancel(pid, &key.to_be_bytes());
        cancel(key, &client.key.1.clone());
    }
    client.reply().ok();
    sound(&mut client);
}

#[test]
fn g3_cancel_with_the_right_key() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    client.send_query("SELECT count(*) FROM generate_series(1, 40000) a, generate_series(1, 40000) b WHERE a.a < -b.b");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
        AND usename <> 'postgres' AND query LIKE '%generate_series(1, 40000)%'";
    until("the statement", || {
        let mut admin = superuser(server().address(), "postgres");
        admin.query(running).value().as_deref() == Some("1")
    });
    cancel(client.key.0, &client.key.1.clone());
    assert_eq!(client.reply().code(), "57014");
    sound(&mut client);
}

fn cancel(pid: u32, key: &[u8]) {
    let mut client = Client::raw(address()).unwrap();
    let mut bytes = u32::try_from(12 + key.len())
        .unwrap()
        .to_be_bytes()
        .to_vec();
    bytes.extend([0x04, 0xd2, 0x16, 0x2e]);
    bytes.extend(pid.to_be_bytes());
    bytes.extend(key);
    client.send_bytes(&bytes);
    assert!(
        client.read_to_end().is_empty(),
        "a cancel request is never answered"
    );
}

#[test]
fn g3_the_pid_is_the_servers() {
    let arena = Arena::take();
    if !keeps_its_server() {
        // The client has no server process of its own.
        return;
    }
    let mut client = session(&arena.plain(), Tenant::A);
    let pid = client.query("SELECT pg_backend_pid()").ok().value();
    assert_eq!(pid, Some(client.key.0.to_string()));
}
