//! Opening the socket, and TLS on it by libpq's `sslmode`.
//! <https://www.postgresql.org/docs/current/libpq-ssl.html>

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pgwarden_config::settings::{Host, ServerAddress, SslMode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use bytes::BytesMut;
use pgwire::messages::Message;
use pgwire::messages::startup::SslRequest;

use super::error::ConnectError;
use super::hosts::Site;
use super::stream::ServerStream;
use super::upstream::Upstream;
use crate::socket;

/// Connecting and logging in take no longer than this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The way to a host.
#[derive(Debug, Clone)]
pub(super) struct Way {
    site: Arc<Site>,
    /// Which of the addresses of its name, when that is known: a cancel must go to the server that
    /// the connection is on.
    address: Option<SocketAddr>,
}

impl Way {
    /// By any address of its name.
    pub(super) fn to(site: &Arc<Site>) -> Self {
        Self {
            site: Arc::clone(site),
            address: None,
        }
    }

    /// The same way again that a connection has taken.
    pub(super) fn by(&self, stream: &ServerStream) -> Self {
        Self {
            site: Arc::clone(&self.site),
            address: stream.peer(),
        }
    }

    async fn connect(&self, host: &str) -> io::Result<TcpStream> {
        if let Some(address) = self.address {
            return TcpStream::connect(address).await;
        }
        let found = tokio::net::lookup_host((host, self.site.address().port)).await?;
        connect_to_any(found.collect(), self.site.silent()).await
    }
}

/// Tries the addresses of a name, one after the other. One that does not answer is given up in time for the others, and
/// the next connection tries it last.
async fn connect_to_any(mut found: Vec<SocketAddr>, silent: &Silent) -> io::Result<TcpStream> {
    silent.put_last(&mut found);
    let share = CONNECT_TIMEOUT / 2 / u32::try_from(found.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let last = found.last().copied();
    for address in found {
        let connecting = TcpStream::connect(address);
        let connected = match Some(address) == last {
            true => Ok(connecting.await),
            false => tokio::time::timeout(share, connecting).await,
        };
        match connected {
            Ok(Ok(stream)) => {
                silent.answers(address);
                return Ok(stream);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => {
                silent.add(address);
                failure = io::ErrorKind::TimedOut.into();
            }
        }
    }
    Err(failure)
}

/// Addresses of a name that did not answer of late.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<Vec<SocketAddr>>);

impl Silent {
    fn all(&self) -> MutexGuard<'_, Vec<SocketAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the name has no more is forgotten.
    fn put_last(&self, found: &mut [SocketAddr]) {
        let mut all = self.all();
        all.retain(|address| found.contains(address));
        found.sort_by_key(|address| all.contains(address));
    }

    fn add(&self, address: SocketAddr) {
        let mut all = self.all();
        if !all.contains(&address) {
            all.push(address);
        }
    }

    fn answers(&self, address: SocketAddr) {
        self.all().retain(|silent| *silent != address);
    }
}

/// Whether one attempt uses TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It doesn't.
    Plain,
    /// It does where the server offers it.
    Offered,
    /// It must.
    Tls,
}

/// The attempts of a mode, in order: the second is made when the server refuses the first one's
/// kind of connection.
fn attempts(mode: SslMode) -> (Attempt, Option<Attempt>) {
    match mode {
        SslMode::Disable => (Attempt::Plain, None),
        SslMode::Allow => (Attempt::Plain, Some(Attempt::Tls)),
        SslMode::Prefer => (Attempt::Offered, Some(Attempt::Plain)),
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => (Attempt::Tls, None),
    }
}

/// Runs `connect` for each attempt that the upstream's `sslmode` allows, as far as needed.
pub(super) async fn by_attempts<T, F>(
    upstream: &Upstream,
    way: &Way,
    connect: impl Fn(Attempt) -> F,
) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let work = async {
        let (first, second) = match &way.site.address().host {
            Host::Tcp(_) => attempts(upstream.ssl_mode),
            Host::Unix(_) => (Attempt::Plain, None),
        };
        match (connect(first).await, second) {
            (Err(error), Some(second)) if error.is_about_encryption() => connect(second).await,
            (result, _) => result,
        }
    };
    match tokio::time::timeout(CONNECT_TIMEOUT, work).await {
        Ok(result) => result,
        Err(_) => Err(ConnectError::Unreachable(io::ErrorKind::TimedOut.into())),
    }
}

/// Opens the socket of one attempt.
pub(super) async fn open(
    upstream: &Upstream,
    way: &Way,
    attempt: Attempt,
) -> Result<ServerStream, ConnectError> {
    let ServerAddress { host, port } = way.site.address();
    match host {
        Host::Unix(directory) => open_unix(directory, *port).await,
        Host::Tcp(host) => {
            let tcp = way.connect(host).await?;
            socket::prepare(&tcp)?;
            match attempt {
                Attempt::Plain => Ok(ServerStream::Tcp(tcp)),
                Attempt::Offered | Attempt::Tls => negotiate(tcp, host, upstream, attempt).await,
            }
        }
    }
}

async fn open_unix(directory: &Path, port: u16) -> Result<ServerStream, ConnectError> {
    let socket = directory.join(format!(".s.PGSQL.{port}"));
    Ok(ServerStream::Unix(UnixStream::connect(socket).await?))
}

/// Asks for TLS. Exactly one byte of the answer is read, so nothing that was sent in the clear can
/// pass for something that came through TLS.
async fn negotiate(
    mut tcp: TcpStream,
    host: &str,
    upstream: &Upstream,
    attempt: Attempt,
) -> Result<ServerStream, ConnectError> {
    let mut request = BytesMut::new();
    SslRequest::new()
        .encode(&mut request)
        .map_err(std::io::Error::other)?;
    tcp.write_all(&request).await?;
    match (tcp.read_u8().await?, attempt) {
        (b'S', _) => handshake(tcp, host, upstream).await,
        (b'N', Attempt::Offered) => Ok(ServerStream::Tcp(tcp)),
        (b'N', Attempt::Plain | Attempt::Tls) => Err(ConnectError::NoTls),
        _ => Err(ConnectError::Protocol("an odd answer to SSLRequest")),
    }
}

async fn handshake(
    tcp: TcpStream,
    host: &str,
    upstream: &Upstream,
) -> Result<ServerStream, ConnectError> {
    let config = upstream.tls.as_ref().ok_or(ConnectError::NoTls)?;
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| ConnectError::Protocol("a host name that TLS can't check"))?;
    let connector = TlsConnector::from(Arc::clone(config));
    let tls = connector
        .connect(name, tcp)
        .await
        .map_err(ConnectError::Tls)?;
    Ok(ServerStream::Tls(Box::new(tls)))
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that lets nobody in and sends nobody away: nobody takes in those who wait there.
    async fn hole() -> (Vec<TcpStream>, TcpListener, SocketAddr) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(0).unwrap();
        let address = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        let patience = Duration::from_millis(500);
        while let Ok(stream) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
            waiting.push(stream.unwrap());
        }
        (waiting, listener, address)
    }

    #[tokio::test]
    async fn an_address_that_does_not_answer_keeps_nobody_from_the_next() {
        let (_waiting, _listener, silent_one) = hole().await;
        let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = server.local_addr().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refusing = gone.local_addr().unwrap();
        drop(gone);
        let silent = Silent::default();
        let found = vec![refusing, silent_one, good];
        let stream = connect_to_any(found.clone(), &silent).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), good);
        let mut next = found;
        silent.put_last(&mut next);
        assert_eq!(next, [refusing, good, silent_one]);
        silent.answers(silent_one);
        assert!(silent.all().is_empty());
        assert!(connect_to_any(vec![refusing], &silent).await.is_err());
        assert!(connect_to_any(Vec::new(), &silent).await.is_err());
    }
}
