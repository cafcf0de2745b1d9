//! The start of a connection: encryption, the start-up packet, the token.
//!
//! Every byte is read by exact count, so nothing that came in the clear is left in a buffer when
//! TLS begins (CVE-2021-23214). Nobody is asked for a token over a connection on which a token may
//! not be shown, and nothing is looked up for a client before its token is verified.

mod login;
mod options;
mod parameters;
mod stream;

use std::io;
use std::net::SocketAddr;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::listener::Listener;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::wire::startup::{self, Opening};
use crate::wire::{Malformed, Report, answer};

pub(crate) use login::{LoginError, authenticate};
pub(crate) use parameters::Requested;
pub(crate) use stream::ClientStream;

/// The newest minor version of protocol 3 that is spoken.
const MINOR_VERSION: u16 = 2;

/// The first byte of a TLS handshake; no start-up packet begins with it.
const TLS_HANDSHAKE: u8 = 0x16;

/// A client that has sent its start-up packet.
#[derive(Debug)]
pub(crate) struct Newcomer {
    /// Its socket.
    pub(crate) stream: ClientStream,
    /// The protocol's minor version that is spoken.
    pub(crate) minor: u16,
    /// What it asks for.
    pub(crate) requested: Requested,
}

/// What a connection came for.
pub(crate) enum Visit {
    /// A session.
    Session(Newcomer),
    /// To cancel what another session runs.
    Cancel {
        /// Open until the server has taken the request: its end tells the client that a cancel
        /// can't hit what it sends next (libpq's PQcancel waits for it).
        stream: ClientStream,
        /// The server process.
        pid: i32,
        /// The key.
        secret: Vec<u8>,
    },
}

/// Why a connection ended before it became a session.
#[derive(Debug)]
pub(crate) enum Ended {
    /// The socket broke, or the client left.
    Socket,
    /// It was told why.
    Refused,
}

impl From<io::Error> for Ended {
    fn from(_: io::Error) -> Self {
        Self::Socket
    }
}

/// Reads as far as the start-up packet.
pub(crate) async fn receive(
    socket: TcpStream,
    peer: SocketAddr,
    listener: &Listener,
    proxy: &Proxy,
) -> Result<Visit, Ended> {
    let mut stream = begin(socket, listener).await?;
    let mut asked_for_tls = stream.is_encrypted();
    let mut asked_for_gss = false;
    loop {
        match opening(&mut stream).await? {
            Opening::Ssl if !asked_for_tls => {
                asked_for_tls = true;
                stream = upgrade(stream, listener).await?;
            }
            Opening::GssEncryption if !asked_for_gss => {
                asked_for_gss = true;
                stream.write_all(b"N").await?;
                stream.flush().await?;
            }
            Opening::Ssl | Opening::GssEncryption => {
                let again = Report::fatal("08P01", "unsupported frontend protocol: asked again");
                return Err(refuse(stream, &again).await);
            }
            Opening::Cancel { pid, secret } => {
                return Ok(Visit::Cancel {
                    stream,
                    pid,
                    secret,
                });
            }
            Opening::Session {
                major,
                minor,
                parameters,
            } => {
                let version = (major, minor);
                return session(stream, version, parameters, peer, listener, proxy).await;
            }
        }
    }
}

/// TLS from the first byte on, as libpq's `sslnegotiation=direct` does, or not yet.
async fn begin(socket: TcpStream, listener: &Listener) -> Result<ClientStream, Ended> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Err(Ended::Socket);
    }
    if first != [TLS_HANDSHAKE] {
        return Ok(ClientStream::Plain(socket));
    }
    let tls = handshake(socket, listener).await?;
    // Direct TLS without ALPN could be another protocol's client that was led here.
    match tls.get_ref().1.alpn_protocol() {
        Some(crate::tls::ALPN) => Ok(ClientStream::Tls(tls)),
        _ => Err(Ended::Socket),
    }
}

