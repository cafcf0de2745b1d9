//! PAUSE and RESUME: the server is restarted, changed and moved under clients that only wait.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::http::{get, post, request};
use pgwarden_tests::patience::{Over, until};
use pgwarden_tests::wire::Client;
use pgwarden_tests::world::{TENANTS, World, read_word, session};
use serde_json::Value;

const PAUSED: (u16, &str) = (200, "paused\n");
const RESUMED: (u16, &str) = (200, "resumed\n");

fn world(mode: &str) -> World {
    World::start(mode, |settings| {
        for database in settings.databases.named.values_mut() {
            database.catalog_interval = Duration::from_secs(3600);
        }
        let same = settings.databases.named["world"].clone();
        settings.databases.named.insert("other".to_owned(), same);
    })
}

fn admin(world: &World) -> SocketAddr {
    world.running().admin_address().unwrap()
}

fn order(world: &World, path: &str) -> (u16, String) {
    post(admin(world), path)
}

fn assert_ordered(world: &World, path: &str, (status, body): (u16, &str)) {
    assert_eq!(order(world, path), (status, body.to_owned()), "{path}");
}

/// What `/status` says of a database.
fn status(world: &World, database: &str) -> Value {
    let (code, body) = get(admin(world), "/status");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&body).unwrap();
    let databases = status["databases"].as_array().unwrap();
    let found = databases.iter().find(|it| it["name"] == database);
    found.expect("the database is shown").clone()
}

/// Connections of the proxy that the server counts, its own among them.
fn connections(world: &World, database: &str) -> String {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND datname = '{database}'"
    );
    world.superuser().query(&sql).ok().value().unwrap()
}

/// A client that may see no error: it reads and writes, in transactions and not, and every now and
/// then it is another session. What it has written.
fn work(world: &World, writer: usize, over: &AtomicBool, steps: &AtomicU64) -> Vec<u64> {
    let tenant = writer % TENANTS;
    let mut client = world.session(tenant).unwrap();
    let mut written = Vec::new();
    for n in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        if n % 20 == 19 {
            client = world.session(tenant).unwrap();
        }
        assert!(read_word(&mut client, tenant, n, n % 2 == 0).is_some());
        let in_transaction = n % 3 == 0;
        if in_transaction {
            client.query("BEGIN").ok();
        }
        let insert = "INSERT INTO marks (writer, n) VALUES ($1, $2)";
        let values = [writer.to_string(), n.to_string()];
        let values = values.each_ref().map(|value| Some(value.as_str()));
        client.extended(insert, &values).ok();
        if in_transaction {
            client.query("COMMIT").ok();
        }
        written.push(n);
        steps.fetch_add(1, Ordering::Relaxed);
    }
    written
}

#[test]
fn a_restart_of_the_server_under_a_pause_is_no_error_for_anybody() {
    let world = world("transaction");
    let (over, steps) = (AtomicBool::new(false), AtomicU64::new(0));
    let written: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let (world, over, steps) = (&world, &over, &steps);
        let clients: Vec<_> = (0..30)
            .map(|writer| scope.spawn(move || work(world, writer, over, steps)))
            .collect();
        let ends = Over(over);
        for shutdown in ["fast", "immediate", "smart"] {
            let before = steps.load(Ordering::Relaxed);
            until("work", || steps.load(Ordering::Relaxed) > before + 100);
            assert_ordered(world, "/pause", PAUSED);
            until("end of all connections", || {
                connections(world, "postgres") == "0"
            });
            until("waiting clients", || {
                status(world, "world")["waiting_clients"].as_u64() == Some(30)
            });
            let waited = scope.spawn(|| {
                // What the server says to these is not known yet: they need a connection to log in.
                let zone = [("TimeZone", ["UTC", "GMT", "Zulu"][shutdown.len() % 3])];
                let mut client = session(world.address(), 7, &zone).unwrap();
                read_word(&mut client, 7, 1, true).is_some()
            });
            let steps_before = steps.load(Ordering::Relaxed);
            world.server().restart(shutdown);
            assert_eq!(steps.load(Ordering::Relaxed), steps_before);
            assert_ordered(world, "/resume", RESUMED);
            assert!(waited.join().unwrap());
        }
        let before = steps.load(Ordering::Relaxed);
        until("work", || steps.load(Ordering::Relaxed) > before + 100);
        drop(ends);
        clients.into_iter().map(|it| it.join().unwrap()).collect()
    });
    world.check_marks(&written);
}

