//! `pool.mode = "transaction"`: many sessions on few server connections, and nothing of one that
//! the next could see.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden_tests::fixture::{Arena, Tenant, server, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{
    Client, bind_body, cancel, execute_body, parse_body, tags, target_body,
};

/// Ends all sessions on the server, as a restart does.
fn end_sessions(arena: &Arena) {
    let mut admin = superuser(server().address(), "postgres");
    let sessions = format!(
        "FROM pg_stat_activity WHERE datname = '{}' AND backend_type = 'client backend' \
         AND application_name <> 'pgwarden'",
        arena.plain()
    );
    let end = format!("SELECT count(pg_terminate_backend(pid)) {sessions}");
    assert_ne!(value(&mut admin, &end), "0");
    // They have said so to the proxy when they are not shown any more.
    let left = format!("SELECT count(*) {sessions}");
    until("their end", || value(&mut admin, &left) == "0");
}

const CLAIMED: &str = "SELECT current_setting('request.jwt.claims')::json ->> 'sub'";

#[test]
fn two_tenants_take_turns_on_one_server_connection() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let pid = value(&mut a, "SELECT pg_backend_pid()");
    for _ in 0..3 {
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        assert_eq!(value(&mut b, "SELECT pg_backend_pid()"), pid);
        let own = value(&mut a, "SELECT count(*) FROM leads");
        assert_ne!(own, "0");
    }
}

#[test]
fn claims_undone_by_a_rollback_are_set_again() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for end in ["ROLLBACK", "COMMIT"] {
        a.query("BEGIN").ok();
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
        assert!(!a.query("SELECT 1/0").code().is_empty());
        a.query(end).ok();
        assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
        assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
    }
}

#[test]
fn h_random_numbers_of_the_next_are_nobodys_choice() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let mut drawn = || {
        a.query("SELECT setseed(0.25)").ok();
        value(&mut b, "SELECT random()")
    };
    assert_ne!(drawn(), drawn());
    // The same by the full reset, when a session ends.
    let last = || {
        let mut a = pooled.session(Tenant::A);
        a.query("BEGIN").ok();
        a.query("SELECT setseed(0.25)").ok();
        drop(a);
        value(&mut pooled.session(Tenant::B), "SELECT random()")
    };
    assert_ne!(last(), last());
}

#[test]
fn h_settings_go_with_their_session() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let zone = |client: &mut Client| value(client, "SHOW timezone");
    let original = zone(&mut b);
    a.query("SET timezone = 'Asia/Tokyo'").ok();
    assert_eq!(zone(&mut b), original);
    assert_eq!(zone(&mut a), "Asia/Tokyo");
    // What is undone is not replayed.
    a.query("BEGIN").ok();
    a.query("SET timezone = 'Europe/Paris'").ok();
    a.query("ROLLBACK").ok();
    assert_eq!(zone(&mut b), original);
    assert_eq!(zone(&mut a), "Asia/Tokyo");
    a.query("BEGIN").ok();
    a.query("SET LOCAL timezone = 'Europe/Paris'").ok();
    assert_eq!(zone(&mut a), "Europe/Paris");
    a.query("COMMIT").ok();
    assert_eq!(zone(&mut b), original);
    assert_eq!(zone(&mut a), "Asia/Tokyo");
    a.query("BEGIN").ok();
    a.query("SET timezone = 'Europe/Rome'").ok();
    a.query("SAVEPOINT s").ok();
    a.query("SET timezone = 'Europe/Paris'").ok();
    a.query("ROLLBACK TO s").ok();
    a.query("COMMIT").ok();
    assert_eq!(zone(&mut b), original);
    assert_eq!(zone(&mut a), "Europe/Rome");
    let set = "SELECT set_config('statement_timeout', '12345', false)";
    a.query(set).ok();
    assert_eq!(value(&mut b, "SHOW statement_timeout"), "0");
    assert_eq!(value(&mut a, "SHOW statement_timeout"), "12345ms");
    a.query("RESET timezone").ok();
    assert_eq!(value(&mut b, "SHOW statement_timeout"), "0");
    assert_eq!(zone(&mut a), original);
    a.query("DISCARD ALL").ok();
    assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
    assert_eq!(value(&mut a, "SHOW statement_timeout"), "0");
    assert_eq!(value(&mut a, CLAIMED), Tenant::A.user());
}

