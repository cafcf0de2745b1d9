//! Readers that share server connections while something happens to the process, to the server or
//! to clients beside them: each gets its own answer, and an error only where it must.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pgwarden::server::Inputs;
use pgwarden_config::settings::Settings;
use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::http::post;
use pgwarden_tests::patience::{Over, at_least, until, until_some, within_a_life};
use pgwarden_tests::pipe::Pipe;
use pgwarden_tests::proxy::{self, policy_of, runtime};
use pgwarden_tests::wire::Client;
use pgwarden_tests::world::{
    POLICY, TENANTS, World, check_word, is_fault, org, read_word, token, word,
};
use serde_json::json;

/// Server connections that sessions share, however long statements seem to take on a busy machine.
fn shared(settings: &mut Settings, server_connections: usize) {
    settings.pool.multiplex_wait = Duration::from_secs(60);
    for database in settings.databases.named.values_mut() {
        database.max_server_connections = server_connections;
    }
}

fn world(server_connections: usize) -> World {
    World::start("transaction", |settings| {
        shared(settings, server_connections)
    })
}

fn log_in(world: &World, token: &str) -> Client {
    let client = Client::connect(world.address(), "anyone", "world", &[], Some(token));
    client.expect("the proxy lets a good token in")
}

fn multiplexed(world: &World) -> f64 {
    world.metric("pgwarden_multiplexed_reads_total")
}

/// What readers do when they don't get an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Faults {
    /// There must be none.
    None,
    /// They log in again.
    LogIn,
    /// They are done.
    End,
}

/// Readers of two tenants, three of each with the same claims, while something is done.
struct Readers<'w> {
    world: &'w World,
    over: AtomicBool,
    answers: AtomicU64,
}

impl<'w> Readers<'w> {
    fn of(world: &'w World) -> Self {
        Self {
            world,
            over: AtomicBool::new(false),
            answers: AtomicU64::new(0),
        }
    }

    /// Has them read as fast as they can, and begins when some of their reads have shared a connection.
    fn beside<T>(&self, faults: Faults, something: impl FnOnce(&Self) -> T) -> T {
        let tokens = [token(1), token(2)];
        let before = multiplexed(self.world);
        std::thread::scope(|scope| {
            for at in 0..6 {
                let (tenant, token) = (1 + at % 2, &tokens[at % 2]);
                scope.spawn(move || self.read(tenant, token, faults));
            }
            let _over = Over(&self.over);
            self.more(100);
            until("a shared connection", || multiplexed(self.world) > before);
            something(self)
        })
    }

    fn read(&self, tenant: usize, token: &str, faults: Faults) {
        let mut client = log_in(self.world, token);
        let mut n = 0;
        while !self.over.load(Ordering::Relaxed) {
            n += 1;
            let reply = read_word(&mut client, tenant, n, n % 2 == 0);
            assert!(!client.timed_out, "a reader was left waiting");
            if reply.is_some() {
                self.answers.fetch_add(1, Ordering::Relaxed);
                continue;
            }
            match faults {
                Faults::None => panic!("a reader got no answer"),
                Faults::End => return,
                Faults::LogIn => client = log_in(self.world, token),
            }
        }
    }

    /// Waits for so many more answers.
    fn more(&self, answers: u64) {
        let before = self.answers.load(Ordering::Relaxed);
        until("answers", || {
            self.answers.load(Ordering::Relaxed) >= before + answers
        });
    }
}

#[test]
fn reloads_fail_no_reader() {
    let world = world(2);
    Readers::of(&world).beside(Faults::None, |readers| {
        for n in 0..10 {
            let settings = world.running().proxy().settings().clone();
            let more = if n % 2 == 0 {
                "explain = \"allow\"\n"
            } else {
                ""
            };
            let text = POLICY.replacen("[defaults]\n", &format!("[defaults]\n{more}"), 1);
            let policy = policy_of(&text);
            let _inside = runtime().enter();
            let inputs = Ok(Inputs { settings, policy });
            world.running().reload(inputs).unwrap();
            readers.more(50);
        }
    });
}

