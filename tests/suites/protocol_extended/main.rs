//! THREATS G2: the extended protocol, frame by frame. PostgreSQL itself says what is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod names;
mod parameters;
mod pipelines;
mod portals;

use pgwarden_tests::wire::{Message, tags};

const OWN: &str = "a0000000-0000-0000-0000-000000000001";
const FOREIGN: &str = "b0000000-0000-0000-0000-000000000002";

fn binary(uuid: &str) -> Vec<u8> {
    uuid.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec()
}

/// The first error in the messages.
fn error(messages: &[Message]) -> (String, String) {
    let found = messages.iter().find(|message| message.tag == b'E');
    let error = found
        .unwrap_or_else(|| panic!("no error in {}", tags(messages)))
        .error();
    (
        error.code().to_owned(),
        error.reason().unwrap_or_default().to_owned(),
    )
}
