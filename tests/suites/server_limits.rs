//! Clients that take more than their share, or leave in the middle of something: what they are told,
//! and that nothing of theirs stays behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;
use std::time::Duration;

use pgwarden_config::settings::{ListenerTls, Settings};
use pgwarden_tests::certificates::certificates;
use pgwarden_tests::patience::{until, until_some};
use pgwarden_tests::wire::{Client, bind_body, cancel, parse_body};
use pgwarden_tests::world::{World, read_word, token};

fn with_one_connection(mode: &str, change: impl FnOnce(&mut Settings)) -> World {
    World::start(mode, |settings| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
        change(settings);
    })
}

fn active(world: &World) -> f64 {
    world.metric("pgwarden_server_connections{state=\"active\"}")
}

/// The SQLSTATE that a login with this token ends with.
fn refused(world: &World, token: &str) -> String {
    let login = Client::connect(world.address(), "anyone", "world", &[], Some(token));
    login.unwrap_err().code().to_owned()
}

#[test]
fn an_address_that_guesses_tokens_is_told_53300() {
    let world = World::start("transaction", |settings| {
        // What is too much is so for half a minute.
        settings.limits.failed_logins_per_minute = 2;
    });
    let mut before = world.session(1).unwrap();
    for _ in 0..2 {
        assert_eq!(refused(&world, "not a token"), "28P01");
    }
    // The next may be the one that is too much; the ones after it are.
    refused(&world, "not a token");
    for _ in 0..3 {
        assert_eq!(refused(&world, "not a token"), "53300");
    }
    let error = world.session(1).unwrap_err();
    assert_eq!(error.code(), "53300");
    assert!(error.message().contains("from this address"), "{error:?}");
    assert_eq!(
        world.metric("pgwarden_auth_total{outcome=\"too_many\"}"),
        4.0
    );
    // Who is in stays in, and may cancel.
    before.send_query("SELECT count(*) FROM generate_series(1, 100000000)");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
        AND usename <> 'postgres' AND query LIKE '%generate_series%'";
    until("the statement", || {
        world.superuser().query(running).value().as_deref() == Some("1")
    });
    cancel(world.address(), &before.key);
    assert_eq!(before.reply().code(), "57014");
    assert!(read_word(&mut before, 1, 1, true).is_some());
}

#[test]
fn an_address_that_holds_handshakes_open_is_told_53300() {
    let world = World::start("transaction", |settings| {
        settings.limits.handshakes_per_address = 5;
    });
    let mut sessions: Vec<Client> = (0..10).map(|it| world.session(it).unwrap()).collect();
    let silent: Vec<Client> = (0..5)
        .map(|_| Client::raw(world.address()).unwrap())
        .collect();
    until("silent clients", || {
        world.metric("pgwarden_client_connections") == 15.0
    });
    assert_eq!(world.session(1).unwrap_err().code(), "53300");
    for (tenant, client) in sessions.iter_mut().enumerate() {
        assert!(read_word(client, tenant, 1, true).is_some());
    }
    drop(silent);
    until("a place", || world.session(1).is_ok());
}

fn tls(directory: &Path) -> ListenerTls {
    ListenerTls {
        required: false,
        ..certificates(directory, "authority").listener
    }
}

