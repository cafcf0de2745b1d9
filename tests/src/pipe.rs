//! A TCP pipe that does harm: it stands between the proxy and its server, and stalls, cuts or
//! half-closes what goes through it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use crate::sockets::settled;

/// How to harm.
#[derive(Debug, Default)]
struct Harm {
    /// What the server says stays in the pipe.
    stalled: AtomicBool,
    /// What the server is told stays in the pipe.
    held: AtomicBool,
    /// So many bytes of the server go on before both sides are closed; 0 for no end.
    cut_after: AtomicUsize,
    connections: Mutex<Vec<(TcpStream, TcpStream)>>,
    /// How many connections there have been.
    opened: AtomicUsize,
}

/// A pipe to one server.
#[derive(Debug)]
pub struct Pipe {
    address: SocketAddr,
    harm: Arc<Harm>,
}

impl Pipe {
    /// A pipe to this server, that does no harm yet.
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let harm = Arc::<Harm>::default();
        let shared = Arc::clone(&harm);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down is one for the proxy, too.
                if let Ok(server) = TcpStream::connect(server) {
                    shared.join(client, server);
                }
            }
        });
        Self { address, harm }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections there have been.
    pub fn opened(&self) -> usize {
        self.harm.opened.load(Ordering::SeqCst)
    }

    /// Keeps what the server says, or lets it go on.
    pub fn stall(&self, stalled: bool) {
        self.harm.stalled.store(stalled, Ordering::SeqCst);
    }

    /// Keeps what the server is told, or lets it go on.
    pub fn hold(&self, held: bool) {
        self.harm.held.store(held, Ordering::SeqCst);
    }

    /// What the kernel has of what the server is told on the newest connection, when it does not
    /// change any more.
    pub fn taken(&self) -> usize {
        let connections = self.harm.connections();
        let (client, _) = connections.last().expect("there is a connection");
        settled(
            client.peer_addr().expect("it is connected"),
            client.local_addr().expect("it is bound"),
        )
    }

    /// Cuts the next connection that has carried so many more bytes of the server.
    pub fn cut_after(&self, bytes: usize) {
        self.harm.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// The server's half of all connections ends; the other goes on.
    pub fn half_close(&self) {
        for (client, _) in self.harm.connections().iter() {
            let _ = client.shutdown(Shutdown::Write);
        }
    }

    /// Closes all connections, without a word.
    pub fn cut(&self) {
        for (client, server) in self.harm.connections().drain(..) {
            let _ = client.shutdown(Shutdown::Both);
            let _ = server.shutdown(Shutdown::Both);
        }
    }
}

impl Harm {
    fn connections(&self) -> MutexGuard<'_, Vec<(TcpStream, TcpStream)>> {
        self.connections.lock().expect("nobody panics with it")
    }

    fn join(self: &Arc<Self>, client: TcpStream, server: TcpStream) {
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let copy = |it: &TcpStream| it.try_clone().expect("a socket can be shared");
        let (mut up_from, mut up_to) = (copy(&client), copy(&server));
        let (mut down_from, mut down_to) = (copy(&server), copy(&client));
        self.opened.fetch_add(1, Ordering::SeqCst);
        self.connections().push((client, server));
        let harm = Arc::clone(self);
        std::thread::spawn(move || {
            harm.carry_up(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(Shutdown::Write);
        });
        let harm = Arc::clone(self);
        std::thread::spawn(move || {
            harm.carry(&mut down_from, &mut down_to);
            let _ = down_to.shutdown(Shutdown::Both);
            let _ = down_from.shutdown(Shutdown::Both);
        });
    }

    /// What the server is told, until it ends.
    fn carry_up(&self, from: &mut TcpStream, to: &mut TcpStream) {
        let mut chunk = [0; 16384];
        loop {
            let got = from.read(&mut chunk).unwrap_or(0);
            while self.held.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if got == 0 || to.write_all(&chunk[..got]).is_err() {
                return;
            }
        }
    }

    /// The server's bytes, until they end or are cut.
    fn carry(&self, from: &mut TcpStream, to: &mut TcpStream) {
        let mut chunk = [0; 16384];
        loop {
            let got = from.read(&mut chunk).unwrap_or(0);
            while self.stalled.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            let left = self.cut_after.load(Ordering::SeqCst);
            let cut = left > 0 && got >= left;
            let passing = if cut { left } else { got };
            if got == 0 || to.write_all(&chunk[..passing]).is_err() {
                return;
            }
            if cut {
                self.cut_after.store(0, Ordering::SeqCst);
                return;
            }
            if left > 0 {
                self.cut_after.store(left - got, Ordering::SeqCst);
            }
        }
    }
}