#[test]
fn h_the_search_path_goes_with_its_session() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let original = value(&mut b, "SHOW search_path");
    a.query("SET search_path = pg_catalog").ok();
    assert_eq!(value(&mut b, "SHOW search_path"), original);
    assert_ne!(value(&mut b, "SELECT count(*) FROM leads"), "0");
    assert_eq!(value(&mut a, "SHOW search_path"), "pg_catalog");
    let hidden = a.query("SELECT count(*) FROM leads");
    assert_eq!(hidden.denied(), Some("unknown_relation"));
    a.query("RESET search_path").ok();
    assert_ne!(value(&mut a, "SELECT count(*) FROM leads"), "0");
}

#[test]
fn h_sequences_cursors_and_prepared_statements_are_gone() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    a.query("PREPARE mine AS SELECT 1").ok();
    until("the pinning", || pooled.pinned("prepare") == 1.0);
    assert_eq!(value(&mut a, "EXECUTE mine"), "1");
    assert_eq!(b.query("EXECUTE mine").code(), "26000");
    a.query("DEALLOCATE mine").ok();
    until("the unpinning", || pooled.pinned("prepare") == 0.0);
    a.query("BEGIN").ok();
    a.query("DECLARE held CURSOR WITH HOLD FOR SELECT 7").ok();
    a.query("COMMIT").ok();
    until("the pinning", || pooled.pinned("cursor") == 1.0);
    assert_eq!(b.query("FETCH held").code(), "34000");
    assert_eq!(value(&mut a, "FETCH held"), "7");
    a.query("CLOSE held").ok();
    until("the unpinning", || pooled.pinned("cursor") == 0.0);
    a.query("BEGIN").ok();
    a.query("DECLARE held CURSOR WITH HOLD FOR SELECT 7").ok();
    a.query("ROLLBACK").ok();
    until("the unpinning", || pooled.pinned("cursor") == 0.0);
}

#[test]
fn a_full_pool_is_53300_and_the_session_goes_on() {
    let pooled = Pooled::with(1, |settings| {
        settings.pool.checkout_timeout = Duration::from_secs(1);
    });
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    a.query("BEGIN").ok();
    assert_eq!(b.query("SELECT 1").code(), "53300");
    assert_eq!(b.extended("SELECT 1", &[]).code(), "53300");
    a.query("COMMIT").ok();
    assert_eq!(value(&mut b, "SELECT 1"), "1");
}

#[test]
fn who_waits_is_served_in_the_order_of_arrival() {
    let pooled = Pooled::new(1);
    let mut holder = pooled.session(Tenant::A);
    let mut waiting: Vec<Client> = (0..5).map(|_| pooled.session(Tenant::B)).collect();
    holder.query("BEGIN").ok();
    for (before, client) in (0_u8..).zip(&mut waiting) {
        client.send_query("SELECT extract(epoch FROM clock_timestamp())");
        until("its wait", || {
            pooled.metric("pgwarden_waiting_clients") > before.into()
        });
    }
    holder.query("COMMIT").ok();
    let served: Vec<f64> = waiting
        .iter_mut()
        .map(|client| client.reply().ok().value().unwrap().parse().unwrap())
        .collect();
    assert!(served.is_sorted(), "{served:?}");
}

#[test]
fn h_a_lost_server_connection_is_replaced_unless_a_transaction_is_open() {
    let pooled = Pooled::new(2);
    let mut idle = pooled.session(Tenant::A);
    let mut busy = pooled.session(Tenant::B);
    idle.query("SELECT 1").ok();
    busy.query("BEGIN").ok();
    end_sessions(pooled.arena());
    let reply = busy.query("SELECT 1");
    assert!(["57P01", "08006"].contains(&reply.code()), "{reply:?}");
    assert_eq!(value(&mut idle, CLAIMED), Tenant::A.user());
}

