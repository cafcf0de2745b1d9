//! Frontend messages of any content are read without a panic. The first byte chooses the message:
//! random bytes alone would seldom pass the header.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pgwarden::wire::{client, frame, startup};

fuzz_target!(|bytes: &[u8]| {
    let _ = frame::header(bytes);
    let Some((kind, body)) = bytes.split_first() else { return };
    match kind % 6 {
        0 => drop(client::query(body).is_ok()),
        1 => drop(client::parse(body, &mut Vec::new()).is_ok()),
        2 => drop(client::bind(body, &mut client::Spans::default()).is_ok()),
        3 => drop(client::target(body).is_ok()),
        4 => drop(client::execute(body).is_ok()),
        _ => drop(startup::opening(body).is_ok()),
    }
});
