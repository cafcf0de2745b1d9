//! The memory of a process whose clients send and ask for a lot, slowly or many at once: bounded,
//! and given back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod process;

use std::time::Duration;

use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::patience::until;
use pgwarden_tests::wire::{Client, frame, parse_body, tags};
use pgwarden_tests::world::{World, read_word, session};
use process::{Files, Process};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MIB: usize = 1 << 20;

/// What large data may cost beyond a process that serves small ones.
const GROWTH_MAX: usize = 64 * MIB;

/// A world with a table for much data, into which a row takes its time.
fn world() -> World {
    let world = World::start("transaction", |_| {});
    let mut admin = world.superuser();
    for sql in [
        "CREATE TABLE bulk (org_id uuid NOT NULL, n int NOT NULL, body text NOT NULL)",
        &format!("GRANT SELECT, INSERT ON bulk TO {ROLE}"),
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS          $$BEGIN PERFORM pg_catalog.pg_sleep(0.005); RETURN NEW; END$$",
        "CREATE TRIGGER slow BEFORE INSERT ON bulk FOR EACH ROW EXECUTE FUNCTION slow()",
    ] {
        admin.query(sql).ok();
    }
    world
}

fn serve(world: &World, change: impl FnOnce(String) -> String) -> (Files, Process) {
    let files = Files::new(world, "transaction", change);
    let process = files.serve().ready();
    let mut client = session(files.address, 1, &[]).unwrap();
    assert!(read_word(&mut client, 1, 1, true).is_some());
    (files, process)
}

fn unchanged(settings: String) -> String {
    settings
}

fn given(name: &str, default: usize) -> usize {
    let given = std::env::var(name).ok();
    given.map_or(default, |given| given.parse().unwrap())
}

/// Says the figure, for who writes it down, and checks it.
fn check_growth(what: &str, process: &Process, before: usize, most: usize) {
    let growth = process.peak_memory().saturating_sub(before);
    eprintln!(
        "{what}: {} KiB more than {} KiB",
        growth >> 10,
        before >> 10
    );
    assert!(growth < most, "{what} took {growth} bytes");
}

/// Reads the rows of a large result, and gives how many bytes their data has.
fn read_rows(client: &mut Client) -> usize {
    // Looking for the words of other tenants takes longer than all the rest.
    client.forbid(&[]);
    let mut bytes = 0;
    loop {
        let message = client.read().unwrap();
        match message.tag {
            b'D' | b'd' => bytes += message.body.len(),
            b'E' => panic!("{:?}", message.error()),
            b'Z' => return bytes,
            _ => {}
        }
    }
}

#[test]
fn results_of_any_size_for_slow_readers() {
    let world = world();
    let (files, process) = serve(&world, unchanged);
    let megabytes = given("PGWARDEN_RESULT_MB", 200);
    for sql in [
        format!("SELECT repeat('x', {MIB}) FROM generate_series(1, {megabytes})"),
        format!("SELECT repeat('x', {})", megabytes.min(400) * MIB),
        format!(
            "SELECT repeat('x', 100) FROM generate_series(1, {})",
            megabytes * 5_000
        ),
        format!("COPY (SELECT repeat('x', {MIB}) FROM generate_series(1, {megabytes})) TO STDOUT"),
    ] {
        let before = process.start_of_peak();
        let mut client = session(files.address, 1, &[]).unwrap();
        client.send_query(&sql);
        // Nothing is read while the server would have sent it all.
        std::thread::sleep(Duration::from_millis(700));
        let bytes = read_rows(&mut client);
        assert!(bytes >= megabytes * 100_000, "{bytes}");
        check_growth(
            &format!("slow reader of {megabytes} MB"),
            &process,
            before,
            GROWTH_MAX,
        );
    }
    let before = process.start_of_peak();
    let mut readers: Vec<Client> = (0..10)
        .map(|tenant| session(files.address, tenant, &[]).unwrap())
        .collect();
    for client in &mut readers {
        client.send_query(&format!(
            "SELECT repeat('x', {MIB}) FROM generate_series(1, 100)"
        ));
    }
    std::thread::sleep(Duration::from_millis(700));
    check_growth("ten that read nothing", &process, before, GROWTH_MAX);
}

