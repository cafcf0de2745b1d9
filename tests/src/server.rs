//! A throwaway PostgreSQL for one test binary.
//!
//! It ends with the process whatever becomes of it: a shell waits on a pipe whose other end only
//! this process holds, stops the server when the pipe closes, and removes the data directory.

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// A running server. Its superuser is `postgres`; connections from loopback are trusted.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    directory: PathBuf,
    _keeper: Child,
}

const KEEPER: &str = r#"
"$1/postgres" -D "$2" >"$2/log" 2>&1 &
server=$!
cat >/dev/null
kill -INT $server
wait $server
rm -rf "$2"
"#;

impl Server {
    /// Initialises and starts a server on a free port of 127.0.0.1.
    pub fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// The same, with a hand in its files (`pg_hba.conf`, `postgresql.conf`, keys) before it
    /// starts. The superuser must stay able to connect over TCP.
    pub fn start_with(prepare: impl FnOnce(&Path)) -> Self {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let binaries = binaries();
        let directory = std::env::temp_dir().join(format!(
            "pgwarden-tests-{}-{}-{:x}",
            std::process::id(),
            STARTED.fetch_add(1, Ordering::Relaxed),
            Instant::now().elapsed().as_nanos() ^ u128::from(std::process::id())
        ));
        fs::create_dir(&directory).expect("the data directory can be made");
        let account = account();
        if let Some((uid, gid)) = account {
            chown(&directory, Some(uid), Some(gid)).expect("root can give the directory away");
        }
        run(as_account(
            Command::new(binaries.join("initdb")).args([
                "--username=postgres",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--pgdata",
                directory.to_str().expect("the path is UTF-8"),
            ]),
            account,
        ));
        let address = free_address();
        write_settings(&directory, address);
        prepare(&directory);
        give_away(&directory, account);
        let mut keeper = Command::new("sh");
        keeper
            .arg("-c")
            .arg(KEEPER)
            .arg("keeper")
            .arg(&binaries)
            .arg(&directory)
            .stdin(Stdio::piped())
            .process_group(0);
        let keeper = as_account(&mut keeper, account)
            .spawn()
            .expect("the server can be started");
        let server = Self {
            address,
            directory: directory.clone(),
            _keeper: keeper,
        };
        server.wait(&directory);
        server
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory, where its unix socket is, too.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn wait(&self, directory: &Path) {
        let started = Instant::now();
        while crate::wire::Client::connect(self.address, "postgres", "postgres", &[], None).is_err()
        {
            if started.elapsed() > Duration::from_secs(30) {
                let log = fs::read_to_string(directory.join("log")).unwrap_or_default();
                panic!("PostgreSQL did not start: {log}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Where `initdb` and `postgres` are: `PGWARDEN_PG_BIN`, PATH, or Debian's directories, newest first.
fn binaries() -> PathBuf {
    if let Some(given) = std::env::var_os("PGWARDEN_PG_BIN") {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    debian.sort();
    places.extend(debian.into_iter().rev());
    places
        .into_iter()
        .find(|place| place.join("initdb").is_file() && place.join("postgres").is_file())
        .expect("PostgreSQL's initdb and postgres are installed (see scripts/setup.sh)")
}

/// PostgreSQL refuses to run as root: the account to run it under when we are.
fn account() -> Option<(u32, u32)> {
    let uid = run(Command::new("id").arg("-u"));
    if uid.trim() != "0" {
        return None;
    }
    let number = |option: &str| {
        let text = run(Command::new("id").args([option, "postgres"]));
        text.trim().parse().expect("id prints a number")
    };
    Some((number("-u"), number("-g")))
}

/// What root has written into the data directory belongs to the server's account.
fn give_away(directory: &Path, account: Option<(u32, u32)>) {
    let Some((uid, gid)) = account else {
        return;
    };
    for entry in fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_file() {
            chown(&path, Some(uid), Some(gid)).expect("root can give the file away");
        }
    }
}

fn as_account(command: &mut Command, account: Option<(u32, u32)>) -> &mut Command {
    if let Some((uid, gid)) = account {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/")
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the command can be run");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A port that was free a moment ago.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
}

fn write_settings(directory: &Path, address: SocketAddr) {
    let mut file = fs::OpenOptions::new()
        .append(true)
        .open(directory.join("postgresql.conf"))
        .expect("initdb wrote its configuration");
    let place = directory.display();
    writeln!(
        file,
        "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{place}'\n\
         fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nautovacuum = off\njit = off\n\
         max_connections = 200\nshared_buffers = '64MB'\nmax_parallel_workers_per_gather = 0\n\
         log_min_messages = fatal\nlog_min_error_statement = panic",
        address.port()
    )
    .expect("the configuration can be extended");
}

/// Whether something listens there.
pub fn reachable(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}
