//! A throwaway PostgreSQL in a directory of its own.
//!
//! It ends with this process, whatever becomes of it: a shell waits on a pipe whose other end only
//! we hold, and when that closes (dropped, or we were killed) it stops the server and removes the
//! directory. Nothing is durable: fsync is off.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::account::Account;
use super::binaries;
use super::port::free_address;
use crate::random;

/// How long a server may take to be ready.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// How often it is asked whether it is.
const START_POLL: Duration = Duration::from_millis(20);

/// The one that every Linux has.
const LOCALE: &str = if cfg!(target_os = "linux") {
    "--locale=C.UTF-8"
} else {
    "--locale=C"
};

/// Arguments: the binaries, the directory. The standard input is the pipe; a line on it says that
/// all is prepared. The server that is stopped at the end is the one of the lock file: it may have
/// been restarted.
const KEEPER: &str = r#"
read -r prepared || { rm -rf "$2"; exit; }
"$1/postgres" -D "$2/data" >"$2/log" 2>&1 &
server=$!
exec 3<&0
(cat <&3 >/dev/null; [ -e "$2/stopped" ] || kill -INT "$server" 2>/dev/null) &
wait "$server"
: >"$2/stopped"
wait
server=$(head -n 1 "$2/data/postmaster.pid" 2>/dev/null) && kill -INT "$server" 2>/dev/null
while [ -n "$server" ] && kill -0 "$server" 2>/dev/null; do sleep 0.05; done
rm -rf "$2"
"#;

/// A running server. Its superuser is `postgres`, who gets in through the socket only.
#[derive(Debug)]
pub struct Postgres {
    address: SocketAddr,
    keeper: Keeper,
}

/// Starts the server, stops it when it is dropped, and removes the directory.
#[derive(Debug)]
struct Keeper {
    directory: PathBuf,
    shell: Child,
}

/// Why a server can't be had.
#[derive(Debug)]
pub enum LaunchError {
    /// It is not installed, or not usable; the text to show.
    Missing(String),
    /// A file, directory or process could not be made.
    Io(io::Error),
    /// `initdb` or `postgres` failed; what it wrote.
    Failed(String),
}

impl std::fmt::Display for LaunchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing(why) => f.write_str(why),
            Self::Io(error) => write!(f, "can't start PostgreSQL: {error}"),
            Self::Failed(output) => write!(f, "can't start PostgreSQL:\n{}", output.trim_end()),
        }
    }
}

impl std::error::Error for LaunchError {}

impl From<io::Error> for LaunchError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Postgres {
    /// Initialises and starts a server on a free port of 127.0.0.1. `prepare` gets its data
    /// directory before it starts, to extend `pg_hba.conf` (only the superuser gets in, through
    /// the socket) and `postgresql.conf`, and to put other files there.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn start(prepare: impl FnOnce(&Path) -> io::Result<()>) -> Result<Self, LaunchError> {
        Self::start_filled(initialise, prepare)
    }

    /// Starts a standby of a server that lets its superuser replicate from loopback.
    ///
    /// # Errors
    /// See [`LaunchError`].
    pub fn start_standby(
        primary: SocketAddr,
        prepare: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, LaunchError> {
        let fill = |binaries: &Path, data: &Path, account| {
            // The links in a directory of PATH may be to the server's own programs only.
            let postgres = binaries.join("postgres").canonicalize()?;
            let mut command = Command::new(postgres.with_file_name("pg_basebackup"));
            command.args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"]);
            command.args(["--username=postgres", "--host=127.0.0.1", "--port"]);
            command.arg(primary.port().to_string());
            run(command.arg("--pgdata").arg(data), account)
        };
        Self::start_filled(fill, prepare)
    }

    /// `fill` gets the binaries, the data directory to make, and whose it shall be.
    fn start_filled(
        fill: impl FnOnce(&Path, &Path, Account) -> Result<(), LaunchError>,
        prepare: impl FnOnce(&Path) -> io::Result<()>,
    ) -> Result<Self, LaunchError> {
        let binaries = binaries::find().map_err(LaunchError::Missing)?;
        let directory = Unfinished::new()?;
        let account = Account::choose(&directory.path)?;
        account.give(&directory.path)?;
        let mut keeper = Keeper::engage(&binaries, directory, account)?;
        let data = keeper.directory.join("data");
        fill(&binaries, &data, account)?;
        // Filling takes a while, in which somebody else could take the port.
        let address = free_address()?;
        configure(&keeper.directory, address)?;
        prepare(&data)?;
        account.give_files(&data)?;
        keeper.start()?;
        Ok(Self { address, keeper })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its directory: the socket is there, and there is room for files of the caller's. Nobody
    /// else may enter.
    pub fn directory(&self) -> &Path {
        &self.keeper.directory
    }

    /// Writes a file into the directory that only this process's user can read.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write_file(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.keeper.directory.join(name);
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600);
        file.open(&path)?.write_all(text.as_bytes())?;
        Ok(path)
    }
}

