//! What becomes of clients when the server, or the way to it, fails: no half-dead connection, no
//! answer that is another's, no acknowledged write that is lost.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pgwarden_tests::patience::{Over, until};
use pgwarden_tests::pipe::Pipe;
use pgwarden_tests::wire::{Client, ask_to_cancel};
use pgwarden_tests::world::{TENANTS, World, check_word, is_fault, read_word, session};

const PID: &str = "SELECT pg_backend_pid()";

fn value(client: &mut Client, sql: &str) -> String {
    let reply = client.query(sql).ok();
    reply.value().unwrap_or_else(|| panic!("no value of {sql}"))
}

/// Answers of clients that work while something is done to the server.
#[derive(Default)]
struct Work {
    over: AtomicBool,
    answers: AtomicU64,
}

impl Work {
    /// A client of a tenant: words, transactions, marks, and a new session where one was lost.
    /// What it has written and was told so.
    fn go(&self, world: &World, writer: usize) -> Vec<u64> {
        let tenant = writer % TENANTS;
        let mut acknowledged = Vec::new();
        let mut client = None;
        let mut n = 0;
        while !self.over.load(Ordering::Relaxed) {
            let Some(open) = &mut client else {
                client = world.session(tenant).ok();
                continue;
            };
            n += 1;
            if self.step(open, writer, n, &mut acknowledged).is_none() {
                assert!(!open.timed_out, "writer {writer} was left waiting");
                // What goes on is not half dead: it must answer in the end, or have been closed.
                if open.query("ROLLBACK").status == 0 {
                    client = None;
                }
            }
        }
        acknowledged
    }

    fn step(
        &self,
        client: &mut Client,
        writer: usize,
        n: u64,
        acknowledged: &mut Vec<u64>,
    ) -> Option<()> {
        let tenant = writer % TENANTS;
        read_word(client, tenant, n, n.is_multiple_of(2))?;
        let in_transaction = n.is_multiple_of(3);
        if in_transaction {
            let begun = client.query("BEGIN");
            if begun.status != b'T' {
                assert!(is_fault(&begun), "{begun:?}");
                return None;
            }
            read_word(client, tenant, n, true)?;
        }
        let written = client.extended(
            "INSERT INTO marks (writer, n) VALUES ($1, $2)",
            &[Some(&writer.to_string()), Some(&n.to_string())],
        );
        let written = if in_transaction && written.status == b'T' {
            client.query("COMMIT")
        } else {
            written
        };
        if written.status == 0 || written.error.is_some() {
            assert!(is_fault(&written), "{written:?}");
            return None;
        }
        acknowledged.push(n);
        self.answers.fetch_add(1, Ordering::Relaxed);
        Some(())
    }

    /// Waits for so many more answers.
    fn more(&self, answers: u64) {
        let before = self.answers.load(Ordering::Relaxed);
        until("answers", || {
            self.answers.load(Ordering::Relaxed) >= before + answers
        });
    }
}

/// Does something to the server again and again while clients work; then everything that was
/// acknowledged is there, and each row is its writer's.
fn while_clients_work(world: &World, clients: usize, times: usize, mut harm: impl FnMut(usize)) {
    let work = Work::default();
    let acknowledged: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let work = &work;
        let clients: Vec<_> = (0..clients)
            .map(|writer| scope.spawn(move || work.go(world, writer)))
            .collect();
        let over = Over(&work.over);
        for time in 0..times {
            work.more(200);
            harm(time);
        }
        work.more(200);
        drop(over);
        clients.into_iter().map(|it| it.join().unwrap()).collect()
    });
    world.check_marks(&acknowledged);
}

#[test]
fn clients_survive_restarts_in_transaction_mode() {
    let world = World::start("transaction", |_| {});
    let mut idle: Vec<Client> = (0..TENANTS).map(|it| world.session(it).unwrap()).collect();
    for (tenant, client) in idle.iter_mut().enumerate() {
        assert!(read_word(client, tenant, 1, false).is_some());
    }
    while_clients_work(&world, 30, 4, |time| {
        world.server().restart(["fast", "immediate"][time % 2]);
    });
    for (tenant, client) in idle.iter_mut().enumerate() {
        assert!(read_word(client, tenant, 2, tenant % 2 == 0).is_some());
    }
}

#[test]
fn clients_survive_restarts_in_session_mode() {
    let world = World::start("session", |settings| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 40;
        }
    });
    while_clients_work(&world, 30, 4, |time| {
        world.server().restart(["fast", "immediate"][time % 2]);
    });
}