#[test]
fn a_pause_holds_readers_back_and_fails_none() {
    let world = world(2);
    let admin = world.running().admin_address().unwrap();
    let sql = format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}'");
    Readers::of(&world).beside(Faults::None, |readers| {
        for _ in 0..10 {
            assert_eq!(post(admin, "/pause"), (200, "paused\n".to_owned()));
            until("end of all connections", || {
                world.superuser().query(&sql).ok().value().as_deref() == Some("0")
            });
            let before = readers.answers.load(Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(20));
            let after = readers.answers.load(Ordering::Relaxed);
            // Those that were on their way when the last connection went.
            assert!(after - before <= 6, "{before}, {after}");
            assert_eq!(post(admin, "/resume"), (200, "resumed\n".to_owned()));
            readers.more(50);
        }
    });
}

#[test]
fn a_drain_ends_readers_behind_their_answers() {
    let world = world(2);
    let drained = Readers::of(&world).beside(Faults::End, |readers| {
        runtime().block_on(world.running().shut_down(std::future::pending()));
        // All of them notice by themselves.
        until("end of all sessions", || {
            world.metric("pgwarden_client_connections") == 0.0
        });
        readers.answers.load(Ordering::Relaxed)
    });
    assert!(drained > 0);
}

#[test]
fn who_ends_with_its_token_ends_nobody_else() {
    let world = World::start("transaction", |settings| {
        shared(settings, 2);
        settings.auth.leeway = Duration::ZERO;
    });
    Readers::of(&world).beside(Faults::None, |_| {
        for _ in 0..3 {
            let clients = within_a_life(|seconds| {
                let expiring = proxy::sign(&json!({
                    "exp": proxy::now() + seconds,
                    "role": "authenticated",
                    "sub": org(3),
                    "app_metadata": {"org_id": org(3)},
                }));
                let log_in =
                    |_| Client::connect(world.address(), "anyone", "world", &[], Some(&expiring));
                let clients: Result<Vec<_>, _> = (0..4).map(log_in).collect();
                clients.ok()
            });
            std::thread::scope(|scope| {
                for (at, mut client) in clients.into_iter().enumerate() {
                    scope.spawn(move || {
                        for n in 0.. {
                            let reply = client.query(&format!("SELECT word || '{n}' FROM words"));
                            if matches!(reply.code(), "28000" | "57P01") {
                                break;
                            }
                            assert!(check_word(&reply, 3, n), "reader {at}: {reply:?}");
                        }
                        assert_eq!(client.query("SELECT word FROM words").value(), None);
                    });
                }
            });
        }
    });
}