async fn handshake(
    socket: TcpStream,
    listener: &Listener,
) -> Result<Box<tokio_rustls::server::TlsStream<TcpStream>>, Ended> {
    let acceptor = listener.tls().ok_or(Ended::Socket)?;
    Ok(Box::new(acceptor.accept(socket).await?))
}

/// Answers SSLRequest.
async fn upgrade(stream: ClientStream, listener: &Listener) -> Result<ClientStream, Ended> {
    let ClientStream::Plain(mut socket) = stream else {
        return Err(Ended::Socket);
    };
    if listener.tls().is_none() {
        socket.write_all(b"N").await?;
        return Ok(ClientStream::Plain(socket));
    }
    // Whatever was sent before our answer was not sent by somebody who waits for TLS.
    match socket.try_read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Ok(0) | Err(_) => return Err(Ended::Socket),
        Ok(_) => {
            let early = Report::fatal("08P01", "received unencrypted data after SSL request");
            return Err(refuse(ClientStream::Plain(socket), &early).await);
        }
    }
    socket.write_all(b"S").await?;
    Ok(ClientStream::Tls(handshake(socket, listener).await?))
}

async fn opening(stream: &mut ClientStream) -> Result<Opening, Ended> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    // PostgreSQL says nothing either: the driver would show an error to somebody who is leaving.
    if length == startup::FAREWELL {
        return Err(Ended::Socket);
    }
    let read = match startup::body_length(length) {
        Ok(length) => {
            let mut body = vec![0; length];
            stream.read_exact(&mut body).await?;
            startup::opening(&body)
        }
        Err(malformed) => Err(malformed),
    };
    match read {
        Ok(opening) => Ok(opening),
        Err(Malformed(what)) => {
            let report = Report::fatal("08P01", what);
            Err(tell(stream, &report).await)
        }
    }
}

async fn session(
    mut stream: ClientStream,
    (major, minor): (u16, u16),
    parameters: Vec<(String, String)>,
    peer: SocketAddr,
    listener: &Listener,
    proxy: &Proxy,
) -> Result<Visit, Ended> {
    if major != 3 {
        let message = format!(
            "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.{MINOR_VERSION}"
        );
        return Err(refuse(stream, &Report::fatal("0A000", message)).await);
    }
    if listener.needs_tls(proxy, peer) && !stream.is_encrypted() {
        let report = Report::fatal("28000", "pgwarden: this connection must use TLS")
            .hint("Connect with sslmode=require or stricter.");
        return Err(refuse(stream, &report).await);
    }
    let unknown: Vec<&str> = parameters
        .iter()
        .filter_map(|(name, _)| name.starts_with("_pq_.").then_some(name.as_str()))
        .collect();
    let spoken = minor.min(MINOR_VERSION);
    if minor > MINOR_VERSION || !unknown.is_empty() {
        let mut out = BytesMut::new();
        answer::negotiate(&mut out, spoken, &unknown);
        stream.write_all(&out).await?;
        stream.flush().await?;
    }
    match Requested::new(parameters) {
        Ok(requested) => Ok(Visit::Session(Newcomer {
            stream,
            minor: spoken,
            requested,
        })),
        Err(error) => Err(refuse(stream, &error.report()).await),
    }
}

/// Tells the client why and closes the connection.
pub(crate) async fn refuse(mut stream: ClientStream, report: &Report) -> Ended {
    tell(&mut stream, report).await
}

/// The same for a [`Refusal`].
pub(crate) async fn refuse_by(mut stream: ClientStream, refusal: &Refusal) -> Ended {
    match refusal {
        Refusal::Own { sqlstate, message } => {
            tell(&mut stream, &Report::fatal(sqlstate, message.clone())).await
        }
        Refusal::Server(frame) => {
            let _ = stream.write_all(frame).await;
            let _ = stream.shutdown().await;
            Ended::Refused
        }
    }
}

async fn tell(stream: &mut ClientStream, report: &Report) -> Ended {
    let mut out = BytesMut::new();
    report.write(&mut out);
    // It may be gone; then there is nobody to tell.
    let _ = stream.write_all(&out).await;
    let _ = stream.shutdown().await;
    Ended::Refused
}