#[test]
fn a_handshake_that_never_ends_is_ended() {
    const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
    // The head of a record with a ClientHello of 512 bytes, and its first bytes.
    const HALF_HELLO: &[u8] = &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let directory = tempfile::tempdir().unwrap();
    let world = World::start("transaction", |settings| {
        settings.limits.handshake_timeout = Duration::from_millis(300);
        settings.listen[0].tls = Some(tls(directory.path()));
    });
    let half_startup = b"\0\0\0\x30\0\x03\0\0user\0";
    let mut waiting = Vec::new();
    for (asks, then) in [
        (true, &b""[..]),
        (true, HALF_HELLO),
        (false, &[0x16][..]),
        (false, HALF_HELLO),
        (false, half_startup),
        (false, b""),
    ] {
        let mut client = Client::raw(world.address()).unwrap();
        if asks {
            client.send_bytes(SSL_REQUEST);
            // On a busy machine it may have been ended already.
            let answer = client.read_byte();
            assert!(answer.is_err() || answer.is_ok_and(|byte| byte == b'S'));
        }
        client.send_bytes(then);
        waiting.push(client);
    }
    // One that sends a byte now and then takes no longer.
    let mut slow = Client::raw(world.address()).unwrap();
    for byte in half_startup {
        slow.send_bytes(&[*byte]);
        std::thread::sleep(Duration::from_millis(50));
    }
    waiting.push(slow);
    for client in &mut waiting {
        client.read_to_end();
        assert!(!client.timed_out);
    }
    until("the end of all connections", || {
        world.metric("pgwarden_client_connections") == 0.0
    });
    // A session that has logged in is not hurried. On a busy machine a login may take too long.
    let mut client = until_some("a session", || world.session(1).ok());
    std::thread::sleep(Duration::from_millis(500));
    assert!(read_word(&mut client, 1, 1, true).is_some());
}

/// Things to be in the middle of when the client is no more.
const MIDDLES: [&str; 6] = [
    "a transaction",
    "a pipeline",
    "a long statement",
    "a message",
    "COPY FROM",
    "COPY TO",
];

/// Brings a client there. It has written mark `n` in a transaction that is open.
fn begin(client: &mut Client, middle: &str, n: usize) {
    client.query("BEGIN").ok();
    let insert = format!("INSERT INTO marks (writer, n) VALUES (1, {n})");
    client.query(&insert).ok();
    match middle {
        "a pipeline" => {
            client.send(b'P', &parse_body("", "SELECT 1", &[]));
            client.send(b'B', &bind_body("", "", &[], &[], &[]));
        }
        "a long statement" => {
            client.send_query("SELECT count(*) FROM generate_series(1, 100000000)");
        }
        "a message" => client.send_bytes(b"Q\0\0\x10\0SELECT"),
        "COPY FROM" => {
            client.send_query("COPY marks (writer, n) FROM STDIN");
            assert_eq!(client.read().unwrap().tag, b'G');
            client.send(b'd', b"1\t1000\n1\t10");
        }
        "COPY TO" => {
            client.send_query(
                "COPY (SELECT repeat('x', 1000000) FROM generate_series(1, 100)) TO STDOUT",
            );
            assert_eq!(client.read().unwrap().tag, b'H');
        }
        _ => {}
    }
}

#[test]
fn of_a_client_that_dies_in_the_middle_nothing_is_left() {
    for mode in ["transaction", "session"] {
        let world = with_one_connection(mode, |_| {});
        for (n, middle) in MIDDLES.iter().enumerate() {
            let mut client = world.session(1).unwrap();
            begin(&mut client, middle, n);
            drop(client);
            // The pool has one connection: nobody else gets in before it is free.
            let mut next = world.session(2).unwrap();
            assert!(
                read_word(&mut next, 2, 1, true).is_some(),
                "{mode}: {middle}"
            );
            drop(next);
            until("a free connection", || active(&world) == 0.0);
        }
        let marks = world.superuser().query("SELECT count(*) FROM marks");
        assert_eq!(marks.ok().value().as_deref(), Some("0"), "{mode}");
    }
}

/// Most clients read only when they have sent their message: by then the proxy has long stopped listening.
#[test]
fn a_client_that_sends_too_much_is_told_so_when_it_has_sent_it() {
    for mode in ["transaction", "session"] {
        let world = World::start(mode, |settings| settings.limits.message_bytes = 1 << 20);
        for _ in 0..8 {
            let mut client = world.session(1).unwrap();
            client.send(b'Q', &vec![b' '; 8 << 20]);
            let told = client.read_to_end();
            let codes: Vec<_> = told.iter().map(|it| it.error().code().to_owned()).collect();
            assert_eq!(codes, ["53400"], "{mode}");
        }
        until("a free connection", || active(&world) == 0.0);
        let reply = world.session(2).unwrap().query("SELECT 1").ok();
        assert_eq!(reply.value().as_deref(), Some("1"), "{mode}");
    }
}

