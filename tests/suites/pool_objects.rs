//! What a session makes on its server connection: in transaction mode it keeps the connection while
//! there is any, and the next tenant finds none of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::{Tenant, server, superuser};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::patience::until;
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::wire::{Client, bind_body, execute_body, parse_body, tags};

const PID: &str = "SELECT pg_backend_pid()";
const OWN: &str = "SELECT pg_my_temp_schema()::text";

#[test]
fn h_a_temporary_table_pins_until_it_is_dropped() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let all = value(&mut a, "SELECT count(*) FROM leads");
    for undo in ["DROP TABLE leads", "DISCARD TEMP", "DISCARD ALL"] {
        a.query("CREATE TEMP TABLE leads AS SELECT 1 AS n").ok();
        until("the pinning", || pooled.pinned("temporary") == 1.0);
        let pid = value(&mut a, PID);
        for _ in 0..3 {
            assert_ne!(value(&mut b, PID), pid);
            assert_ne!(value(&mut b, "SELECT count(*) FROM leads"), "1");
            assert_eq!(
                b.query("SELECT * FROM pg_temp.leads").denied(),
                Some("unknown_relation")
            );
        }
        assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), "1");
        a.query(undo).ok();
        until("the unpinning", || pooled.pinned("temporary") == 0.0);
        assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), all);
    }
}

#[test]
fn h_a_temporary_table_of_a_transaction_does_not_pin() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let all = value(&mut a, "SELECT count(*) FROM leads");
    for end in ["COMMIT", "ROLLBACK"] {
        a.query("BEGIN").ok();
        a.query("CREATE TEMP TABLE leads (n int) ON COMMIT DROP")
            .ok();
        assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), "0");
        a.query(end).ok();
        // The only connection is free.
        assert_ne!(value(&mut b, "SELECT count(*) FROM leads"), "0");
        assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), all);
    }
    a.query("BEGIN").ok();
    a.query("CREATE TEMP TABLE leads (n int)").ok();
    assert!(!a.query("SELECT 1 / 0").code().is_empty());
    a.query("COMMIT").ok();
    assert_ne!(value(&mut b, "SELECT count(*) FROM leads"), "0");
    assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), all);
}

#[test]
fn h_who_leaves_with_a_temporary_table_leaves_none() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let pooled = Pooled::with(1, |settings| settings.pool.mode = mode);
        let mut a = pooled.session(Tenant::A);
        a.query("SELECT id INTO TEMP leads FROM public.leads").ok();
        let pid = value(&mut a, PID);
        assert_ne!(value(&mut a, OWN), "0");
        drop(a);
        let mut b = pooled.session(Tenant::B);
        assert_eq!(value(&mut b, PID), pid);
        let denied = b.query("SELECT * FROM pg_temp.leads");
        assert_eq!(denied.denied(), Some("unknown_relation"));
        let seen = "SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()";
        assert_eq!(value(&mut b, seen), "0");
    }
}

#[test]
fn h_the_same_text_over_different_temporary_tables() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for (client, ty, text) in [(&mut a, "int", "7"), (&mut b, "text", "x")] {
        client.query(&format!("CREATE TEMP TABLE t (v {ty})")).ok();
        client
            .extended("INSERT INTO t VALUES ($1)", &[Some(text)])
            .ok();
        let reply = client.extended("SELECT v FROM t", &[]).ok();
        assert_eq!(reply.value().as_deref(), Some(text));
        client.query("DROP TABLE t").ok();
        client.query("CREATE TEMP TABLE t (v date)").ok();
        client
            .extended("INSERT INTO t VALUES ($1)", &[Some("2026-01-01")])
            .ok();
        client.query("DROP TABLE t").ok();
    }
}

#[test]
fn a_pipeline_follows_its_own_temporary_tables() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let pooled = Pooled::with(1, |settings| settings.pool.mode = mode);
        let mut a = pooled.session(Tenant::A);
        let all = value(&mut a, "SELECT count(*) FROM leads");
        let mut send = |texts: &[&str]| {
            for text in texts {
                a.send(b'P', &parse_body("", text, &[]));
                a.send(b'B', &bind_body("", "", &[], &[], &[]));
                a.send(b'E', &execute_body("", 0));
            }
            a.send(b'S', &[]);
            tags(&a.messages())
        };
        let made = "CREATE TEMP TABLE leads AS SELECT 1 AS n";
        let got = send(&[made, "SELECT n FROM leads", "DROP TABLE leads"]);
        assert_eq!(got, "12C12DC12CZ");
        // What an error undoes is undone for the next message too.
        let got = send(&[made, "SELECT n FROM leads", "SELECT 1 / 0", "SELECT 1"]);
        assert_eq!(got, "12C12DC1EZ");
        assert_eq!(value(&mut a, "SELECT count(*) FROM leads"), all);
    }
}

