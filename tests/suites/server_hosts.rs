//! A database with several hosts: real primaries and standbys, that stop, stall and are promoted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pgwarden::server::Running;
use pgwarden_config::settings::Settings;
use pgwarden_tests::fixture::{ROLE, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::pipe::Pipe;
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::{Client, bind_body, cancel, execute_body, parse_body};
use pgwarden_tests::world::{World, another_proxy, is_fault, read_word, session, word};

fn value(client: &mut Client, sql: &str) -> String {
    let reply = client.query(sql).ok();
    reply.value().unwrap_or_else(|| panic!("no value of {sql}"))
}

fn promote(standby: &Server) {
    let mut admin = superuser(standby.address(), "postgres");
    assert_eq!(value(&mut admin, "SELECT pg_promote()"), "t");
}

/// What a proxy knows of a host.
fn knows(proxy: &Running, host: SocketAddr, state: &str) -> bool {
    let text = proxy.proxy().render_metrics();
    text.contains(&format!("host=\"{host}\",state=\"{state}\"}} 1\n"))
}

fn serves(proxy: &Running, host: SocketAddr) -> bool {
    let text = proxy.proxy().render_metrics();
    text.contains(&format!(
        "_host_serves{{database=\"world\",host=\"{host}\"}} 1\n"
    ))
}

fn readiness(proxy: &Running) -> String {
    let mut stream = TcpStream::connect(proxy.admin_address().unwrap()).unwrap();
    let request = "GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Whether the session could write.
fn mark(client: &mut Client, n: u32) -> bool {
    let sql = format!("INSERT INTO marks (writer, n) VALUES (1, {n})");
    let reply = client.query(&sql);
    let refused = is_fault(&reply) || reply.code() == "25006";
    assert!(refused || reply.error.is_none(), "{reply:?}");
    reply.error.is_none() && reply.status != 0
}

fn patient(settings: &mut Settings) {
    for database in settings.databases.named.values_mut() {
        database.max_server_connections = 30;
    }
}

/// A primary, and a standby that URLs name first.
struct Pair {
    world: World,
    standby: Server,
    hosts: String,
}

impl Pair {
    fn start(parameters: &str) -> Self {
        let mut pair = None;
        let world = World::among("transaction", parameters, patient, |primary| {
            let standby = primary.standby();
            let hosts = format!("{},{}", standby.address(), primary.address());
            pair.insert((standby, hosts)).1.clone()
        });
        let (standby, hosts) = pair.unwrap();
        Self {
            world,
            standby,
            hosts,
        }
    }

    fn proxy(&self, mode: &str, parameters: &str) -> Running {
        another_proxy(mode, &self.hosts, parameters, patient)
    }

    /// For tests that do no harm.
    fn shared() -> &'static Self {
        static PAIR: OnceLock<Pair> = OnceLock::new();
        PAIR.get_or_init(|| Self::start("&target_session_attrs=primary"))
    }
}

fn open(proxy: &Running) -> Client {
    session(proxy.addresses()[0], 1, &[]).unwrap()
}

#[test]
fn clients_follow_the_primary_when_it_moves() {
    let pair = Pair::start("&target_session_attrs=primary");
    let by_session = pair.proxy("session", "&target_session_attrs=read-write");
    let reading = pair.proxy("transaction", "&target_session_attrs=standby");
    let Pair { world, standby, .. } = &pair;
    let (proxy, first, second) = (world.running(), world.server().address(), standby.address());
    let (mut in_transaction, mut idle) = (open(proxy), open(proxy));
    let (mut pinned, mut reader) = (open(&by_session), open(&reading));
    assert!(mark(&mut idle, 1) && mark(&mut pinned, 2));
    assert!(read_word(&mut reader, 1, 1, true).is_some() && !mark(&mut reader, 3));
    until("the standby", || knows(proxy, second, "standby"));
    assert!(serves(proxy, first) && !serves(proxy, second) && serves(&reading, second));
    let ready = readiness(proxy);
    let line = format!("\"world\" at {first}: primary, serves\n");
    assert!(ready.contains(" 200 ") && ready.contains(&line), "{ready}");

    in_transaction.query("BEGIN").ok();
    assert!(mark(&mut in_transaction, 4));
    let count = |host| {
        let sql = "SELECT count(*) FROM marks";
        value(&mut superuser(host, "postgres"), sql)
    };
    until("replication", || count(second) == "2");
    world.server().stop("immediate");
    promote(standby);
    for client in [&mut in_transaction, &mut pinned] {
        let reply = client.query("COMMIT");
        assert!(is_fault(&reply) && reply.status == 0, "{reply:?}");
    }
    assert!(mark(&mut idle, 5));
    assert!(serves(proxy, second) && !serves(proxy, first));
    until("the new primary", || {
        let client = session(by_session.addresses()[0], 1, &[]);
        client.is_ok_and(|mut client| mark(&mut client, 6))
    });
    // There is no standby any more.
    until("the end", || !serves(&reading, second));
    let refused = || reader.query("SELECT 1").code() == "08006";
    until("the end of its connections", refused);

    // The first comes back and knows nothing of its successor: nobody writes to it.
    world.server().start_again();
    until("the first", || knows(proxy, first, "primary"));
    for n in 10..14 {
        assert!(mark(&mut open(proxy), n) && mark(&mut idle, n + 100));
    }
    assert_eq!((count(first), count(second)), ("2".into(), "12".into()));
}

#[test]
fn a_host_is_left_when_it_stalls_or_takes_no_writes_any_more() {
    let mut others = None;
    let target = "&target_session_attrs=read-write";
    let world = World::among("session", target, patient, |primary| {
        let (pipe, standby) = (Pipe::to(primary.address()), primary.standby());
        let hosts = format!("{},{}", pipe.address(), standby.address());
        others = Some((pipe, standby));
        hosts
    });
    let (pipe, standby) = others.unwrap();
    let (mut idle, mut waiting) = (open(world.running()), open(world.running()));
    assert!(mark(&mut idle, 1));
    waiting.query("BEGIN").ok();
    pipe.stall(true);
    waiting.send_query("SELECT 1");
    promote(&standby);
    // Nothing has closed: it is the silence that is noticed.
    let reply = waiting.reply();
    assert_eq!((reply.code(), reply.status), ("08006", 0), "{reply:?}");
    let reply = idle.reply();
    assert_eq!((reply.code(), reply.status), ("57P01", 0), "{reply:?}");
    let mut client = open(world.running());
    assert!(mark(&mut client, 2));
    assert!(serves(world.running(), standby.address()));

    let mut admin = superuser(standby.address(), "postgres");
    for sql in [
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ] {
        admin.query(sql).ok();
    }
    let reply = client.reply();
    assert_eq!((reply.code(), reply.status), ("57P01", 0), "{reply:?}");
}

#[test]
fn a_standby_is_preferred_where_that_is_wanted() {
    let pair = Pair::shared();
    let proxy = pair.proxy("transaction", "&target_session_attrs=prefer-standby");
    assert!(!mark(&mut open(&proxy), 1));
    let primary = pair.world.server().address();
    let prefers = "&target_session_attrs=prefer-standby";
    let alone = another_proxy("transaction", &primary.to_string(), prefers, patient);
    assert!(mark(&mut open(&alone), 1));
}

#[test]
fn hosts_are_balanced_where_that_is_wanted() {
    let proxy = Pair::shared().proxy("session", "&load_balance_hosts=random");
    let mut clients: Vec<Client> = (0..24).map(|_| open(&proxy)).collect();
    let writers = (1000..).zip(&mut clients);
    let primaries = writers.filter_map(|(n, client)| mark(client, n).then_some(()));
    assert!((1..24).contains(&primaries.count()));
}

#[test]
fn a_cancel_goes_to_the_host_of_the_statement() {
    let pair = Pair::shared();
    let on_standby = pair.proxy("session", "&target_session_attrs=standby");
    for proxy in [pair.world.running(), &on_standby] {
        let mut client = open(proxy);
        client.send_query("SELECT count(*) FROM generate_series(1, 1000000000)");
        let (key, address) = (client.key.clone(), proxy.addresses()[0]);
        // One that comes before the statement ends nothing.
        let over = AtomicBool::new(false);
        let reply = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(100));
                    cancel(address, &key);
                }
            });
            let reply = client.reply();
            over.store(true, Ordering::Relaxed);
            reply
        });
        assert_eq!(reply.code(), "57014", "{reply:?}");
    }
}