#[test]
fn a_parameter_of_100_mb() {
    let world = world();
    let (files, process) = serve(&world, |settings| {
        settings + "[limits]\nmessage_bytes = \"128MiB\"\n"
    });
    let before = process.start_of_peak();
    let mut client = session(files.address, 1, &[]).unwrap();
    let value = "x".repeat(100_000_000);
    let reply = client.extended("SELECT length($1)", &[Some(&value)]).ok();
    assert_eq!(reply.value().as_deref(), Some("100000000"));
    // The message as it came (its buffer grows by doubling), and on its way to the server.
    check_growth("a parameter of 100 MB", &process, before, 400 * MIB);
    assert!(read_word(&mut client, 1, 1, true).is_some());
    let before_next = process.start_of_peak();
    check_growth("after it", &process, before.min(before_next), GROWTH_MAX);
}

#[test]
fn a_message_that_is_too_long_is_not_even_read() {
    let world = world();
    let (files, process) = serve(&world, unchanged);
    let before = process.start_of_peak();
    let mut client = session(files.address, 1, &[]).unwrap();
    let length = u32::try_from(100 * MIB).unwrap();
    client.send_bytes(&[&b"B"[..], &length.to_be_bytes(), b"\0\0"].concat());
    let said = client.read_to_end();
    let error = said.iter().find(|message| message.tag == b'E').unwrap();
    assert_eq!(error.error().code(), "53400");
    check_growth("a message that is too long", &process, before, 16 * MIB);
}

/// Each of them may send its message, all of them together may not.
#[test]
fn messages_of_many_clients_at_once() {
    const LIMITS: &str = "[limits]\nmessage_bytes = \"16MiB\"\ntotal_message_bytes = \"64MiB\"\n";
    let world = world();
    let (files, process) = serve(&world, |settings| settings + LIMITS);
    let mut beside = session(files.address, 2, &[]).unwrap();
    assert!(read_word(&mut beside, 2, 1, true).is_some());
    let before = process.start_of_peak();
    let length = u32::try_from(15 * MIB).unwrap();
    let most_of_it = [&b"B"[..], &length.to_be_bytes(), &vec![b'x'; 15 * MIB - 8]].concat();
    let mut told = 0;
    let mut goes_on = |client: &mut Client| {
        client.timed_out = false;
        client.set_timeout(Duration::from_millis(300));
        let said = client.read_to_end();
        let errors = said.iter().filter(|message| message.tag == b'E');
        told += errors.filter(|it| it.error().code() == "53400").count();
        client.timed_out
    };
    let mut waiting = Vec::new();
    for _ in 0..30 {
        let mut client = session(files.address, 1, &[]).unwrap();
        client.send_bytes(&most_of_it);
        if goes_on(&mut client) {
            waiting.push(client);
        }
    }
    // A busy machine may be slow to tell the others.
    until("word to all but five", || {
        waiting.len() <= 5 || {
            waiting.retain_mut(&mut goes_on);
            waiting.len() <= 5
        }
    });
    assert!(told > 0 && !waiting.is_empty(), "{told}, {}", waiting.len());
    assert!(process.metric("pgwarden_message_bytes") > 8.0 * 1024.0 * 1024.0);
    check_growth("messages of thirty clients", &process, before, 100 * MIB);
    // Who sends little does not notice, and what is given back is there for others.
    assert!(read_word(&mut beside, 2, 2, true).is_some());
    drop(waiting);
    until("it is given back", || {
        process.metric("pgwarden_message_bytes") == 0.0
    });
    let value = "x".repeat(15 * MIB);
    let reply = beside.extended("SELECT length($1)", &[Some(&value)]).ok();
    assert_eq!(reply.value(), Some(value.len().to_string()));
    until("it is given back", || {
        process.metric("pgwarden_message_bytes") == 0.0
    });
}