#[test]
fn a_temporary_table_takes_and_gives_copies() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    a.query("CREATE TEMP TABLE leads (n int, word text)").ok();
    a.send(b'Q', b"COPY leads FROM STDIN\0");
    assert_eq!(a.read().unwrap().tag, b'G');
    a.send(b'd', b"1\tone\n2\ttwo\n");
    a.send(b'c', &[]);
    assert_eq!(tags(&a.messages()), "CZ");
    a.send(b'Q', b"COPY leads (word) TO STDOUT\0");
    let messages = a.messages();
    assert_eq!(tags(&messages), "HddcCZ");
    assert_eq!(messages[1].body, b"one\n");
    let own = "SELECT count(*) FROM public.leads AS l, leads AS t WHERE t.n = 1";
    assert_ne!(value(&mut a, own), "0");
}

const LOCK: &str = "SELECT pg_advisory_lock(7)::text";
const TRY: &str = "SELECT pg_try_advisory_lock_shared(7)";
const UNLOCK: &str = "SELECT pg_advisory_unlock(7)";

/// Whether another session could have the lock at once.
fn is_free(client: &mut Client) -> bool {
    let free = value(client, TRY) == "t";
    if free {
        let unlocked = value(client, "SELECT pg_advisory_unlock_shared(7)");
        assert_eq!(unlocked, "t");
    }
    free
}

#[test]
fn h_a_sessions_lock_pins_until_it_is_undone() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for undo in [UNLOCK, "SELECT pg_advisory_unlock_all()", "DISCARD ALL"] {
        a.query(LOCK).ok();
        until("the pinning", || pooled.pinned("lock") == 1.0);
        let pid = value(&mut a, PID);
        assert!(!is_free(&mut b));
        assert_ne!(value(&mut b, PID), pid);
        a.query(undo).ok();
        until("the unpinning", || pooled.pinned("lock") == 0.0);
        assert!(is_free(&mut b));
    }
    // It is counted: two rows, or two calls, must be undone twice.
    a.query("SELECT pg_advisory_lock(7) FROM generate_series(1, 2)")
        .ok();
    assert_eq!(value(&mut a, UNLOCK), "t");
    assert!(!is_free(&mut b));
    until("the pinning", || pooled.pinned("lock") == 1.0);
    assert_eq!(value(&mut a, UNLOCK), "t");
    until("the unpinning", || pooled.pinned("lock") == 0.0);
    // Who has none, but asks, is told so and not pinned; the same on whatever connection.
    assert_eq!(value(&mut a, UNLOCK), "f");
    until("the unpinning", || pooled.pinned("lock") == 0.0);
    assert!(is_free(&mut b));
}

#[test]
fn h_a_sessions_lock_outlives_its_transaction_and_errors() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for end in ["ROLLBACK", "COMMIT"] {
        a.query("BEGIN").ok();
        a.query("SAVEPOINT s").ok();
        a.query(LOCK).ok();
        a.query("ROLLBACK TO s").ok();
        a.query(end).ok();
        until("the pinning", || pooled.pinned("lock") == 1.0);
        assert!(!is_free(&mut b));
        // An undoing is not rolled back either.
        a.query("BEGIN").ok();
        assert_eq!(value(&mut a, UNLOCK), "t");
        assert!(!a.query("SELECT 1 / 0").code().is_empty());
        a.query("ROLLBACK").ok();
        until("the unpinning", || pooled.pinned("lock") == 0.0);
        assert!(is_free(&mut b));
    }
    // The statement fails behind the lock.
    let failed = a.query("SELECT 1 / (CASE WHEN pg_advisory_lock(7)::text = '' THEN 0 END)");
    assert_eq!(failed.code(), "22012");
    until("the pinning", || pooled.pinned("lock") == 1.0);
    assert!(!is_free(&mut b));
    a.query(UNLOCK).ok();
    // By parameter.
    a.extended("SELECT pg_advisory_lock($1::bigint)::text", &[Some("7")])
        .ok();
    until("the pinning", || pooled.pinned("lock") == 1.0);
    assert!(!is_free(&mut b));
}

#[test]
fn h_who_leaves_with_a_lock_leaves_none() {
    for mode in [PoolMode::Transaction, PoolMode::Session] {
        let pooled = Pooled::with(1, |settings| settings.pool.mode = mode);
        for next in [Tenant::A, Tenant::B] {
            let mut a = pooled.session(Tenant::A);
            a.query(LOCK).ok();
            let pid = value(&mut a, PID);
            drop(a);
            // The only connection, and the lock, are free.
            let mut b = pooled.session(next);
            assert_eq!(value(&mut b, PID), pid);
            let held = "SELECT pg_advisory_unlock(7)";
            assert_eq!(value(&mut b, held), "f");
            assert!(is_free(&mut b));
        }
    }
}

