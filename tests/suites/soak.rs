//! Many clients of many tenants, random statements, and faults all the time: every answer is right
//! for its tenant, and every acknowledged write is there in the end. The server crashes, restarts and
//! loses processes; the way to it stalls and breaks; the proxy is replaced and paused; clients are
//! cancelled, leave in the middle, and close one half.
//!
//! `PGWARDEN_SOAK_SECONDS` says how long (12), `PGWARDEN_SOAK_CLIENTS` how many (150),
//! `PGWARDEN_SEED` from which seed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pgwarden::server::Running;
use pgwarden_tests::http::post;
use pgwarden_tests::pipe::Pipe;
use pgwarden_tests::proxy::runtime;
use pgwarden_tests::random::Random;
use pgwarden_tests::server::free_address;
use pgwarden_tests::wire::{Client, Reply, bind_body, cancel, execute_body, parse_body};
use pgwarden_tests::world::{
    TENANTS, World, another_proxy, check_word, is_fault, read_word, session,
};

/// Clients that are cancelled again and again. Nobody else may be.
const CANCELLED: usize = 8;

fn given<T: FromStr>(name: &str, default: T) -> T {
    let value = std::env::var(name).ok();
    value
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
}

/// What all clients share.
struct Soak<'w> {
    world: &'w World,
    /// Between the proxy and the server.
    pipe: &'w Pipe,
    proxy: Proxy,
    over: AtomicBool,
    /// The keys of the cancelled clients.
    keys: Vec<Mutex<(u32, Vec<u8>)>>,
}

/// The proxy that clients connect to, whichever it is at the moment.
struct Proxy {
    mode: &'static str,
    server: String,
    address: SocketAddr,
    running: Mutex<Running>,
}

impl Proxy {
    fn new(mode: &'static str, server: SocketAddr) -> Self {
        let (server, address) = (server.to_string(), free_address());
        let running = Mutex::new(start(mode, &server, address));
        Self {
            mode,
            server,
            address,
            running,
        }
    }

    /// Another takes over, and the one before drains.
    fn replace(&self) {
        let next = start(self.mode, &self.server, self.address);
        let old = std::mem::replace(&mut *self.running.lock().unwrap(), next);
        runtime().block_on(old.shut_down(std::future::pending()));
    }

    /// Pauses for a moment. Sessions of session mode would have to end first.
    fn pause(&self, pause: Duration) {
        if self.mode == "session" {
            return;
        }
        let admin = self.running.lock().unwrap().admin_address().unwrap();
        assert_eq!(post(admin, "/pause").0, 200);
        std::thread::sleep(pause);
        while post(admin, "/resume").0 != 200 {
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

fn start(mode: &str, server: &str, address: SocketAddr) -> Running {
    another_proxy(mode, server, "", |settings| {
        settings.listen[0].address = address;
        settings.listen[0].reuse_port = true;
        settings.limits.drain_timeout = Duration::from_secs(2);
        // On a busy machine a login may take long; none may end without a word.
        settings.limits.handshake_timeout = Duration::from_secs(60);
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = if mode == "session" { 60 } else { 10 };
        }
    })
}

/// One client, through as many sessions as it takes.
struct Worker<'w> {
    soak: &'w Soak<'w>,
    writer: usize,
    tenant: usize,
    random: Random,
    n: u64,
    acknowledged: Vec<u64>,
    /// The session has prepared its statement.
    prepared: bool,
}

/// Ends the soak when one of its threads has failed.
struct FailsFast<'a>(&'a AtomicBool);

impl Drop for FailsFast<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