#[test]
fn a_pause_waits_for_transactions_and_holds_the_rest() {
    let world = world("transaction");
    let mut open = world.session(1).unwrap();
    let mut other = world.session(2).unwrap();
    open.query("BEGIN").ok();
    assert!(read_word(&mut open, 1, 1, false).is_some());
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| order(&world, "/pause/world"));
        until("pause", || status(&world, "world")["state"] == "pausing");
        other.send_query("SELECT word || '2' FROM words");
        until("waiting", || {
            status(&world, "world")["waiting_clients"] == 1
        });
        // The other database goes on.
        assert_eq!(status(&world, "other")["state"], "running");
        // So does the transaction, for as long as it likes.
        assert!(read_word(&mut open, 1, 3, true).is_some());
        assert!(!pausing.is_finished());
        open.query("COMMIT").ok();
        assert_eq!(pausing.join().unwrap().0, 200);
    });
    assert_eq!(status(&world, "world")["state"], "paused");
    assert_eq!(
        world.metric("pgwarden_database_paused{database=\"world\"}"),
        1.0
    );
    assert_eq!(
        world.metric("pgwarden_database_paused{database=\"other\"}"),
        0.0
    );
    assert_eq!(world.metric("pgwarden_waiting_clients"), 1.0);
    assert_ordered(&world, "/resume/world", RESUMED);
    assert_eq!(other.reply().ok().value().as_deref(), Some("word-of-002.2"));
    assert_eq!(
        world.metric("pgwarden_database_paused{database=\"world\"}"),
        0.0
    );
    assert_eq!(world.metric("pgwarden_waiting_clients"), 0.0);
}

#[test]
fn in_session_mode_a_pause_waits_for_sessions() {
    let world = world("session");
    let mut client = world.session(1).unwrap();
    std::thread::scope(|scope| {
        let pausing = scope.spawn(|| order(&world, "/pause"));
        until("pause", || status(&world, "world")["state"] == "pausing");
        assert!(read_word(&mut client, 1, 1, true).is_some());
        let newcomer = scope.spawn(|| world.session(2).map(|_| ()));
        until("waiting", || {
            status(&world, "world")["waiting_clients"] == 1
        });
        drop(client);
        assert_eq!(pausing.join().unwrap().0, 200);
        until("end of all connections", || {
            connections(&world, "postgres") == "0"
        });
        world.server().restart("fast");
        assert_ordered(&world, "/resume", RESUMED);
        newcomer.join().unwrap().unwrap();
    });
}

#[test]
fn who_waits_longer_than_the_pause_timeout_is_told_so() {
    let world = World::start("transaction", |settings| {
        settings.pool.pause_timeout = Duration::from_millis(300);
    });
    let mut client = world.session(3).unwrap();
    assert_ordered(&world, "/pause", PAUSED);
    let reply = client.query("SELECT 1");
    assert_eq!((reply.code(), reply.status), ("08006", b'I'), "{reply:?}");
    let refused = session(world.address(), 3, &[("TimeZone", "UTC")]).unwrap_err();
    assert_eq!(refused.code(), "57P03");
    assert_ordered(&world, "/resume", RESUMED);
    assert!(read_word(&mut client, 3, 1, true).is_some());
}

/// Neither who waits for a connection nor who logs in is refused because of it.
#[test]
fn the_time_of_a_pause_counts_for_no_other_time_out() {
    const TIME_OUT: Duration = Duration::from_secs(4);
    let world = World::start("transaction", |settings| {
        settings.pool.checkout_timeout = TIME_OUT;
        settings.limits.handshake_timeout = TIME_OUT;
    });
    let mut client = world.session(1).unwrap();
    assert_ordered(&world, "/pause", PAUSED);
    client.send_query("SELECT word || '1' FROM words");
    std::thread::scope(|scope| {
        let newcomer = scope.spawn(|| session(world.address(), 2, &[("TimeZone", "UTC")]));
        until("waiting", || {
            status(&world, "world")["waiting_clients"] == 2
        });
        std::thread::sleep(TIME_OUT + Duration::from_secs(1));
        assert_ordered(&world, "/resume", RESUMED);
        assert!(newcomer.join().unwrap().is_ok());
    });
    let word = client.reply().ok().value();
    assert_eq!(word.as_deref(), Some("word-of-001.1"));
}