/// Which of the pair has answered a statement with this text in it.
fn answered(pair: &Pair, text: &str) -> Option<&'static str> {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{ROLE}' AND query LIKE '%{text}%'"
    );
    let asked = |host| value(&mut superuser(host, "postgres"), &sql) != "0";
    match (
        asked(pair.world.server().address()),
        asked(pair.standby.address()),
    ) {
        (true, false) => Some("primary"),
        (false, true) => Some("standby"),
        _ => None,
    }
}

/// Reads the tenant's word, by a text that no other statement has. Which server has answered.
fn read(pair: &Pair, client: &mut Client, extended: bool) -> Option<&'static str> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let text = format!("nonce{:06}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let sql = format!("SELECT word || '{text}' FROM words");
    let reply = if extended {
        client.extended(&sql, &[])
    } else {
        client.query(&sql)
    };
    let reply = reply.ok();
    assert_eq!(reply.value(), Some(word(1) + &text));
    answered(pair, &text)
}

#[test]
fn what_only_reads_goes_to_a_standby_that_is_current() {
    let pair = Pair::start("&target_session_attrs=primary");
    let proxy = another_proxy(
        "transaction",
        &pair.hosts,
        "&target_session_attrs=primary",
        |settings| {
            patient(settings);
            for database in settings.databases.named.values_mut() {
                database.max_replica_lag = Some(Duration::from_secs(2));
                database.max_server_connections = 3;
            }
        },
    );
    let mut client = open(&proxy);
    for extended in [false, true] {
        until("the standby", || {
            read(&pair, &mut client, extended) == Some("standby")
        });
    }

    // What does more than read goes to the primary, also right behind what only reads.
    assert!(mark(&mut client, 1));
    for sql in [
        "SELECT 'to the primary', clock_timestamp()",
        "WITH made AS (INSERT INTO marks (writer, n) VALUES (1, 2) RETURNING n) \
         SELECT n, 'to the primary' FROM made",
    ] {
        client.query(sql).ok();
        assert_eq!(answered(&pair, "to the primary"), Some("primary"), "{sql}");
    }
    client.query("BEGIN").ok();
    assert_eq!(read(&pair, &mut client, true), Some("primary"));
    client.query("COMMIT").ok();
    client.send_query("SELECT word FROM words");
    client.send_query("INSERT INTO marks (writer, n) VALUES (1, 3)");
    assert!(client.reply().ok().value().is_some());
    client.reply().ok();
    let batch = [
        (b'P', parse_body("", "SELECT word FROM words", &[])),
        (b'B', bind_body("", "", &[], &[], &[])),
        (b'E', execute_body("", 0)),
        (
            b'P',
            parse_body("", "INSERT INTO marks (writer, n) VALUES (1, 4)", &[]),
        ),
        (b'B', bind_body("", "", &[], &[], &[])),
        (b'E', execute_body("", 0)),
        (b'S', Vec::new()),
    ];
    for (tag, body) in batch {
        client.send(tag, &body);
    }
    let messages = client.messages();
    assert!(messages.iter().all(|it| it.tag != b'E'), "{messages:?}");

    // A session sees what it has written, wherever it reads it.
    for n in 10..60 {
        assert!(mark(&mut client, n));
        let sql = format!("SELECT count(*) FROM marks WHERE n = {n}");
        assert_eq!(value(&mut client, &sql), "1");
    }

    // Each connection to the standby serves many tenants, and each of them reads its own.
    let all = 0..pgwarden_tests::world::TENANTS;
    let address = proxy.addresses()[0];
    let mut tenants: Vec<_> = { all }
        .map(|tenant| session(address, tenant, &[]).unwrap())
        .collect();
    for n in 0..4 {
        for (tenant, client) in tenants.iter_mut().enumerate() {
            assert!(read_word(client, tenant, n, n % 2 == 0).is_some());
        }
    }

    // One that lags is not read from, until it has caught up; nor one that is down.
    let mut admin = superuser(pair.standby.address(), "postgres");
    until("the standby", || {
        read(&pair, &mut client, true) == Some("standby")
    });
    admin.query("SELECT pg_wal_replay_pause()").ok();
    assert!(mark(&mut tenants[2], 100));
    until("the primary", || {
        read(&pair, &mut client, true) == Some("primary")
    });
    let mut other = open(&proxy);
    assert!(mark(&mut other, 101));
    let count = "SELECT count(*) FROM marks WHERE n = 101";
    assert_eq!(value(&mut client, count), "1");
    admin.query("SELECT pg_wal_replay_resume()").ok();
    until("the standby", || {
        read(&pair, &mut client, false) == Some("standby")
    });
    pair.standby.stop("immediate");
    for n in 0..20 {
        assert!(read_word(&mut client, 1, n, n % 2 == 0).is_some());
    }
}