#[test]
fn h_a_cancel_hits_its_own_session_or_nothing() {
    let pooled = Pooled::new(1);
    let over = Arc::new(AtomicBool::new(false));
    let mut victim = pooled.session(Tenant::B);
    let mut attacker = pooled.session(Tenant::A);
    let key = attacker.key.clone();
    let address = pooled.address();
    let cancels = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                cancel(address, &key);
            }
        })
    };
    let own = {
        let over = Arc::clone(&over);
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                let reply = attacker.query("SELECT count(*) FROM generate_series(1, 3000)");
                assert!(["", "57014"].contains(&reply.code()), "{reply:?}");
            }
        })
    };
    for _ in 0..60 {
        let reply = victim.query("SELECT count(*) FROM generate_series(1, 3000)");
        assert_eq!(reply.code(), "", "{reply:?}");
    }
    over.store(true, Ordering::Relaxed);
    cancels.join().unwrap();
    own.join().unwrap();
}

/// Runs a statement that was prepared under a name.
fn run_prepared(client: &mut Client, name: &str, values: &[Option<&str>]) -> (String, Vec<String>) {
    let values: Vec<_> = values.iter().map(|it| it.map(str::as_bytes)).collect();
    client.send(b'B', &bind_body("", name, &[], &values, &[]));
    client.send(b'E', &execute_body("", 0));
    client.send(b'S', &[]);
    let messages = client.messages();
    let error = messages.iter().find(|it| it.tag == b'E');
    let code = error.map_or(String::new(), |it| it.error().code().to_owned());
    let rows = messages.iter().filter(|it| it.tag == b'D');
    let first = |body: &[u8]| String::from_utf8_lossy(&body[6..]).into_owned();
    (code, rows.map(|it| first(&it.body)).collect())
}

fn prepare(client: &mut Client, name: &str, sql: &str) -> String {
    client.send(b'P', &parse_body(name, sql, &[]));
    client.send(b'D', &target_body(b'S', name));
    client.send(b'S', &[]);
    tags(&client.messages())
}

#[test]
fn h_one_name_means_to_each_client_what_it_prepared() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    let own = "SELECT count(*)::text || (current_setting('request.jwt.claims')::json ->> 'sub') FROM leads";
    assert_eq!(prepare(&mut a, "s", own), "1tTZ");
    assert_eq!(prepare(&mut b, "s", "SELECT 'other' || $1::text"), "1tTZ");
    // Prepared on this connection already, for another tenant.
    assert_eq!(prepare(&mut b, "t", own), "1tTZ");
    let (_, of_a) = run_prepared(&mut a, "s", &[]);
    let (_, of_b) = run_prepared(&mut b, "t", &[]);
    assert!(of_a[0].ends_with(Tenant::A.user()), "{of_a:?}");
    assert!(of_b[0].ends_with(Tenant::B.user()), "{of_b:?}");
    assert_eq!(run_prepared(&mut b, "s", &[Some("x")]).1, ["otherx"]);
    assert_eq!(run_prepared(&mut a, "t", &[]).0, "26000");
    // Closing one's own leaves the other's.
    b.send(b'C', &target_body(b'S', "t"));
    b.send(b'S', &[]);
    assert_eq!(tags(&b.messages()), "3Z");
    assert_eq!(run_prepared(&mut b, "t", &[]).0, "26000");
    assert_eq!(run_prepared(&mut a, "s", &[]).1, of_a);
    // The other's DISCARD ALL, too.
    b.query("DISCARD ALL").ok();
    assert_eq!(run_prepared(&mut b, "s", &[Some("x")]).0, "26000");
    assert_eq!(run_prepared(&mut a, "s", &[]).1, of_a);
}