#[test]
fn a_copy_of_100_mb_into_a_slow_server() {
    let world = world();
    let (files, process) = serve(&world, unchanged);
    for (columns, megabytes) in [("(n, body)", 100), ("(body, n)", 20)] {
        let before = process.start_of_peak();
        let mut client = session(files.address, 1, &[]).unwrap();
        client.send_query(&format!("COPY bulk {columns} FROM STDIN"));
        assert_eq!(client.read().unwrap().tag, b'G');
        let body = "x".repeat(MIB);
        let row = match columns {
            "(n, body)" => format!("1\t{body}\n"),
            _ => format!("{body}\t1\n"),
        };
        for _ in 0..megabytes {
            for chunk in row.as_bytes().chunks(64 << 10) {
                client.send_bytes(&frame(b'd', chunk));
            }
        }
        client.send(b'c', &[]);
        let copied = client.reply().ok().results[0].tag.clone();
        assert_eq!(copied, Some(format!("COPY {megabytes}")));
        check_growth("COPY into a slow server", &process, before, GROWTH_MAX);
    }
}

/// What the server keeps back, or has not come to, is remembered in the proxy.
#[test]
fn messages_that_nobody_waits_for() {
    let world = world();
    let (files, process) = serve(&world, unchanged);
    let mut client = session(files.address, 1, &[]).unwrap();
    let before = process.start_of_peak();
    let text = format!("SELECT '{}'", "x".repeat(MIB / 2));
    for _ in 0..200 {
        client.send(b'P', &parse_body("", &text, &[]));
    }
    client.send(b'S', &[]);
    assert_eq!(tags(&client.messages()), "1".repeat(200) + "Z");
    check_growth("Parse messages", &process, before, 24 * MIB);
    let before = process.start_of_peak();
    let many = 200_000;
    client.send_bytes(&frame(b'S', &[]).repeat(many));
    for _ in 0..many {
        client.messages();
    }
    check_growth("Sync messages", &process, before, 24 * MIB);
    assert!(read_word(&mut client, 1, 1, true).is_some());
    // What is held up so far is answered in its order, errors and what they skip included.
    let parse = |sql: &str| frame(b'P', &parse_body("", sql, &[]));
    let good = parse("SELECT 1").repeat(20_000);
    let bad = [parse("SELEC 1"), parse("SELECT 1").repeat(20_000)].concat();
    client.send_bytes(&[good, bad, frame(b'S', &[])].concat());
    assert_eq!(tags(&client.messages()), "1".repeat(20_000) + "EZ");
    assert!(read_word(&mut client, 1, 2, false).is_some());
}

#[test]
fn idle_clients() {
    let clients = given("PGWARDEN_IDLE_CLIENTS", 1500);
    let limit = getrlimit(Resource::Nofile);
    let current = limit.maximum;
    setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
    let most = limit
        .maximum
        .map_or(usize::MAX, |most| usize::try_from(most).unwrap());
    let clients = clients.min(most - 200);
    let world = world();
    let (files, process) = serve(&world, |settings| {
        format!(
            "{settings}[limits]\nclient_connections = {}\n",
            clients + 10
        )
    });
    let before = process.start_of_peak();
    let mut idle = Vec::new();
    for n in 0..clients {
        let mut client = session(files.address, n % 20, &[]).unwrap();
        assert!(read_word(&mut client, n % 20, 1, n % 2 == 0).is_some());
        idle.push(client);
    }
    let each = process.memory().saturating_sub(before) / clients;
    eprintln!("{clients} idle clients: {each} bytes each");
    assert!(each <= 16 << 10, "{each} bytes for each");
    // They are still served.
    for (n, client) in idle.iter_mut().enumerate().step_by(100) {
        assert!(read_word(client, n % 20, 2, true).is_some());
    }
}
