//! The harness itself: what the other suites lean on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, Tenant};

#[test]
fn the_oracle_shows_a_tenant_its_own_rows_only() {
    let arena = Arena::take();
    let mut session = arena.oracle_session(Tenant::A);
    let seen = session.query("SELECT DISTINCT org_id FROM leads").ok();
    assert_eq!(seen.value().as_deref(), Some(Tenant::A.org()));
    let all = session
        .query("SELECT count(*) FROM call_logs WHERE 1/(amount-777001) < 1 AND body::int >= 0")
        .ok();
    assert_eq!(all.value().as_deref(), Some("60"));
}

#[test]
fn restore_puts_every_table_back() {
    let arena = Arena::take();
    let before = Arena::contents(&arena.oracle());
    assert_eq!(before, Arena::contents(&arena.plain()));
    let mut session = arena.oracle_session(Tenant::B);
    session.query("DELETE FROM leads; UPDATE notes SET txt = 'x'; INSERT INTO payments (amount) VALUES (3)").ok();
    assert_ne!(before, Arena::contents(&arena.oracle()));
    arena.restore();
    assert_eq!(before, Arena::contents(&arena.oracle()));
}