#[test]
fn statements_are_prepared_on_each_server_connection() {
    let pooled = Pooled::new(2);
    let mut a = pooled.session(Tenant::A);
    let mut holder = pooled.session(Tenant::B);
    prepare(&mut a, "s", "SELECT 'own' || $1::text");
    prepare(&mut a, "", "SELECT 'unnamed'");
    assert_eq!(run_prepared(&mut a, "s", &[Some("1")]).1, ["own1"]);
    // The other takes the connection that has them.
    holder.query("BEGIN").ok();
    holder.query("SELECT 1").ok();
    let mut other = pooled.session(Tenant::B);
    for _ in 0..3 {
        assert_eq!(run_prepared(&mut a, "s", &[Some("2")]).1, ["own2"]);
        assert_eq!(run_prepared(&mut a, "", &[]).1, ["unnamed"]);
        other.query("DISCARD ALL").ok();
    }
}

#[test]
fn h_errors_in_a_pipeline_leave_the_right_statements() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    for _ in 0..2 {
        // The error makes the server skip the Parse behind it.
        a.send(b'P', &parse_body("", "SELECT 1/0", &[]));
        a.send(b'B', &bind_body("", "", &[], &[], &[]));
        a.send(b'E', &execute_body("", 0));
        a.send(b'P', &parse_body("late", "SELECT 'late'", &[]));
        a.send(b'S', &[]);
        assert_eq!(tags(&a.messages()), "1EZ");
        assert_eq!(run_prepared(&mut a, "late", &[]).0, "26000");
        assert_eq!(prepare(&mut b, "late", "SELECT 'late'"), "1tTZ");
        assert_eq!(run_prepared(&mut b, "late", &[]).1, ["late"]);
        b.query("DEALLOCATE late").ok();
        // A Parse that fails leaves nothing either.
        assert_eq!(prepare(&mut a, "bad", "SELECT nothing_like_it"), "EZ");
        assert_eq!(run_prepared(&mut a, "bad", &[]).0, "26000");
    }
    // In a failed transaction what is known already is refused all the same.
    prepare(&mut a, "s", "SELECT 'late'");
    a.query("BEGIN").ok();
    assert_eq!(a.query("SELECT 1/0").code(), "22012");
    assert_eq!(a.extended("SELECT 'late'", &[]).code(), "25P02");
    a.extended("ROLLBACK", &[]).ok();
    assert_eq!(run_prepared(&mut a, "s", &[]).1, ["late"]);
    assert_eq!(
        a.extended("SELECT 'late'", &[]).ok().value(),
        Some("late".to_owned())
    );
}

#[test]
fn h_prepared_statements_are_bounded_and_not_shown() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut b = pooled.session(Tenant::B);
    prepare(&mut a, "first", "SELECT 'first'");
    for at in 0..300 {
        let reply = a.extended(&format!("SELECT {at}"), &[]).ok();
        assert_eq!(reply.value(), Some(at.to_string()));
    }
    assert_eq!(run_prepared(&mut a, "first", &[]).1, ["first"]);
    let shown = b.query("SELECT statement FROM pg_prepared_statements");
    assert!(shown.denied().is_some(), "{shown:?}");
    let mut admin = Client::connect(
        pooled.address(),
        "anyone",
        &pooled.arena().plain(),
        &[],
        Some(&proxy::admin_token()),
    )
    .unwrap();
    let count = value(&mut admin, "SELECT count(*) FROM pg_prepared_statements");
    assert!(count.parse::<usize>().unwrap() <= 256, "{count}");
}

#[test]
fn h_statements_are_prepared_again_after_ddl() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    prepare(&mut a, "s", "SELECT * FROM plans LIMIT 1");
    assert_eq!(run_prepared(&mut a, "s", &[]).0, "");
    admin.query("ALTER TABLE plans ADD COLUMN another int").ok();
    let (code, _) = run_prepared(&mut a, "s", &[]);
    assert_eq!(code, "0A000");
    // Who prepares it anew has the new columns.
    let reply = a.extended("SELECT * FROM plans LIMIT 1", &[]);
    admin.query("ALTER TABLE plans DROP COLUMN another").ok();
    pooled.arena().restore();
    assert_eq!(reply.code(), "", "{reply:?}");
}