#[test]
fn connections_that_are_old_are_replaced_under_readers() {
    let mut pipe = None;
    let world = World::behind(
        "transaction",
        |settings| {
            shared(settings, 2);
            // Long enough for some of its reads to be shared.
            settings.pool.max_lifetime = Duration::from_millis(300);
            settings.pool.idle_timeout = Duration::from_millis(10);
        },
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    Readers::of(&world).beside(Faults::None, |_| {
        let before = pipe.opened();
        until("new connections", || pipe.opened() > before + 30);
    });
}

#[test]
fn a_restart_of_the_server_ends_who_was_served_and_nobody_for_long() {
    let world = world(2);
    Readers::of(&world).beside(Faults::LogIn, |readers| {
        for shutdown in ["fast", "immediate", "fast", "immediate"] {
            world.server().restart(shutdown);
            readers.more(100);
        }
    });
}

#[test]
fn each_reader_has_its_own_time_outs() {
    let world = world(3);
    // Who has a time-out may meet it anywhere: the machine may stand still.
    let answered = |client: &mut Client, sql: &str, code: &str| {
        until_some("an answer", || {
            let reply = client.query(sql);
            assert!(["", code].contains(&reply.code()), "{reply:?}");
            (reply.code() == "").then_some(reply)
        })
    };
    let mut limited = [("statement_timeout", "57014"), ("lock_timeout", "55P03")].map(|it| {
        let mut client = log_in(&world, &token(1));
        client.query(&format!("SET {} = '150ms'", it.0)).ok();
        (client, it)
    });
    // Warm: boarding a line is open to it.
    for (client, (_, code)) in &mut limited {
        for _ in 0..4 {
            answered(client, "SELECT count(*) FROM marks", code);
        }
    }
    Readers::of(&world).beside(Faults::None, |readers| {
        for (client, (setting, code)) in &mut limited {
            for _ in 0..3 {
                let mut admin = world.superuser();
                admin.query("BEGIN").ok();
                admin
                    .query("LOCK TABLE marks IN ACCESS EXCLUSIVE MODE")
                    .ok();
                assert_eq!(client.query("SELECT count(*) FROM marks").code(), *code);
                readers.more(20);
                drop(admin);
                let sql = format!("SELECT current_setting('{setting}'), count(*) FROM words");
                let reply = answered(client, &sql, code);
                assert_eq!(reply.value().as_deref(), Some("150ms"));
            }
        }
    });
}

#[test]
fn settings_of_one_reader_are_not_those_of_another() {
    const MIDNIGHT: &str = "SELECT '2024-01-01 00:00+00'::timestamptz::text, count(*) FROM words";
    const ZONES: [(&str, &str); 3] = [
        ("UTC", "2024-01-01 00:00:00+00"),
        ("Asia/Tokyo", "2024-01-01 09:00:00+09"),
        ("America/New_York", "2023-12-31 19:00:00-05"),
    ];
    let world = world(3);
    let token = token(1);
    let before = multiplexed(&world);
    let shared = || multiplexed(&world) > before;
    std::thread::scope(|scope| {
        for at in 0..12_usize {
            let (world, token) = (&world, &token);
            scope.spawn(move || {
                let mut client = log_in(world, token);
                // Four of each: they share with each other.
                let (zone, own) = ZONES[at % 3];
                client.query(&format!("SET TimeZone = '{zone}'")).ok();
                at_least(300, shared, |_| {
                    let reply = client.query(MIDNIGHT).ok();
                    assert_eq!(reply.value().as_deref(), Some(own));
                });
            });
        }
    });
}

#[test]
fn who_sends_no_more_gets_its_answer() {
    let world = world(2);
    Readers::of(&world).beside(Faults::None, |_| {
        let token = token(1);
        for n in 0..60 {
            let mut client = log_in(&world, &token);
            client.send_query(&format!("SELECT word || '{n}' FROM words"));
            client.close_write();
            assert!(check_word(&client.reply(), 1, n));
            assert!(client.read_to_end().is_empty() && !client.timed_out);
        }
    });
}

#[test]
fn a_thousand_clients_of_two_hundred_tenants_on_ten_connections() {
    const CLIENTS: usize = 50;
    const THREADS: usize = 20;
    let world = world(10);
    let mut admin = world.superuser();
    for tenant in TENANTS..200 {
        let (org, word) = (org(tenant), word(tenant));
        let sql = format!("INSERT INTO words VALUES ('{org}', '{word}')");
        admin.query(&sql).ok();
    }
    let tokens: Vec<String> = (0..200).map(token).collect();
    let before = multiplexed(&world);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, tokens) = (&world, &tokens);
            scope.spawn(move || {
                // The five clients of a tenant are in five threads.
                let tenant = |at: usize| (thread % 4) * CLIENTS + at;
                let log_in = |at| log_in(world, &tokens[tenant(at)]);
                let mut clients: Vec<Client> = (0..CLIENTS).map(log_in).collect();
                for n in 0..8 {
                    for client in &mut clients {
                        client.send_query(&format!("SELECT word || '{n}' FROM words"));
                    }
                    for (at, client) in clients.iter_mut().enumerate() {
                        let reply = client.reply();
                        assert!(!client.timed_out && !is_fault(&reply), "{reply:?}");
                        assert!(check_word(&reply, tenant(at), n));
                    }
                }
            });
        }
    });
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND application_name <> 'pgwarden'"
    );
    let connections = admin.query(&sql).ok().value().unwrap();
    assert!(connections.parse::<u32>().unwrap() <= 10, "{connections}");
    assert!(multiplexed(&world) >= before);
}