impl Worker<'_> {
    fn go(mut self) -> Vec<u64> {
        let _fails_fast = FailsFast(&self.soak.over);
        let mut session: Option<Client> = None;
        while !self.soak.over.load(Ordering::Relaxed) {
            let Some(client) = &mut session else {
                session = self.connect();
                continue;
            };
            self.n += 1;
            let whole = match self.random.below(100) {
                0..40 => self.read(client),
                40..55 => self.run_prepared(client),
                55..75 => self.write(client),
                75..85 => self.transaction(client, true),
                85..90 => self.transaction(client, false),
                90..94 => self.set(client),
                94..96 => {
                    self.half_close(client);
                    None
                }
                96..98 => {
                    client.send_query("SELECT count(*) FROM generate_series(1, 100000)");
                    session = None;
                    continue;
                }
                _ => self.work_long(client),
            };
            assert!(!client.timed_out, "writer {} was left waiting", self.writer);
            // After a fault the session is at an end, or it goes on and answers.
            if whole.is_none() && client.query("ROLLBACK").status != b'I' {
                session = None;
            }
        }
        self.acknowledged
    }

    fn connect(&mut self) -> Option<Client> {
        self.prepared = false;
        let client = match session(self.soak.proxy.address, self.tenant, &[]) {
            Ok(client) => Some(client),
            Err(error) => {
                let code = error.code();
                let codes = ["57P01", "57P02", "57P03", "08006", "53300"];
                assert!(codes.contains(&code), "login: {error:?}");
                None
            }
        };
        match &client {
            Some(client) => {
                if let Some(key) = self.soak.keys.get(self.writer) {
                    key.lock().unwrap().clone_from(&client.key);
                }
            }
            None => std::thread::sleep(Duration::from_millis(50)),
        }
        client
    }

    /// Whether it went well; false when a fault came between. Only who is cancelled may see 57014.
    fn went_well(&self, reply: &Reply) -> Option<()> {
        let cancelled = self.writer < CANCELLED && reply.code() == "57014";
        if cancelled || is_fault(reply) {
            return None;
        }
        assert_eq!(reply.code(), "", "writer {}: {reply:?}", self.writer);
        Some(())
    }

    fn check(&self, reply: &Reply) -> Option<()> {
        self.went_well(reply)?;
        check_word(reply, self.tenant, self.n).then_some(())
    }

    fn read(&mut self, client: &mut Client) -> Option<()> {
        let extended = self.random.chance(60);
        if self.writer >= CANCELLED {
            return read_word(client, self.tenant, self.n, extended).map(|_| ());
        }
        let reply = client.query(&format!("SELECT word || '{}' FROM words", self.n));
        self.check(&reply)
    }

    fn run_prepared(&mut self, client: &mut Client) -> Option<()> {
        if !self.prepared {
            client.send(b'P', &parse_body("s", "SELECT word || $1 FROM words", &[]));
        }
        let value = self.n.to_string();
        let values = [Some(value.as_bytes())];
        client.send(b'B', &bind_body("", "s", &[], &values, &[]));
        client.send(b'E', &execute_body("", 0));
        client.send(b'S', &[]);
        let reply = client.reply();
        // After an error nobody knows whether the Parse was worked off.
        if !self.prepared && reply.error.is_some() && reply.status != 0 {
            client.query("DEALLOCATE ALL");
        }
        self.check(&reply)?;
        self.prepared = true;
        Some(())
    }

    fn insert(&mut self, client: &mut Client, n: &str) -> Option<()> {
        let writer = self.writer.to_string();
        let reply = if self.random.chance(50) {
            let sql = "INSERT INTO marks (writer, n) VALUES ($1, $2)";
            client.extended(sql, &[Some(&writer), Some(n)])
        } else {
            let sql = format!("INSERT INTO marks (writer, n) VALUES ({writer}, {n})");
            client.query(&sql)
        };
        self.went_well(&reply)
    }

    fn write(&mut self, client: &mut Client) -> Option<()> {
        self.insert(client, &self.n.to_string())?;
        self.acknowledged.push(self.n);
        Some(())
    }

    fn transaction(&mut self, client: &mut Client, commits: bool) -> Option<()> {
        let reply = client.query("BEGIN");
        self.went_well(&reply)?;
        self.read(client)?;
        if !commits {
            self.insert(client, &format!("-{}", self.n))?;
            let reply = client.query("ROLLBACK");
            return self.went_well(&reply);
        }
        self.insert(client, &self.n.to_string())?;
        let reply = client.query("COMMIT");
        self.went_well(&reply)?;
        let tag = reply.results.first().and_then(|it| it.tag.as_deref());
        assert_eq!(tag, Some("COMMIT"));
        self.acknowledged.push(self.n);
        Some(())
    }

    /// A setting of the session's own is there for it, in the next transaction, too.
    fn set(&mut self, client: &mut Client) -> Option<()> {
        let name = format!("app-{}-{}", self.writer, self.n);
        let reply = client.query(&format!("SET application_name = '{name}'"));
        self.went_well(&reply)?;
        let reply = client.query("SHOW application_name");
        self.went_well(&reply)?;
        assert_eq!(reply.value(), Some(name));
        Some(())
    }

    /// A client that sends no more gets its answer.
    fn half_close(&self, client: &mut Client) {
        client.send_query(&format!("SELECT word || '{}' FROM words", self.n));
        client.close_write();
        self.check(&client.reply());
    }

    fn work_long(&self, client: &mut Client) -> Option<()> {
        let reply = client.query("SELECT count(*) FROM generate_series(1, 50000)");
        self.went_well(&reply)?;
        assert_eq!(reply.value().as_deref(), Some("50000"));
        Some(())
    }
}

