//! Start-up parameters in transaction mode: clients that differ in them share server connections,
//! and each finds its own in force.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::wire::Client;
use pgwarden_tests::world::{World, session};

fn value(client: &mut Client, sql: &str) -> String {
    let reply = client.query(sql).ok();
    reply.value().unwrap_or_else(|| panic!("no value of {sql}"))
}

fn name(client: &mut Client) -> String {
    value(client, "SHOW application_name")
}

#[test]
fn clients_with_other_parameters_share_a_connection() {
    let world = World::start("transaction", |_| {});
    let open =
        |tenant, parameters: &[(&str, &str)]| session(world.address(), tenant, parameters).unwrap();
    let mut a = open(
        1,
        &[("application_name", "one"), ("statement_timeout", "4321")],
    );
    let mut b = open(
        2,
        &[("application_name", "two"), ("extra_float_digits", "-3")],
    );
    let mut c = open(3, &[]);
    assert_eq!(a.parameter("application_name"), Some("one"));
    assert_eq!(b.parameter("application_name"), Some("two"));
    assert_eq!(c.parameter("application_name"), Some(""));
    let pid = value(&mut a, "SELECT pg_backend_pid()");
    for _ in 0..3 {
        assert_eq!(name(&mut a), "one");
        assert_eq!(value(&mut b, "SELECT pg_backend_pid()"), pid);
        assert_eq!(name(&mut b), "two");
        assert_eq!(value(&mut b, "SHOW extra_float_digits"), "-3");
        assert_eq!(value(&mut b, "SHOW statement_timeout"), "0");
        assert_eq!(name(&mut c), "");
        assert_eq!(value(&mut c, "SHOW extra_float_digits"), "1");
        assert_eq!(value(&mut a, "SHOW statement_timeout"), "4321ms");
    }
}

#[test]
fn reset_goes_back_to_the_start_up_packet() {
    let world = World::start("transaction", |_| {});
    let parameters = [("application_name", "one"), ("statement_timeout", "4321")];
    let mut a = session(world.address(), 1, &parameters).unwrap();
    let mut b = session(world.address(), 2, &[("application_name", "two")]).unwrap();
    for reset in [
        "RESET application_name",
        "RESET ALL",
        "DISCARD ALL",
        "SET application_name TO DEFAULT",
    ] {
        a.query("SET application_name = 'other'").ok();
        assert_eq!(name(&mut b), "two");
        assert_eq!(name(&mut a), "other");
        a.query(reset).ok();
        assert_eq!(name(&mut b), "two", "{reset}");
        assert_eq!(name(&mut a), "one", "{reset}");
        assert_eq!(a.parameter("application_name"), Some("one"), "{reset}");
        assert_eq!(value(&mut a, "SHOW statement_timeout"), "4321ms", "{reset}");
    }
    // The server's own default, asked for by name, is no RESET.
    a.query("SET application_name = ''").ok();
    a.query("SET statement_timeout = 0").ok();
    assert_eq!(name(&mut b), "two");
    assert_eq!(name(&mut a), "");
    assert_eq!(value(&mut a, "SHOW statement_timeout"), "0");
    // Nothing of a session's own is swept away by a RESET.
    a.query("BEGIN").ok();
    a.query("DECLARE held CURSOR WITH HOLD FOR SELECT 7").ok();
    a.query("COMMIT").ok();
    a.query("RESET application_name").ok();
    assert_eq!(name(&mut a), "one");
    assert_eq!(value(&mut a, "FETCH held"), "7");
    a.query("CLOSE held").ok();
    // A rollback brings the start-up's back.
    a.query("BEGIN").ok();
    a.query("SET application_name = 'other'").ok();
    a.query("ROLLBACK").ok();
    assert_eq!(
        (name(&mut b), name(&mut a)),
        ("two".to_owned(), "one".to_owned())
    );
}