const LEFT: &str = "SELECT (SELECT count(*) FROM pg_listening_channels()) \
    + (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) \
    + (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()) \
    + (SELECT count(*) FROM pg_prepared_statements WHERE from_sql)";

#[test]
fn h_a_break_glass_session_is_pinned_and_leaves_nothing() {
    let pooled = Pooled::new(1);
    let mut admin = pooled.session_of(&proxy::admin_token(), &[]);
    let pid = value(&mut admin, "SELECT pg_backend_pid()");
    until("the pinning", || pooled.pinned("break_glass") == 1.0);
    admin.query("LISTEN news").ok();
    admin.query("SELECT pg_advisory_lock(7)").ok();
    admin.query("CREATE TEMPORARY TABLE left_over (x int)").ok();
    assert_ne!(value(&mut admin, LEFT), "0");
    drop(admin);
    let mut b = pooled.session(Tenant::B);
    assert_eq!(value(&mut b, CLAIMED), Tenant::B.user());
    until("the unpinning", || pooled.pinned("break_glass") == 0.0);
    let mut next = pooled.session_of(&proxy::admin_token(), &[]);
    assert_eq!(value(&mut next, "SELECT pg_backend_pid()"), pid);
    assert_eq!(value(&mut next, LEFT), "0");
}

#[test]
fn h_the_last_value_of_a_sequence_is_swept() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    a.query("INSERT INTO cold_call_logs (note) VALUES ('x')")
        .ok();
    let mut admin = pooled.session_of(&proxy::admin_token(), &[]);
    let last = admin.query("SELECT lastval()");
    pooled.arena().restore();
    assert_eq!(last.code(), "55000", "{last:?}");
}

/// What a driver asks for behind an INSERT: PDO's `lastInsertId`, as Doctrine sends it.
#[test]
fn h_the_last_value_is_told_in_the_transaction_that_took_it() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    let denied = |client: &mut Client| {
        let reply = client.query("SELECT lastval()");
        assert_eq!(reply.denied(), Some("function_denied"), "{reply:?}");
    };
    let insert = "INSERT INTO cold_call_logs (note) VALUES ('x') RETURNING id";
    a.query(insert).ok();
    denied(&mut a);
    a.query("BEGIN").ok();
    denied(&mut a);
    a.query("ROLLBACK").ok();
    a.query("BEGIN").ok();
    let id = value(&mut a, insert);
    assert_eq!(value(&mut a, "SELECT lastval()"), id);
    assert_eq!(value(&mut a, "SELECT currval('cold_call_logs_id_seq')"), id);
    a.query("COMMIT").ok();
    denied(&mut a);
    let mut b = pooled.session(Tenant::B);
    b.query("BEGIN").ok();
    denied(&mut b);
    b.query("ROLLBACK").ok();
    b.query("BEGIN").ok();
    // A write that takes no number tells nothing of what another session took.
    b.query("UPDATE notes SET txt = txt").ok();
    let last = b.query("SELECT lastval()");
    b.query("ROLLBACK").ok();
    pooled.arena().restore();
    assert_eq!(last.code(), "55000", "{last:?}");
}

#[test]
fn h_what_nextval_took_is_swept() {
    let pooled = Pooled::new(1);
    let mut a = pooled.session(Tenant::A);
    value(&mut a, "SELECT nextval('cold_call_logs_id_seq')");
    let mut b = pooled.session(Tenant::B);
    b.query("BEGIN").ok();
    b.query("UPDATE notes SET txt = txt").ok();
    let last = b.query("SELECT lastval()");
    b.query("ROLLBACK").ok();
    pooled.arena().restore();
    assert_eq!(last.code(), "55000", "{last:?}");
}
