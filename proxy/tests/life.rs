//! A process under load from its start to its end: it is replaced without a refused client, reloaded
//! without a failed statement, and drained without a lost write.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod process;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pgwarden_tests::patience::{Over, until};
use pgwarden_tests::server::free_address;
use pgwarden_tests::wire::{Client, Reply};
use pgwarden_tests::world::{POLICY, TENANTS, World, read_word, session};
use process::{Files, Process};
use rustix::process::Signal;
use socket2::SockRef;

/// How often a process is replaced.
const TIMES: u64 = 10;

/// What clients do while something is done to the process.
#[derive(Default)]
struct Load {
    over: AtomicBool,
    steps: AtomicU64,
}

impl Load {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    fn step(&self) {
        self.steps.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits for so many more steps.
    fn more(&self, steps: u64) {
        let before = self.steps.load(Ordering::Relaxed);
        until("steps", || {
            self.steps.load(Ordering::Relaxed) >= before + steps
        });
    }
}

fn write(client: &mut Client, writer: usize, n: u64) -> Reply {
    let values = [writer.to_string(), n.to_string()];
    let values = values.each_ref().map(|value| Some(value.as_str()));
    client.extended("INSERT INTO marks (writer, n) VALUES ($1, $2)", &values)
}

/// Connects, asks, writes, and leaves, again and again; every step of it must go well. What it has
/// written.
fn come_and_go(address: SocketAddr, writer: usize, load: &Load) -> Vec<u64> {
    let tenant = writer % TENANTS;
    let mut written = Vec::new();
    while !load.is_over() {
        let client = session(address, tenant, &[]);
        let mut client = client.unwrap_or_else(|error| panic!("not let in: {error:?}"));
        for _ in 0..3 {
            let n = u64::try_from(written.len()).unwrap();
            assert!(read_word(&mut client, tenant, n, n % 2 == 0).is_some());
            write(&mut client, writer, n).ok();
            written.push(n);
        }
        load.step();
    }
    written
}

/// Knocks at the door as often as it can; somebody must always answer. It is the crowd in the queue
/// of the socket that is closed.
fn knock(address: SocketAddr, load: &Load) {
    const SSL_REQUEST: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];
    while !load.is_over() {
        let mut client = TcpStream::connect(address).unwrap();
        client.write_all(SSL_REQUEST).unwrap();
        let mut answer = [0];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, *b"N");
        // Ports are not held for a minute by connections that have ended.
        SockRef::from(&client)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }
}

/// Replaces the process again and again while clients come and go.
fn replace(world: &World, address: SocketAddr, start: impl Fn() -> Process) {
    let load = Load::default();
    let written: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let load = &load;
        let mut current = start().ready();
        let clients: Vec<_> = (0..6)
            .map(|writer| scope.spawn(move || come_and_go(address, writer, load)))
            .collect();
        let crowd: Vec<_> = (0..6)
            .map(|_| scope.spawn(move || knock(address, load)))
            .collect();
        let over = Over(&load.over);
        for _ in 0..TIMES {
            load.more(20);
            let next = start().ready();
            std::mem::replace(&mut current, next).terminate();
        }
        load.more(20);
        drop(over);
        crowd.into_iter().for_each(|it| it.join().unwrap());
        let written = clients.into_iter().map(|it| it.join().unwrap()).collect();
        current.terminate();
        written
    });
    world.check_marks(&written);
}

#[test]
fn a_process_beside_another_takes_over_without_a_refused_client() {
    let world = World::start("transaction", |_| {});
    let files = Files::new(&world, "transaction", |settings| {
        settings.replacen("[[listen]]\n", "[[listen]]\nreuse_port = true\n", 1)
    });
    replace(&world, files.address, || files.serve());
}

#[test]
fn a_process_with_the_same_socket_takes_over_without_a_refused_client() {
    let world = World::start("transaction", |_| {});
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let files = Files::at(address, &world, "transaction", |settings| settings);
    replace(&world, address, || files.serve_with(&socket));
    // Nobody serves it now: a client waits in the queue, and is not refused.
    let mut early = Client::raw(address).unwrap();
    let process = files.serve_with(&socket).ready();
    early.send_startup(&[("user", "anyone"), ("database", "world")]);
    assert_eq!(early.read().unwrap().tag, b'R');
    drop(early);
    process.terminate();
}