#[test]
fn what_changed_under_the_pause_is_known_to_the_first_statement() {
    let world = world("transaction");
    let mut client = world.session(4).unwrap();
    assert!(read_word(&mut client, 4, 1, true).is_some());
    assert_ordered(&world, "/pause", PAUSED);
    let mut admin = world.superuser();
    for sql in [
        // A view over everybody's words, in the place of a table that was scoped.
        "ALTER TABLE words RENAME TO all_words",
        "CREATE VIEW words AS SELECT org_id, word FROM all_words",
        &format!("GRANT SELECT ON all_words, words TO {ROLE}"),
        "CREATE TABLE notes (org_id uuid, note text)",
        &format!("GRANT SELECT ON notes TO {ROLE}"),
    ] {
        admin.query(sql).ok();
    }
    assert_ordered(&world, "/resume", RESUMED);
    let reply = client.query("SELECT count(*) FROM notes").ok();
    assert_eq!(reply.value().as_deref(), Some("0"));
    let reply = client.query("SELECT count(*) FROM words");
    assert!(
        reply.denied().is_some() || reply.value().as_deref() == Some("1"),
        "{reply:?}"
    );
}

#[test]
fn a_server_that_is_down_is_not_resumed() {
    let world = world("transaction");
    let mut client = world.session(5).unwrap();
    assert_ordered(&world, "/pause", PAUSED);
    world.server().stop("smart");
    client.send_query("SELECT word || '1' FROM words");
    let (code, body) = order(&world, "/resume");
    assert_eq!(code, 503);
    assert!(body.contains("world: still paused: "), "{body}");
    assert_eq!(status(&world, "world")["state"], "paused");
    world.server().start_again();
    assert_ordered(&world, "/resume", RESUMED);
    assert_eq!(
        client.reply().ok().value().as_deref(),
        Some("word-of-005.1")
    );
}

#[test]
fn orders_are_posted_and_not_by_web_pages() {
    let world = world("transaction");
    let at = admin(&world);
    assert_eq!(request(at, "GET", "/pause", "").0, 405);
    assert_eq!(
        request(at, "POST", "/pause", "origin: https://evil.example\r\n").0,
        403
    );
    assert_eq!(
        request(at, "POST", "/pause", "sec-fetch-site: same-site\r\n").0,
        403
    );
    assert_eq!(post(at, "/pause/nobody's").0, 404);
    assert_eq!(post(at, "/pause/%ff").0, 404);
    assert_eq!(status(&world, "world")["state"], "running");
    // Twice is once.
    for path in ["/resume", "/pause", "/pause", "/resume/wor%6cd", "/resume"] {
        assert_eq!(post(at, path).0, 200, "{path}");
    }
    let mut client: Client = world.session(6).unwrap();
    assert!(read_word(&mut client, 6, 1, false).is_some());
}

/// Orders that wait for clients, and requests that never end, take all places of the admin server.
#[test]
fn resume_is_heard_behind_many_orders_that_wait() {
    let world = world("transaction");
    let mut busy = world.session(0).unwrap();
    busy.query("BEGIN").ok();
    assert!(read_word(&mut busy, 0, 0, true).is_some());
    let send = |text: &str| {
        let mut stream = TcpStream::connect(admin(&world)).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream
    };
    let orders: Vec<_> = (0..40)
        .map(|_| send("POST /pause HTTP/1.1\r\nhost: x\r\n\r\n"))
        .collect();
    until("the pause", || {
        status(&world, "world")["state"] == "pausing"
    });
    let halves: Vec<_> = (0..40).map(|_| send("GET /livez HTTP/1.1\r\n")).collect();
    assert_ordered(&world, "/resume", RESUMED);
    assert_eq!(get(admin(&world), "/livez").0, 200);
    assert!(read_word(&mut busy, 0, 1, true).is_some());
    busy.query("COMMIT").ok();
    drop((orders, halves));
}
