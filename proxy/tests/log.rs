//! The process's own log, at its most talkative: it tells nothing of what clients send.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "process/mod.rs"]
mod process;

use pgwarden_tests::wire::Client;
use pgwarden_tests::world::{World, token};
use process::Files;
use rustix::process::Signal;

/// Whatever a client writes is somebody's secret: literals, values, names, its token.
const SECRET: &str = "hunter2";

#[test]
fn what_clients_send_is_in_no_log() {
    let world = World::start("session", |_| {});
    let files = Files::new(&world, "session", |settings| {
        settings.replacen(
            "filter = \"error\"",
            "filter = \"debug,sqlparser=trace\"",
            1,
        )
    });
    let mut proxy = files.serve().ready();
    let token = token(0);
    let mut client = Client::connect(files.address, "anyone", "world", &[], Some(&token)).unwrap();
    client
        .query(&format!("SELECT word || '{SECRET}' FROM words"))
        .ok();
    client
        .extended("SELECT word || $1::text FROM words", &[Some(SECRET)])
        .ok();
    assert_eq!(
        client.query(&format!("SELECT '{SECRET}'::int")).code(),
        "22P02"
    );
    assert_eq!(
        client.query(&format!("SELECT * FROM {SECRET}")).code(),
        "42P01"
    );
    assert_eq!(
        client.query(&format!("SELECT '{SECRET}' FROM")).code(),
        "42601"
    );
    let given = format!("SET pgwarden.token = '{token}'");
    client.query(&given).ok();
    let signature = token.rsplit('.').next().unwrap();
    proxy.signal(Signal::TERM);
    let (_, said) = proxy.end();
    assert!(said.contains(" DEBUG "), "the filter is in force: {said}");
    for secret in [SECRET, signature] {
        assert!(!said.contains(secret), "{said}");
    }
}