#[test]
fn who_is_at_work_goes_on_while_another_process_takes_over() {
    let world = World::start("transaction", |_| {});
    let files = Files::new(&world, "transaction", |settings| {
        settings.replacen("[[listen]]\n", "[[listen]]\nreuse_port = true\n", 1)
    });
    let process = files.serve().ready();
    let mut idle = session(files.address, 1, &[]).unwrap();
    let mut at_work = session(files.address, 2, &[]).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = scope.spawn(|| process.terminate());
        let working = scope.spawn(|| {
            let mut n = 0;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                assert!(read_word(&mut at_work, 2, n, true).is_some());
            }
            drop(at_work);
        });
        let ends = Over(&over);
        let said = idle.read_to_end();
        let error = said.iter().find(|message| message.tag == b'E');
        assert_eq!(error.unwrap().error().code(), "57P01");
        std::thread::sleep(Duration::from_millis(500));
        assert!(!ending.is_finished());
        drop(ends);
        working.join().unwrap();
        ending.join().unwrap();
    });
}

#[test]
fn a_socket_that_no_listener_asks_for_is_an_error() {
    let world = World::start("transaction", |_| {});
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let files = Files::at(free_address(), &world, "transaction", |settings| settings);
    let (status, said) = files.serve_with(&socket).end();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("was passed in"), "{said}");
}

#[test]
fn a_taken_address_without_reuse_port_is_an_error() {
    let world = World::start("transaction", |_| {});
    let files = Files::new(&world, "transaction", |settings| settings);
    let _first = files.serve().ready();
    let (status, said) = files.serve().end();
    assert_eq!(status.code(), Some(2));
    assert!(said.contains("can't listen on"), "{said}");
}

/// A statement that was sent at some time, and its answer at another.
struct Answer {
    sent: Instant,
    read: Instant,
    denied: bool,
}

/// Writes without a pause. Denials are noted, anything else that is not written fails.
fn write_on(address: SocketAddr, writer: usize, load: &Load) -> Vec<Answer> {
    let mut client = session(address, writer % TENANTS, &[]).unwrap();
    let mut answers = Vec::new();
    while !load.is_over() {
        let n = u64::try_from(answers.len()).unwrap();
        let in_transaction = n % 5 == 0;
        if in_transaction {
            client.query("BEGIN").ok();
        }
        let sent = Instant::now();
        let reply = write(&mut client, writer, n);
        let read = Instant::now();
        let denied = match reply.denied() {
            None => {
                reply.ok();
                false
            }
            Some(reason) => {
                assert_eq!(reason, "missing_value");
                true
            }
        };
        if in_transaction {
            client.query("COMMIT").ok();
        }
        answers.push(Answer { sent, read, denied });
        load.step();
    }
    answers
}

/// Has it read its files again; from when to when.
fn reload(process: &Process) -> (Instant, Instant) {
    let count = "pgwarden_policy_reloads_total{outcome=\"ok\"}";
    let before = process.metric(count);
    let began = Instant::now();
    process.signal(Signal::HUP);
    until("reload", || process.metric(count) > before);
    (began, Instant::now())
}

#[test]
fn reloads_under_load_fail_no_statement_and_take_effect_at_once() {
    for mode in ["transaction", "session"] {
        let world = World::start(mode, |_| {});
        let files = Files::new(&world, mode, |settings| settings);
        let process = files.serve().ready();
        let load = Load::default();
        let (answers, changes) = std::thread::scope(|scope| {
            let (load, address) = (&load, files.address);
            let clients: Vec<_> = (0..6)
                .map(|writer| scope.spawn(move || write_on(address, writer, load)))
                .collect();
            let over = Over(&load.over);
            for _ in 0..10 {
                load.more(20);
                reload(&process);
            }
            // A broken file changes nothing.
            files.write_policy("version = 2\n");
            process.signal(Signal::HUP);
            until("refused reload", || {
                process.metric("pgwarden_policy_reloads_total{outcome=\"failed\"}") == 1.0
            });
            let mut changes = Vec::new();
            for round in 0..6 {
                load.more(50);
                let rejects = "[defaults]\nmissing_value = \"reject\"\n";
                let rejecting = POLICY.replacen("[defaults]\n", rejects, 1);
                files.write_policy(if round % 2 == 0 { &rejecting } else { POLICY });
                changes.push(reload(&process));
            }
            load.more(50);
            drop(over);
            let answers: Vec<Vec<Answer>> =
                clients.into_iter().map(|it| it.join().unwrap()).collect();
            (answers, changes)
        });
        check_verdicts(answers.iter().flatten(), &changes);
        let written: Vec<Vec<u64>> = answers.iter().map(|it| acknowledged(it)).collect();
        world.check_marks(&written);
        process.terminate();
    }
}