/// The channel and payload of the next message, which must be a notification.
fn notification(client: &mut Client) -> String {
    let message = client.read().expect("a notification");
    assert_eq!(message.tag, b'A');
    String::from_utf8_lossy(&message.body[4..]).replace('\0', " ")
}

#[test]
fn h_listen_pins_until_unlisten() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for undo in ["UNLISTEN jobs", "UNLISTEN *", "DISCARD ALL"] {
        a.query("LISTEN jobs").ok();
        until("the pinning", || pooled.pinned("listen") == 1.0);
        b.query("NOTIFY jobs, 'one'").ok();
        assert_eq!(notification(&mut a), "jobs one ");
        b.extended("SELECT pg_notify('jobs', $1)", &[Some("two")])
            .ok();
        assert_eq!(notification(&mut a), "jobs two ");
        a.query(undo).ok();
        until("the unpinning", || pooled.pinned("listen") == 0.0);
        b.query("NOTIFY jobs, 'three'").ok();
        assert_eq!(value(&mut a, "SELECT 1"), "1");
    }
    // A LISTEN that is rolled back listens to nothing, and an UNLISTEN goes on listening.
    a.query("BEGIN").ok();
    a.query("LISTEN jobs").ok();
    a.query("ROLLBACK").ok();
    until("the unpinning", || pooled.pinned("listen") == 0.0);
    a.query("LISTEN jobs").ok();
    until("the pinning", || pooled.pinned("listen") == 1.0);
    a.query("BEGIN").ok();
    a.query("UNLISTEN *").ok();
    a.query("ROLLBACK").ok();
    assert_eq!(value(&mut a, "SELECT 1"), "1");
    assert_eq!(pooled.pinned("listen"), 1.0);
    b.query("NOTIFY jobs").ok();
    assert_eq!(notification(&mut a), "jobs  ");
    drop(a);
    // Who comes next listens to nothing.
    let mut next = [pooled.session(Tenant::B), pooled.session(Tenant::A)];
    for client in &mut next {
        client.query("BEGIN").ok();
        client.query("NOTIFY jobs, 'four'").ok();
    }
    for client in &mut next {
        client.send(b'Q', b"COMMIT\0");
        assert_eq!(tags(&client.messages()), "CZ");
        client.send(b'Q', b"SELECT 1\0");
        assert_eq!(tags(&client.messages()), "TDCZ");
    }
}

#[test]
fn an_error_in_a_statement_on_a_temporary_table_is_told_where_it_was_written() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().query("CREATE TEMP TABLE tt (a int)"));
    for sql in [
        "INSERT INTO tt VALUES (current_date)",
        "UPDATE tt SET a = current_date WHERE a = 1",
        "INSERT INTO tt SELECT now() FROM leads, tt",
    ] {
        twins.same(&Frames::new().query(sql));
        twins.same(&Frames::new().run(sql, &[]).sync());
    }
    let both = Frames::new().query("SELECT 1");
    twins.same(&both.query("INSERT INTO tt VALUES (current_date)"));
}

/// The number that the next message, which must be a notification, says it comes from.
fn notifier(client: &mut Client) -> u32 {
    let message = client.read().expect("a notification");
    assert_eq!(message.tag, b'A');
    u32::from_be_bytes(message.body[..4].try_into().unwrap())
}

/// Clients compare the number of a notification with the one that they were told as their own, to leave out what they
/// have sent themselves.
#[test]
fn h_a_notification_comes_from_who_sent_it() {
    let pooled = Pooled::new(4);
    let mut listener = pooled.session(Tenant::A);
    let mut other = pooled.session(Tenant::A);
    let mut stranger = pooled.session(Tenant::B);
    listener.query("LISTEN jobs").ok();
    for _ in 0..3 {
        // The server tells its own session before it is ready.
        for own in ["NOTIFY jobs", "SELECT pg_notify('jobs', 'x')"] {
            listener.send_query(own);
            let told = listener.messages();
            let told = told.iter().find(|message| message.tag == b'A');
            let told = told.expect("a notification");
            assert_eq!(told.body[..4], listener.key.0.to_be_bytes());
        }
        other.query("BEGIN").ok();
        other.query("NOTIFY jobs").ok();
        other.query("COMMIT").ok();
        assert_eq!(notifier(&mut listener), other.key.0);
        // Half of a cancel key is no other tenant's business.
        stranger.query("NOTIFY jobs").ok();
        assert_ne!(notifier(&mut listener), stranger.key.0);
    }
    // What comes from elsewhere keeps its number.
    let arena = pooled.arena().plain();
    let mut direct = superuser(server().address(), &arena);
    direct.query("NOTIFY jobs").ok();
    assert_eq!(notifier(&mut listener), direct.key.0);
}
