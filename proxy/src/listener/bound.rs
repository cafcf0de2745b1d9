//! Listening sockets: where they come from, and how they are left without losing a client.
//!
//! A client that the kernel has shaken hands with waits in its listener's queue, and is reset with it
//! when the socket is closed. So a process that is replaced
//!
//! - leaves an inherited socket alone: the queue is that of whoever else holds it (systemd, the next
//!   process);
//! - turns new clients away from a socket with `reuse_port` first, by dropping their SYN: they ask
//!   again after a second, and by then only the next process listens. It takes in who waits, and whose
//!   handshake is under way, and closes the socket then. (`net.ipv4.tcp_migrate_req` would do that in
//!   the kernel; it is off by default.)

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use listenfd::ListenFd;
use pgwarden_config::settings;
use socket2::{SockFilter, SockRef};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout, timeout_at};

/// As many clients may wait to be accepted as tokio's own listeners let wait.
const BACKLOG: u32 = 1024;

/// When no client has come for so long, none is on its way any more: a handshake takes one round trip
/// from here on.
const LULL: Duration = Duration::from_millis(300);

/// Leaving takes no longer than this.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Sockets that the process was started with, as systemd's socket activation passes them.
#[derive(Debug, Default)]
pub struct Inherited(Vec<std::net::TcpListener>);

impl Inherited {
    /// Those that `LISTEN_FDS` tells of. To be asked for once, before there are other threads.
    ///
    /// # Errors
    /// When one is no listening TCP socket.
    pub fn from_process() -> io::Result<Self> {
        let mut descriptors = ListenFd::from_env();
        let mut sockets = Vec::new();
        for at in 0..descriptors.len() {
            sockets.extend(descriptors.take_tcp_listener(at)?);
        }
        Ok(Self(sockets))
    }

    /// The one with this address.
    pub(crate) fn take(&mut self, address: SocketAddr) -> Option<std::net::TcpListener> {
        let mut sockets = self.0.iter();
        let at = sockets.position(|it| it.local_addr().is_ok_and(|own| own == address))?;
        Some(self.0.swap_remove(at))
    }

    /// An address that nobody has asked for.
    pub(crate) fn left(&self) -> Option<SocketAddr> {
        self.0.iter().find_map(|it| it.local_addr().ok())
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Bound {
    socket: TcpListener,
    origin: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Nobody else listens there.
    Own,
    /// Another process may listen beside this one (`reuse_port`).
    Beside,
    /// Another process holds the same socket.
    Inherited,
}

impl Bound {
    pub(super) fn new(
        settings: &settings::Listener,
        inherited: &mut Inherited,
    ) -> io::Result<Self> {
        if let Some(socket) = inherited.take(settings.address) {
            socket.set_nonblocking(true)?;
            return Ok(Self {
                socket: TcpListener::from_std(socket)?,
                origin: Origin::Inherited,
            });
        }
        let socket = match settings.address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        let origin = match settings.reuse_port {
            true => Origin::Beside,
            false => Origin::Own,
        };
        socket.set_reuseport(settings.reuse_port)?;
        socket.bind(settings.address)?;
        Ok(Self {
            socket: socket.listen(BACKLOG)?,
            origin,
        })
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Whether clients find another process there when this one leaves.
    pub(crate) fn is_shared(&self) -> bool {
        self.origin != Origin::Own
    }

    pub(super) async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.socket.accept().await
    }

    /// Listens no more. Clients that only this socket has are taken in before.
    pub(super) async fn leave(self, mut admit: impl FnMut(TcpStream, SocketAddr)) {
        if self.origin != Origin::Beside {
            return;
        }
        if let Err(error) = turn_away(&self.socket) {
            tracing::warn!(%error, "new clients can't be turned to another process");
        }
        let end = Instant::now() + LEAVE_TIMEOUT;
        let next = || timeout(LULL, self.socket.accept());
        while let Ok(Ok(Ok((stream, peer)))) = timeout_at(end, next()).await {
            admit(stream, peer);
        }
    }
}

/// Drops the SYN of new clients, and lets everything else through.
fn turn_away(socket: &TcpListener) -> io::Result<()> {
    // Classic BPF over the TCP header, whose byte 13 holds the flags.
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SYN: u32 = 0x02;
    const SYN_OR_ACK: u32 = 0x12;
    SockRef::from(socket).attach_filter(&[
        SockFilter::new(LOAD_BYTE, 0, 0, 13),
        SockFilter::new(AND, 0, 0, SYN_OR_ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ])
}
