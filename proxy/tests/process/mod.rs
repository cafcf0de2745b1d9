//! `pgwarden serve` as a process, in front of the server of a `World`.
#![allow(dead_code, unreachable_pub)]

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use pgwarden_tests::http::get;
use pgwarden_tests::proxy::SECRET;
use pgwarden_tests::server::free_address;
use pgwarden_tests::world::{POLICY, World};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// The files of processes that take each other's place.
pub struct Files {
    folder: TempDir,
    pub address: SocketAddr,
}

impl Files {
    /// `change` has the last word on `warden.toml`.
    pub fn new(world: &World, mode: &str, change: impl FnOnce(String) -> String) -> Self {
        Self::at(free_address(), world, mode, change)
    }

    pub fn at(
        address: SocketAddr,
        world: &World,
        mode: &str,
        change: impl FnOnce(String) -> String,
    ) -> Self {
        let files = Self {
            folder: tempfile::tempdir().unwrap(),
            address,
        };
        let listen = format!("[[listen]]\naddress = \"{address}\"");
        let settings = world.settings(mode);
        let settings = settings.replacen("[[listen]]\naddress = \"127.0.0.1:0\"", &listen, 1);
        std::fs::write(files.folder.path().join("warden.toml"), change(settings)).unwrap();
        files.write_policy(POLICY);
        files
    }

    pub fn write_policy(&self, text: &str) {
        std::fs::write(self.folder.path().join("policy.toml"), text).unwrap();
    }

    /// A process that binds the address itself.
    pub fn serve(&self) -> Process {
        let program = env!("CARGO_BIN_EXE_pgwarden");
        self.run(Command::new(program).arg("serve").stdin(Stdio::null()))
    }

    /// A process that is given the listening socket, as systemd does it.
    pub fn serve_with(&self, socket: &TcpListener) -> Process {
        let socket = OwnedFd::from(socket.try_clone().unwrap());
        let exec = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" serve 3<&0 </dev/null";
        let program = env!("CARGO_BIN_EXE_pgwarden");
        self.run(Command::new("sh").args(["-c", exec, program]).stdin(socket))
    }

    fn run(&self, command: &mut Command) -> Process {
        let admin = free_address();
        let child = command
            .current_dir(self.folder.path())
            .env("PGWARDEN_SUITES_SECRET", SECRET)
            .env("PGWARDEN_ADMIN__ADDRESS", admin.to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Process {
            child: child.unwrap(),
            admin,
        }
    }
}

/// A process; killed when it is dropped.
pub struct Process {
    child: Child,
    pub admin: SocketAddr,
}

impl Process {
    /// Waits until it serves.
    pub fn ready(mut self) -> Self {
        let started = Instant::now();
        while std::net::TcpStream::connect(self.admin).is_err() {
            if self.child.try_wait().unwrap().is_some() {
                panic!("{}", self.end().1);
            }
            assert!(started.elapsed() < Duration::from_secs(60), "not ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(get(self.admin, "/readyz").0, 200);
        self
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap();
    }

    /// What it shows of itself.
    pub fn metric(&self, name: &str) -> f64 {
        let text = get(self.admin, "/metrics").1;
        let start = format!("{name} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&start));
        line.unwrap_or_else(|| panic!("no {name}"))
            .trim()
            .parse()
            .unwrap()
    }

    /// Bytes that are resident.
    pub fn memory(&self) -> usize {
        self.status("VmRSS")
    }

    /// The most that it had since [`Process::start_of_peak`].
    pub fn peak_memory(&self) -> usize {
        self.status("VmHWM")
    }

    /// Begins to look for a peak; gives what is resident now.
    pub fn start_of_peak(&self) -> usize {
        std::fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5").unwrap();
        self.memory()
    }

    /// Whether none of its threads runs, or waits for a processor.
    pub fn sleeps(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        tasks.unwrap().all(|task| {
            let stat = std::fs::read_to_string(task.unwrap().path().join("stat"));
            // A thread may have ended meanwhile. The state is behind the name, in brackets (proc(5)).
            stat.is_ok_and(|stat| {
                stat.rsplit(") ")
                    .next()
                    .is_some_and(|it| it.starts_with('S'))
            })
        })
    }

    fn status(&self, name: &str) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = value.unwrap().trim_matches(|it: char| !it.is_ascii_digit());
        kilobytes.parse::<usize>().unwrap() << 10
    }

    /// Waits until it ends: its status, and what it has said on standard error.
    pub fn end(&mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        if let Some(mut error) = self.child.stderr.take() {
            std::io::Read::read_to_string(&mut error, &mut said).unwrap();
        }
        (self.child.wait().unwrap(), said)
    }

    /// Tells it to end, and waits until it has.
    pub fn terminate(mut self) {
        self.signal(Signal::TERM);
        let (status, said) = self.end();
        assert!(status.success(), "{said}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