#[test]
fn who_asks_while_the_server_is_down_is_answered_when_it_is_back() {
    let world = World::start("transaction", |_| {});
    let mut clients: Vec<Client> = (0..TENANTS).map(|it| world.session(it).unwrap()).collect();
    for shutdown in ["fast", "immediate"] {
        for (tenant, client) in clients.iter_mut().enumerate() {
            assert!(read_word(client, tenant, 1, false).is_some());
        }
        world.server().stop(shutdown);
        for client in &mut clients {
            client.send_extended("SELECT word || $1::text FROM words", &[Some("2")]);
        }
        std::thread::sleep(Duration::from_millis(300));
        world.server().start_again();
        for (tenant, client) in clients.iter_mut().enumerate() {
            assert!(check_word(&client.reply(), tenant, 2), "tenant {tenant}");
        }
    }
}

#[test]
fn clients_survive_killed_backends() {
    for mode in ["transaction", "session"] {
        let world = World::start(mode, |settings| {
            for database in settings.databases.named.values_mut() {
                database.max_server_connections = if mode == "session" { 40 } else { 5 };
            }
        });
        while_clients_work(&world, 30, 20, |time| {
            world.terminate([0, 2, 3][time % 3]);
        });
    }
}

#[test]
fn a_transaction_that_a_restart_ends_is_57p01_or_08006() {
    for shutdown in ["fast", "immediate"] {
        for mode in ["transaction", "session"] {
            let world = World::start(mode, |_| {});
            let mut open = world.session(1).unwrap();
            let mut idle = world.session(2).unwrap();
            assert!(read_word(&mut idle, 2, 1, true).is_some());
            open.query("BEGIN").ok();
            let written = "INSERT INTO marks (writer, n) VALUES (1, 1)";
            open.query(written).ok();
            world.server().restart(shutdown);
            let reply = open.query("COMMIT");
            assert!(
                ["57P01", "57P02", "08006"].contains(&reply.code()) && reply.status == 0,
                "{mode}, {shutdown}: {reply:?}"
            );
            if mode == "transaction" {
                assert!(read_word(&mut idle, 2, 2, true).is_some());
            }
            let mut next = world.session(1).unwrap();
            assert_eq!(value(&mut next, "SELECT count(*) FROM marks"), "0");
        }
    }
}