impl Keeper {
    /// From here on the directory is the keeper's to remove.
    fn engage(binaries: &Path, directory: Unfinished, account: Account) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", KEEPER, "keeper"]);
        shell.arg(binaries).arg(&directory.path);
        shell.stdin(Stdio::piped()).stdout(Stdio::null());
        // Ctrl-C is for us; the server goes when we have gone.
        shell.process_group(0);
        let shell = account.applied(&mut shell).spawn()?;
        let directory = directory.finished();
        Ok(Self { directory, shell })
    }

    /// Starts the server, whose data is there.
    fn start(&mut self) -> Result<(), LaunchError> {
        if let Some(pipe) = &mut self.shell.stdin {
            pipe.write_all(b"prepared\n")?;
        }
        self.wait()
    }

    /// Waits until the server says in its lock file that it is ready, as `pg_ctl` does.
    fn wait(&self) -> Result<(), LaunchError> {
        let started = Instant::now();
        let lock = self.directory.join("data/postmaster.pid");
        loop {
            let status = fs::read_to_string(&lock).unwrap_or_default();
            if status.lines().nth(7).map(str::trim) == Some("ready") {
                return Ok(());
            }
            let stopped = self.directory.join("stopped").exists();
            if stopped || started.elapsed() > START_TIME_MAX {
                let log = fs::read_to_string(self.directory.join("log"));
                return Err(LaunchError::Failed(log.unwrap_or_default()));
            }
            std::thread::sleep(START_POLL);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // It has nothing to report: what it could not remove stays.
        let _ = self.shell.wait();
    }
}

/// A directory that is removed unless everything goes well.
struct Unfinished {
    path: PathBuf,
}

impl Unfinished {
    fn new() -> io::Result<Self> {
        use std::fmt::Write as _;
        let mut name = "pgwarden-".to_owned();
        for byte in random::bytes(8)? {
            // Writing to a String can't fail.
            let _ = write!(name, "{byte:02x}");
        }
        let path = std::env::temp_dir().join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self { path })
    }

    fn finished(mut self) -> PathBuf {
        std::mem::take(&mut self.path)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

fn initialise(binaries: &Path, data: &Path, account: Account) -> Result<(), LaunchError> {
    let mut command = Command::new(binaries.join("initdb"));
    command.args(["--username=postgres", "--encoding=UTF8", LOCALE]);
    command.args(["--auth=reject", "--no-sync", "--pgdata"]);
    run(command.arg(data), account)
}

fn run(command: &mut Command, account: Account) -> Result<(), LaunchError> {
    let output = account.applied(command).output()?;
    if output.status.success() {
        return Ok(());
    }
    let written = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(LaunchError::Failed(written))
}

fn configure(directory: &Path, address: SocketAddr) -> io::Result<()> {
    let data = directory.join("data");
    let settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
         unix_socket_permissions = 0700\npassword_encryption = 'scram-sha-256'\n\
         fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_wal_size = '256MB'\n\
         shared_buffers = '64MB'\nmax_connections = 100\n",
        address.port(),
        directory.display().to_string().replace('\'', "''"),
    );
    let mut options = OpenOptions::new();
    let mut file = options.append(true).open(data.join("postgresql.conf"))?;
    file.write_all(settings.as_bytes())?;
    // The file is initdb's: writing to it keeps its owner and mode.
    fs::write(data.join("pg_hba.conf"), "local all postgres trust\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_behind() {
        let server = Postgres::start(|_| Ok(())).expect("PostgreSQL starts");
        let directory = server.directory().to_owned();
        server.write_file("note", "x").expect("there is room");
        let address = server.address();
        assert!(std::net::TcpStream::connect(address).is_ok());
        drop(server);
        assert!(!directory.exists());
        assert!(std::net::TcpStream::connect(address).is_err());
    }

    #[test]
    fn says_why_it_does_not_start() {
        let started = Postgres::start(|data| fs::write(data.join("pg_hba.conf"), "nonsense\n"));
        let error = started.expect_err("PostgreSQL refuses its hba file");
        assert!(error.to_string().contains("pg_hba.conf"), "{error}");
    }
}
