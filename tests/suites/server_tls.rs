//! Sessions over TLS, to clients and to a server that wants SCRAM and TLS: nothing of a large
//! message stays behind in a buffer of TLS, whoever is slow, and reads that share a connection are
//! answered as without it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden_config::Secret;
use pgwarden_config::settings::{RootCertificates, Settings, SslMode};
use pgwarden_tests::certificates::certificates;
use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::patience::{Over, until, until_some};
use pgwarden_tests::pipe::Pipe;
use pgwarden_tests::server::Server;
use pgwarden_tests::sockets::settled;
use pgwarden_tests::wire::Client;
use pgwarden_tests::world::{World, read_word, token};
use tempfile::TempDir;

const PASSWORD: &str = "the role's own password";

const HBA: &str = "host all postgres 127.0.0.1/32 trust\n\
    hostssl all all 127.0.0.1/32 scram-sha-256\n";

/// A world whose proxy speaks TLS to both sides.
struct Encrypted {
    world: World,
    authority: PathBuf,
    _directory: TempDir,
}

impl Encrypted {
    fn start(server_connections: usize) -> Self {
        Self::start_with(server_connections, |_| {}, |server| server)
    }

    /// The same with other settings, and something between the proxy and the server.
    fn start_with(
        server_connections: usize,
        more: impl FnOnce(&mut Settings),
        through: impl FnOnce(SocketAddr) -> SocketAddr,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let to_clients = certificates(directory.path(), "clients");
        let authority = to_clients.authority.clone();
        let of_server = directory.path().join("of_server.pem");
        let root = RootCertificates::File(of_server.clone());
        let change = |settings: &mut Settings| {
            settings.listen[0].tls = Some(to_clients.listener);
            settings.pool.multiplex_wait = Duration::from_secs(60);
            for database in settings.databases.named.values_mut() {
                database.max_server_connections = server_connections;
                database.password = Some(Secret::new(PASSWORD));
                database.ssl_mode = SslMode::VerifyCa;
                database.ssl_root = Some(root.clone());
            }
            more(settings);
        };
        let world = World::among("transaction", "", change, |server| {
            fs::copy(demand_tls(server), of_server).unwrap();
            through(server.address()).to_string()
        });
        Self {
            world,
            authority,
            _directory: directory,
        }
    }

    fn session(&self, tenant: usize) -> Client {
        let raw = Client::raw_over_tls(self.world.address(), &self.authority).unwrap();
        let client = raw.start("anyone", "world", &[], Some(&token(tenant)));
        client.expect("the proxy lets a good token in")
    }
}

/// Has the server take nobody but the superuser without TLS and SCRAM. Gives its authority.
fn demand_tls(server: &Server) -> PathBuf {
    let data = server.directory();
    let made = certificates(data, "authority");
    let owner = fs::metadata(data).unwrap();
    let (user, group) = (Some(owner.uid()), Some(owner.gid()));
    std::os::unix::fs::chown(&made.listener.key, user, group).unwrap();
    fs::write(data.join("pg_hba.conf"), HBA).unwrap();
    let mut admin = Client::connect(server.address(), "postgres", "postgres", &[], None).unwrap();
    for sql in [
        &format!(
            "ALTER ROLE {ROLE} PASSWORD '{}'",
            PASSWORD.replace('\'', "''")
        ),
        "ALTER SYSTEM SET ssl = on",
    ] {
        admin.query(sql).ok();
    }
    server.restart("fast");
    made.authority
}

#[test]
fn readers_over_tls_share_connections() {
    let encrypted = Encrypted::start(2);
    let world = &encrypted.world;
    let multiplexed = || world.metric("pgwarden_multiplexed_reads_total");
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Who shares has the same claims, hence logs in with the same token.
        let tokens = [token(1), token(2)];
        for at in 0..8 {
            let (over, encrypted) = (&over, &encrypted);
            let raw = Client::raw_over_tls(world.address(), &encrypted.authority).unwrap();
            let (tenant, token) = (1 + at % 2, &tokens[at % 2]);
            let mut client = raw.start("anyone", "world", &[], Some(token)).unwrap();
            scope.spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    assert!(read_word(&mut client, tenant, n, n % 2 == 0).is_some());
                }
            });
        }
        let _over = Over(&over);
        until("sharing", || multiplexed() >= 300.0);
    });
    let mut admin = world.superuser();
    let sql = format!(
        "SELECT bool_and(ssl) AND count(*) > 1 FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE usename = '{ROLE}'"
    );
    assert_eq!(admin.query(&sql).ok().value().as_deref(), Some("t"));
}

/// Sizes of messages, some of which end where the kernel takes no more and the proxy's own buffers are
/// empty already: the rest of those is in TLS alone.
fn sizes(taken_by_the_kernel: usize) -> impl Iterator<Item = usize> {
    (0..14).map(move |n| taken_by_the_kernel - (96 << 10) + (n << 15))
}

#[test]
fn the_end_of_a_large_answer_reaches_a_slow_client() {
    let encrypted = Encrypted::start(2);
    let proxy = encrypted.world.address();
    let ask = |bytes: usize| {
        let mut client = encrypted.session(1);
        let rows = bytes / 1_027;
        client.send_query(&format!(
            "SELECT repeat('x', 1000), word FROM words, generate_series(1, {rows})"
        ));
        // As much of it as there is room for.
        let taken = settled(proxy, client.own_address());
        (client, taken, rows)
    };
    let taken = until_some("a way that is full", || {
        Some(ask(40 << 20).1).filter(|taken| *taken > 100 << 10)
    });
    for bytes in sizes(taken) {
        let (mut client, _, rows) = ask(bytes);
        let reply = client.reply();
        assert!(!client.timed_out, "the rest of {rows} rows did not come");
        assert_eq!(reply.ok().results[0].rows.len(), rows);
    }
}

#[test]
fn the_end_of_a_large_message_reaches_a_slow_server() {
    let mut pipe = None;
    let change = |settings: &mut Settings| settings.pool.max_lifetime = Duration::ZERO;
    let encrypted =
        Encrypted::start_with(1, change, |server| pipe.insert(Pipe::to(server)).address());
    let pipe = pipe.unwrap();
    let mut client = encrypted.session(1);
    let mut ask = |bytes: usize| {
        let value = "x".repeat(bytes);
        client.query("BEGIN").ok();
        pipe.hold(true);
        let sql = "SELECT length($1::text), word FROM words";
        client.send_extended(sql, &[Some(&value)]);
        let taken = pipe.taken();
        pipe.hold(false);
        let reply = client.reply();
        assert!(!client.timed_out, "no answer to {bytes} bytes");
        assert_eq!(reply.ok().value(), Some(bytes.to_string()));
        // The next one is on a connection of its own.
        client.query("COMMIT").ok();
        taken
    };
    let taken = until_some("a way that is full", || {
        Some(ask(30 << 20)).filter(|taken| *taken > 100 << 10)
    });
    for bytes in sizes(taken) {
        ask(bytes);
    }
}