#[test]
fn a_cut_in_any_place_of_an_answer_ends_it_there() {
    let mut pipe = None;
    let world = World::behind(
        "transaction",
        |settings| {
            for database in settings.databases.named.values_mut() {
                database.max_server_connections = 1;
            }
        },
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    let mut other = world.session(4).unwrap();
    for at in 1..120 {
        let mut client = world.session(3).unwrap();
        assert!(read_word(&mut client, 3, 0, true).is_some());
        client.query("BEGIN").ok();
        pipe.cut_after(at);
        let reply = client.extended("SELECT word || $1::text FROM words", &[Some("7")]);
        // A whole answer may have come before the cut; the transaction is over all the same.
        if !is_fault(&reply) {
            assert!(check_word(&reply, 3, 7), "cut after {at}: {reply:?}");
            pipe.cut();
            assert!(is_fault(&client.query("SELECT 1")), "cut after {at}");
        }
        pipe.cut_after(0);
        assert!(read_word(&mut other, 4, 8, at % 2 == 0).is_some(), "{at}");
    }
}

#[test]
fn idle_connections_that_were_cut_or_half_closed_are_not_handed_out() {
    let mut pipe = None;
    let world = World::behind(
        "transaction",
        |_| {},
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    let mut clients: Vec<Client> = (0..5).map(|it| world.session(it).unwrap()).collect();
    for round in 0..20 {
        for (tenant, client) in clients.iter_mut().enumerate() {
            assert!(read_word(client, tenant, round, round % 2 == 0).is_some());
        }
        if round % 2 == 0 {
            pipe.half_close();
        } else {
            pipe.cut();
        }
    }
}

#[test]
fn a_stalled_server_keeps_its_answers_apart() {
    let mut pipe = None;
    let world = World::behind(
        "transaction",
        |settings| {
            for database in settings.databases.named.values_mut() {
                database.max_server_connections = 2;
            }
        },
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    let mut clients: Vec<Client> = (0..10).map(|it| world.session(it).unwrap()).collect();
    for round in 0..5 {
        for (tenant, client) in clients.iter_mut().enumerate() {
            client.send_query(&format!("SELECT word || '{round}' FROM words"));
            if tenant == 1 {
                pipe.stall(true);
            }
        }
        // One does not wait for its answer: it goes, and the answer with it.
        drop(std::mem::replace(
            &mut clients[0],
            Client::raw(world.address()).unwrap(),
        ));
        std::thread::sleep(Duration::from_millis(50));
        pipe.stall(false);
        clients[0] = world.session(0).unwrap();
        for (tenant, client) in clients.iter_mut().enumerate().skip(1) {
            assert!(check_word(&client.reply(), tenant, round), "{tenant}");
        }
    }
}

#[test]
fn a_pool_of_one_serves_many() {
    let world = World::start("transaction", |settings| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
    });
    while_clients_work(&world, 40, 3, |_| {});
}

#[test]
fn who_waits_too_long_gets_53300_and_does_not_stand_in_others_way() {
    let world = World::start("transaction", |settings| {
        settings.pool.checkout_timeout = Duration::from_millis(400);
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
    });
    let mut holder = world.session(0).unwrap();
    let mut waiting: Vec<Client> = (1..8).map(|it| world.session(it).unwrap()).collect();
    holder.query("BEGIN").ok();
    holder.query("SELECT 1").ok();
    for client in &mut waiting {
        client.send_query("SELECT 1");
    }
    for client in &mut waiting {
        let reply = client.reply();
        assert_eq!((reply.code(), reply.status), ("53300", b'I'), "{reply:?}");
    }
    holder.query("COMMIT").ok();
    for client in &mut waiting {
        client.query("SELECT 1").ok();
    }
}

#[test]
fn idle_and_old_connections_are_closed() {
    let world = World::start("transaction", |settings| {
        settings.pool.idle_timeout = Duration::from_millis(300);
    });
    let mut client = world.session(0).unwrap();
    let first = value(&mut client, PID);
    until("the idle time-out", || {
        world.metric("pgwarden_server_connections{state=\"idle\"}") == 0.0
    });
    assert_ne!(value(&mut client, PID), first);

    let world = World::start("transaction", |settings| {
        settings.pool.max_lifetime = Duration::from_millis(300);
    });
    let mut client = world.session(0).unwrap();
    client.query("BEGIN").ok();
    let first = value(&mut client, PID);
    std::thread::sleep(Duration::from_millis(400));
    // Never under a transaction.
    assert_eq!(value(&mut client, PID), first);
    client.query("COMMIT").ok();
    assert_ne!(value(&mut client, PID), first);
    let mut other = session(world.address(), 1, &[]).unwrap();
    assert!(read_word(&mut other, 1, 1, true).is_some());
}

/// A client that waits for the end of its CancelRequest may send the next statement then, and
/// none is cancelled for the one before. Many requests for one session are not many connections.
#[test]
fn h_a_cancel_ends_when_the_server_has_taken_it() {
    let mut pipe = None;
    let world = World::behind(
        "session",
        |_| {},
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    let mut client = world.session(0).unwrap();
    client.query("SELECT 1").ok();
    client.send_query("SELECT count(*) FROM generate_series(1, 40000) a, generate_series(1, 40000) b WHERE a < -b");
    let running = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' \
        AND usename <> 'postgres' AND query LIKE '%generate_series%'";
    until("the statement", || {
        value(&mut world.superuser(), running) == "1"
    });
    pipe.stall(true);
    let before = pipe.opened();
    let ask = || ask_to_cancel(world.address(), &client.key).unwrap();
    let mut cancels: Vec<Client> = (0..40).map(|_| ask()).collect();
    for cancel in &mut cancels {
        cancel.set_timeout(Duration::from_millis(10));
        assert!(cancel.read_to_end().is_empty());
        assert!(cancel.timed_out, "it ended before the server had taken it");
        cancel.set_timeout(Duration::from_secs(60));
    }
    assert!(pipe.opened() <= before + 1, "one is on its way");
    pipe.stall(false);
    for cancel in &mut cancels {
        cancel.timed_out = false;
        assert!(cancel.read_to_end().is_empty());
        assert!(!cancel.timed_out);
    }
    assert!(
        pipe.opened() <= before + 2,
        "one follows for all the others"
    );
    assert_eq!(client.reply().code(), "57014");
    client.query("SELECT 1").ok();
}

/// A client that waits for a server connection can cancel what it waits for, as it could a statement that
/// waits for a lock: the statement, not the one that it sends next.
#[test]
fn h_a_cancel_ends_the_wait_for_a_server_connection() {
    let world = World::start("transaction", |settings| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = 1;
        }
    });
    let (mut holder, mut client) = (world.session(0).unwrap(), world.session(1).unwrap());
    let waiting = |wanted: f64| world.metric("pgwarden_waiting_clients") >= wanted;
    for extended in [false, true, false, true] {
        holder.query("BEGIN").ok();
        if extended {
            client.send_extended("SELECT 1", &[]);
        } else {
            client.send_query("SELECT 1");
        }
        until("the wait", || waiting(1.0));
        let mut cancel = ask_to_cancel(world.address(), &client.key).unwrap();
        assert!(cancel.read_to_end().is_empty());
        assert_eq!(client.reply().code(), "57014");
        assert!(!waiting(1.0), "it waits on");
        holder.query("COMMIT").ok();
        assert_eq!(value(&mut client, "SELECT 7"), "7");
        // There is nothing to cancel now, and it is not kept for later.
        let mut late = ask_to_cancel(world.address(), &client.key).unwrap();
        assert!(late.read_to_end().is_empty());
    }
}
