//! A throwaway PostgreSQL for one test binary: the demo's, with settings for suites.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use pgwarden::demo::postgres::Postgres;

/// A running server. Its superuser is `postgres`; connections from loopback are trusted.
#[derive(Debug)]
pub struct Server {
    postgres: Postgres,
    data: PathBuf,
}

const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 trust\n";

impl Server {
    /// Initialises and starts a server on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with a hand in its files (`pg_hba.conf`, `postgresql.conf`, keys) before it
    /// starts.
    pub fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        let postgres = Postgres::start(|data| {
            write_settings(data)?;
            fs::write(data.join("pg_hba.conf"), HBA)?;
            prepare(data);
            Ok(())
        });
        let postgres = postgres.unwrap_or_else(|error| panic!("{error}"));
        let data = postgres.directory().join("data");
        Self { postgres, data }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.postgres.address()
    }

    /// Its data directory, where its unix socket is, too.
    pub fn directory(&self) -> &Path {
        &self.data
    }
}

fn write_settings(data: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.append(true).open(data.join("postgresql.conf"))?;
    writeln!(
        file,
        "unix_socket_directories = '{}'\nunix_socket_permissions = 0777\n\
         autovacuum = off\njit = off\nmax_connections = 200\n\
         max_parallel_workers_per_gather = 0\n\
         log_min_messages = fatal\nlog_min_error_statement = panic",
        data.display()
    )
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

/// Whether something listens there.
pub fn reachable(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
