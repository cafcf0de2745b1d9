//! A throwaway PostgreSQL for one test binary: the demo's, with settings for suites.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pgwarden::demo::port;
use pgwarden::demo::postgres::{LaunchError, Postgres};

/// A running server. Its superuser is `postgres`; connections from loopback are trusted.
#[derive(Debug)]
pub struct Server {
    postgres: Postgres,
    data: PathBuf,
}

const HBA: &str = "local all all trust\nhost all all 127.0.0.1/32 trust\n\
    host replication all 127.0.0.1/32 trust\n";

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
        Self::of(postgres)
    }

    fn of(postgres: Result<Postgres, LaunchError>) -> Self {
        let postgres = postgres.unwrap_or_else(|error| panic!("{error}"));
        let data = postgres.directory().join("data");
        Self { postgres, data }
    }

    /// Starts a standby that streams from this server.
    pub fn standby(&self) -> Self {
        let prepare = |data: &Path| {
            write_settings(data)?;
            fs::write(data.join("pg_hba.conf"), HBA)
        };
        Self::of(Postgres::start_standby(self.address(), prepare))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.postgres.address()
    }

    /// Stops it (`fast` ends the sessions with 57P01, `immediate` is a crash) and starts it again.
    pub fn restart(&self, mode: &str) {
        self.control(&["restart", "--mode", mode]);
    }

    /// Stops it.
    pub fn stop(&self, mode: &str) {
        self.control(&["stop", "--mode", mode]);
    }

    /// Starts it again.
    pub fn start_again(&self) {
        self.control(&["start"]);
    }

    fn control(&self, arguments: &[&str]) {
        let owner = fs::metadata(&self.data).expect("it has a directory");
        let started = fs::read_to_string(self.data.join("postmaster.opts"));
        let started = started.expect("it has been started");
        let postgres = Path::new(started.split(' ').next().unwrap_or_default());
        let mut command = Command::new(postgres.with_file_name("pg_ctl"));
        command
            .args(arguments)
            .args(["--wait", "--silent", "--pgdata"]);
        command.arg(&self.data).current_dir(&self.data);
        if arguments.first() != Some(&"stop") {
            command.arg("--log").arg(self.data.join("restarts.log"));
        }
        command.uid(owner.uid()).gid(owner.gid());
        let status = command.stdin(Stdio::null()).status();
        assert!(status.expect("pg_ctl runs").success(), "{arguments:?}");
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

/// An address that nobody listens at, nor gets by chance.
pub fn free_address() -> SocketAddr {
    port::free_address().expect("loopback has a free port")
}

/// Whether something listens there.
pub fn reachable(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
