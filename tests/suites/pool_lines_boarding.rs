//! Who boards a line: a session whose server connection could be no other, with messages that are nothing but a
//! read. What only looks like that is answered as it is everywhere else.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::frames::Frames;
use pgwarden_tests::patience::{Over, at_least};
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{Client, tags_and_codes};

/// Shows when the session's zone says that it was.
const ZONE: &str = "SELECT min(created_at) FROM leads";
const FIND: &str = "SELECT id FROM campaigns WHERE id > $1 ORDER BY id LIMIT 1";

fn shared(server_connections: usize) -> Pooled {
    Pooled::with(server_connections, |settings| {
        settings.pool.multiplex_wait = Duration::from_secs(60);
    })
}

fn multiplexed(pooled: &Pooled) -> f64 {
    pooled.metric("pgwarden_multiplexed_reads_total")
}

/// Readers of the same claims keep lines going while something is done, up to the first that was shared.
fn beside_readers(pooled: &Pooled, mut readers: Vec<Client>, mut something: impl FnMut(usize)) {
    let before = multiplexed(pooled);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for reader in &mut readers {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    reader.query(ZONE).ok();
                    reader.extended(FIND, &[Some("3")]).ok();
                }
            });
        }
        let _over = Over(&over);
        let shared = || multiplexed(pooled) > before + 50.0;
        at_least(300, shared, &mut something);
    });
}

#[test]
fn h_nobody_boards_a_connection_that_was_opened_with_other_parameters() {
    let pooled = shared(3);
    let token = proxy::token(Tenant::A);
    let elsewhere = [("TimeZone", "Asia/Tokyo")];
    let readers = (0..4).map(|_| pooled.session_of(&token, &[])).collect();
    let mut client = pooled.session_of(&token, &elsewhere);
    let mut usual = pooled.session_of(&token, &[]);
    let at_home = value(&mut usual, ZONE);
    let there = value(&mut client, ZONE);
    assert!(there.ends_with("+09"), "{there}");
    assert_ne!(at_home, there);
    beside_readers(&pooled, readers, |_| {
        assert_eq!(value(&mut client, ZONE), there);
        assert_eq!(value(&mut usual, ZONE), at_home);
    });
}

#[test]
fn a_read_that_is_refused_is_refused_where_others_share_a_connection_too() {
    let pooled = shared(1);
    let readers = (0..4).map(|_| pooled.session(Tenant::A)).collect();
    let mut client = pooled.session(Tenant::A);
    let prepares = Frames::new().parse("find", FIND).sync();
    assert_eq!(tags_and_codes(&prepares.exchange(&mut client)), "1Z");
    let run = |values: &[&str]| Frames::new().bind("", "find", values).execute("", 0).sync();
    let (good, bad) = (run(&["3"]), run(&["3", "4"]));
    let wanted = tags_and_codes(&bad.exchange(&mut client));
    assert_eq!(wanted, "[08P01]Z");
    let denied = || pooled.metric("pgwarden_denials_total{reason=\"parameter_mismatch\"}");
    let (before, mut refused) = (denied(), 0.0);
    beside_readers(&pooled, readers, |_| {
        assert_eq!(tags_and_codes(&good.exchange(&mut client)), "2DCZ");
        assert_eq!(tags_and_codes(&bad.exchange(&mut client)), wanted);
        refused += 1.0;
    });
    assert_eq!(denied() - before, refused, "each is counted once");
}