fn acknowledged(answers: &[Answer]) -> Vec<u64> {
    let numbered = (0..).zip(answers);
    let written = numbered.filter(|(_, answer)| !answer.denied);
    written.map(|(n, _)| n).collect()
}

/// Who was answered before a change goes by the old policy, who asked after it by the new one: every
/// other change begins to deny.
fn check_verdicts<'a>(answers: impl Iterator<Item = &'a Answer>, changes: &[(Instant, Instant)]) {
    let (mut passed, mut denied) = (0, 0);
    for answer in answers {
        let done = changes
            .iter()
            .filter(|(_, end)| *end <= answer.sent)
            .count();
        let begun = changes
            .iter()
            .filter(|(began, _)| *began <= answer.read)
            .count();
        if done != begun {
            continue;
        }
        assert_eq!(answer.denied, done % 2 == 1, "after {done} changes");
        *(if answer.denied {
            &mut denied
        } else {
            &mut passed
        }) += 1;
    }
    assert!(
        passed > 100 && denied > 100,
        "{passed} passed, {denied} denied"
    );
}

#[test]
fn a_drain_under_load_finishes_transactions_and_loses_no_write() {
    for mode in ["transaction", "session"] {
        let world = World::start(mode, |_| {});
        let files = Files::new(&world, mode, |settings| settings);
        let process = files.serve().ready();
        let load = Load::default();
        let written: Vec<Vec<u64>> = std::thread::scope(|scope| {
            let (load, address) = (&load, files.address);
            let clients: Vec<_> = (0..8)
                .map(|writer| scope.spawn(move || write_until_the_end(address, writer, load)))
                .collect();
            load.more(100);
            process.terminate();
            clients.into_iter().map(|it| it.join().unwrap()).collect()
        });
        world.check_marks(&written);
    }
}

/// Writes in transactions until the process ends the session, which it may do only between two.
fn write_until_the_end(address: SocketAddr, writer: usize, load: &Load) -> Vec<u64> {
    let mut client = session(address, writer % TENANTS, &[]).unwrap();
    let mut written = Vec::new();
    loop {
        let n = u64::try_from(written.len()).unwrap();
        let begun = client.query("BEGIN");
        if begun.status == 0 {
            // The end may have crossed the statement on its way.
            assert!(["57P01", ""].contains(&begun.code()), "{begun:?}");
            return written;
        }
        begun.ok();
        write(&mut client, writer, n).ok();
        std::thread::sleep(Duration::from_millis(2));
        assert!(read_word(&mut client, writer % TENANTS, n, true).is_some());
        client.query("COMMIT").ok();
        written.push(n);
        load.step();
    }
}

/// A lone session looks for the next bytes before it sleeps (`limits.busy_poll`): for a while, not for ever.
#[test]
fn a_process_with_a_lone_session_comes_to_rest() {
    for mode in ["session", "transaction"] {
        let world = World::start(mode, |_| {});
        let looks = |settings| format!("{settings}\n[limits]\nbusy_poll = \"10ms\"\n");
        let files = Files::new(&world, mode, looks);
        let process = files.serve().ready();
        let mut client = session(files.address, 1, &[]).unwrap();
        for n in 0..100 {
            assert!(read_word(&mut client, 1, n, n % 2 == 0).is_some());
        }
        let mut asleep = 0;
        until("rest", || {
            asleep = if process.sleeps() { asleep + 1 } else { 0 };
            asleep == 20
        });
    }
}
