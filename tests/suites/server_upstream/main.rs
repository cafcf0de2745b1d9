//! Logging in to PostgreSQLs that demand one method or another, by every `sslmode`; and the pool on
//! top: what a connection leaves behind is gone before the next session gets it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::unreachable
)]

mod cancel;
mod impostors;
mod login;
mod pool;

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use pgwarden::backend::{Backend, ConnectError, Upstream, connect, connect_control};
use pgwarden::refusal::Refusal;
use pgwarden_config::Secret;
use pgwarden_config::settings::{Database, Host, HostOrder, ServerAddress, SslMode, TargetSession};
use pgwarden_tests::patience::patience;
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

const PASSWORD: &str = "pass\u{e9}word '\\ with everything";

const HBA: &str = "
local all all trust
host all postgres 127.0.0.1/32 trust
host all trusted 127.0.0.1/32 trust
host all cleartext 127.0.0.1/32 password
host all md5 127.0.0.1/32 md5
host all scram 127.0.0.1/32 scram-sha-256
hostssl all only_tls 127.0.0.1/32 scram-sha-256
hostnossl all only_plain 127.0.0.1/32 scram-sha-256
host all rejected 127.0.0.1/32 reject
";

/// A server with TLS, a server without, and certificates.
struct World {
    with_tls: Server,
    without_tls: Server,
    authority: PathBuf,
    other_authority: PathBuf,
    /// The server's own certificate.
    certificate: PathBuf,
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let ours = authority("ours");
        let other = authority("other");
        let key = KeyPair::generate().unwrap();
        // A name that "127.0.0.1" does not match, but "localhost" does.
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ours).unwrap();
        let with_tls = Server::start_with(|directory| {
            write_hba(directory);
            fs::write(directory.join("server.crt"), certificate.pem()).unwrap();
            write_key(&directory.join("server.key"), &key);
            let file = directory.join("postgresql.conf");
            let settings = fs::read_to_string(&file).unwrap();
            fs::write(
                file,
                settings + "\nssl = on\nlisten_addresses = 'localhost'\n",
            )
            .unwrap();
        });
        let without_tls = Server::start_with(write_hba);
        for server in [&with_tls, &without_tls] {
            roles(server.address());
        }
        let place = with_tls.directory();
        let write = |name: &str, pem: String| {
            fs::write(place.join(name), pem).unwrap();
            place.join(name)
        };
        World {
            authority: write("ours.pem", ours.pem()),
            other_authority: write("other.pem", other.pem()),
            certificate: write("own.pem", certificate.pem()),
            with_tls,
            without_tls,
        }
    })
}

fn write_hba(directory: &Path) {
    fs::write(directory.join("pg_hba.conf"), HBA).unwrap();
}

fn write_key(path: &Path, key: &KeyPair) {
    fs::write(path, key.serialize_pem()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn roles(address: SocketAddr) {
    let mut admin = Client::connect(address, "postgres", "postgres", &[], None).unwrap();
    let quoted = PASSWORD.replace('\'', "''");
    let mut run = |sql: &str| {
        let reply = admin.query(sql);
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
    };
    run("CREATE ROLE trusted LOGIN");
    for role in ["cleartext", "scram", "only_tls", "only_plain", "rejected"] {
        run(&format!("CREATE ROLE {role} LOGIN PASSWORD '{quoted}'"));
    }
    run("SET password_encryption = 'md5'");
    run(&format!("CREATE ROLE md5 LOGIN PASSWORD '{quoted}'"));
    run("CREATE ROLE low NOLOGIN");
    run("GRANT low TO trusted");
}

fn database(address: SocketAddr, user: &str, ssl_mode: SslMode) -> Database {
    Database {
        hosts: vec![ServerAddress {
            host: Host::Tcp(address.ip().to_string()),
            port: address.port(),
        }],
        target: TargetSession::Any,
        order: HostOrder::AsWritten,
        user: user.to_owned(),
        password: Some(Secret::new(PASSWORD)),
        dbname: Some("postgres".to_owned()),
        ssl_mode,
        ssl_root: None,
        max_server_connections: 2,
        catalog_interval: Database::CATALOG_INTERVAL,
        max_replica_lag: None,
    }
}

async fn login(settings: &Database) -> Result<Backend, ConnectError> {
    let upstream = Arc::new(Upstream::new(settings, "postgres").unwrap());
    let backend = connect(&upstream, &Vec::new()).await;
    // The control connection takes the same way.
    match (&backend, connect_control(&upstream).await) {
        (Ok(_), Ok(_)) | (Err(_), Err(_)) => {}
        (one, other) => panic!("{one:?}, but {:?}", other.map(|_| ())),
    }
    backend
}

/// The first column of the one row of a constant query.
async fn ask(backend: &mut Backend, sql: &'static str) -> String {
    backend.outbox().own_query(sql);
    backend.flush().await.unwrap();
    let mut value = String::new();
    loop {
        while let Some((tag, body)) = frame(backend) {
            match tag {
                b'D' => value = String::from_utf8(body[6..].to_vec()).unwrap(),
                b'E' => panic!("{}", body.escape_ascii()),
                b'Z' => return value,
                _ => {}
            }
        }
        assert_ne!(backend.fill().await.unwrap(), 0, "the server closed");
    }
}

/// What comes while the statement is cancelled again and again: a request that is there before the
/// statement has begun ends nothing.
async fn until_answered<T>(answer: impl Future<Output = T>, mut cancel: impl AsyncFnMut()) -> T {
    let cancels = async {
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cancel().await;
        }
    };
    let answered = async {
        tokio::select! {
            answer = answer => answer,
            () = cancels => unreachable!("it goes on"),
        }
    };
    let answered = tokio::time::timeout(patience(), answered).await;
    answered.expect("the statement was cancelled")
}

fn frame(backend: &mut Backend) -> Option<(u8, Vec<u8>)> {
    let inbox = backend.inbox();
    let length = inbox.get(1..5)?.try_into().unwrap();
    let length = u32::from_be_bytes(length) as usize;
    if inbox.len() <= length {
        return None;
    }
    let frame = inbox.split_to(length + 1);
    Some((frame[0], frame[5..].to_vec()))
}

fn sqlstate(error: &ConnectError) -> String {
    match error.refusal() {
        Refusal::Own { sqlstate, .. } => sqlstate.to_owned(),
        Refusal::Server(frame) => {
            let at = frame.windows(2).position(|two| two == b"\0C").unwrap();
            String::from_utf8(frame[at + 2..at + 7].to_vec()).unwrap()
        }
    }
}