#[test]
fn a_client_that_sends_no_more_gets_its_answers_and_leaves_nothing() {
    for mode in ["transaction", "session"] {
        let world = World::start(mode, |_| {});
        // Asked before the end: answered.
        let mut client = world.session(3).unwrap();
        let long = "(SELECT count(*) FROM generate_series(1, 300000)) > 0";
        client.send_query(&format!("SELECT word || '7' FROM words WHERE {long}"));
        client.close_write();
        let reply = client.reply().ok();
        assert_eq!(reply.value().as_deref(), Some("word-of-003.7"), "{mode}");
        client.read_to_end();
        // Idle, or in the middle of something: over, for what is owed after some seconds.
        let mut clients = vec![("nothing", world.session(3).unwrap())];
        for (n, middle) in MIDDLES.iter().enumerate() {
            let mut client = world.session(3).unwrap();
            begin(&mut client, middle, n);
            clients.push((middle, client));
        }
        for (_, client) in &mut clients {
            client.close_write();
        }
        for (middle, client) in &mut clients {
            client.read_to_end();
            assert!(!client.timed_out, "{mode}: {middle}");
        }
        until("a free connection", || active(&world) == 0.0);
        let marks = world.superuser().query("SELECT count(*) FROM marks");
        assert_eq!(marks.ok().value().as_deref(), Some("0"), "{mode}");
    }
}

#[test]
fn who_leaves_while_it_waits_gives_its_place_up() {
    for mode in ["transaction", "session"] {
        let world = with_one_connection(mode, |_| {});
        let waiting = || world.metric("pgwarden_waiting_clients");
        let mut holder = world.session(1).unwrap();
        holder.query("BEGIN").ok();
        assert!(read_word(&mut holder, 1, 1, true).is_some());
        let newcomers: Vec<Client> = (0..3)
            .map(|_| {
                let mut client = Client::raw(world.address()).unwrap();
                // What the server says to this is not known: it takes a connection to log in.
                let parameters = [("user", "a"), ("database", "world"), ("TimeZone", "UTC")];
                client.send_startup(&parameters);
                assert_eq!(client.read().unwrap().tag, b'R');
                client.send(b'p', &[token(2).as_bytes(), b"\0"].concat());
                client
            })
            .collect();
        until("waiting", || waiting() == 3.0);
        drop(newcomers);
        until("end of the waiting", || waiting() == 0.0);
        holder.query("COMMIT").ok();
    }
}

#[test]
fn statements_that_nobody_closes_are_refused_in_the_end() {
    for mode in ["transaction", "session"] {
        let world = with_one_connection(mode, |_| {});
        let mut client = world.session(1).unwrap();
        let text = format!("SELECT length('{}')", "x".repeat(900 << 10));
        let mut prepare = |name: &str| {
            client.send(b'P', &parse_body(name, &text, &[]));
            client.send(b'S', b"");
            let messages = client.messages();
            let error = messages.iter().find(|message| message.tag == b'E');
            error.map(|error| error.error().code().to_owned())
        };
        // 32 MiB are held of a session.
        let refused = (0..60).find_map(|at| Some((at, prepare(&format!("s{at}"))?)));
        let (at, code) = refused.expect("there is an end");
        assert_eq!(code, "53400", "{mode}");
        assert!(at > 30, "{mode}: {at}");
        // The unnamed one, and others' sessions, are not concerned; a name that is given up is room.
        assert_eq!(prepare(""), None, "{mode}");
        client.query("DEALLOCATE s0").ok();
        client.send(b'P', &parse_body("t", "SELECT 1", &[]));
        client.send(b'S', b"");
        let messages = client.messages();
        assert!(messages.iter().all(|message| message.tag != b'E'), "{mode}");
    }
}