impl Soak<'_> {
    /// Cancels those clients, whatever they do.
    fn cancel(&self) {
        let mut random = Random::new(1);
        while !self.over.load(Ordering::Relaxed) {
            let key = random.pick(&self.keys).lock().unwrap().clone();
            cancel(self.proxy.address, &key);
        }
    }

    /// Does harm to the server until the time is over.
    fn harm(&self, seconds: u64, random: &mut Random) {
        let _fails_fast = FailsFast(&self.over);
        let started = Instant::now();
        let is_over = || self.over.load(Ordering::Relaxed);
        while started.elapsed() < Duration::from_secs(seconds) && !is_over() {
            let pause = 200 + random.below(1500);
            std::thread::sleep(Duration::from_millis(u64::try_from(pause).unwrap()));
            let moment = Duration::from_millis(u64::try_from(random.below(800)).unwrap());
            match random.below(16) {
                0 => self.world.server().restart("fast"),
                1 => self.world.server().restart("immediate"),
                2 => drop(self.world.terminate(0)),
                3..6 => drop(self.world.terminate(3)),
                6..9 => {
                    self.pipe.stall(true);
                    std::thread::sleep(moment);
                    self.pipe.stall(false);
                }
                9 => self.pipe.half_close(),
                10 => self.pipe.cut(),
                11 => self.pipe.cut_after(random.below(4000)),
                12..14 => self.proxy.replace(),
                _ => self.proxy.pause(moment),
            }
        }
        self.over.store(true, Ordering::Relaxed);
    }
}

fn soak(mode: &'static str, seconds: u64, clients: usize, seed: u64) {
    let mut pipe = None;
    let world = World::behind(
        mode,
        |_| {},
        |server| pipe.insert(Pipe::to(server)).address(),
    );
    let pipe = pipe.unwrap();
    let soak = Soak {
        world: &world,
        proxy: Proxy::new(mode, pipe.address()),
        pipe: &pipe,
        over: AtomicBool::new(false),
        keys: (0..CANCELLED).map(|_| Mutex::default()).collect(),
    };
    let acknowledged: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let soak = &soak;
        let workers: Vec<_> = (0..clients)
            .map(|writer| Worker {
                soak,
                writer,
                tenant: writer % TENANTS,
                random: Random::new(seed + u64::try_from(writer).unwrap()),
                n: 0,
                acknowledged: Vec::new(),
                prepared: false,
            })
            .map(|worker| scope.spawn(move || worker.go()))
            .collect();
        scope.spawn(move || soak.cancel());
        soak.harm(seconds, &mut Random::new(seed));
        workers.into_iter().map(|it| it.join().unwrap()).collect()
    });
    let written: usize = acknowledged.iter().map(Vec::len).sum();
    eprintln!(
        "soak: {mode}, {clients} clients, {seconds} s, seed {seed}: {written} writes acknowledged"
    );
    world.check_marks(&acknowledged);
}

#[test]
fn every_answer_is_right_and_every_write_is_there() {
    let seconds = given("PGWARDEN_SOAK_SECONDS", 12);
    let clients = given("PGWARDEN_SOAK_CLIENTS", 150);
    let seed = given("PGWARDEN_SEED", 1);
    soak("transaction", seconds * 3 / 4, clients, seed);
    // In session mode each needs a connection of its own.
    soak("session", seconds / 4, clients.min(60), seed);
}
