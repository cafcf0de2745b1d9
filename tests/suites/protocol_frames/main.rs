//! THREATS G3 to G5: bytes that no driver sends, encodings, depth and size.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod cancels;
mod encodings;
mod messages;
mod sizes;
mod start_up;

use std::time::{Duration, Instant};

use pgwarden_tests::wire::Client;

/// The session still works and is still the tenant's.
fn sound(client: &mut Client) {
    let reply = client
        .query("SELECT count(*), min(org_id::text) FROM leads")
        .ok();
    assert_eq!(reply.value().as_deref(), Some("60"));
}

/// A socket that was sent something must be closed, or answered with an error and closed, soon.
fn ends(client: &mut Client) -> Vec<String> {
    client.set_timeout(Duration::from_secs(60));
    let started = Instant::now();
    let messages = client.read_to_end();
    assert!(started.elapsed() < Duration::from_secs(59), "it stays open");
    messages
        .iter()
        .filter(|message| message.tag == b'E')
        .map(|message| message.error().code().to_owned())
        .collect()
}
