//! Addresses that clients connect to, and the connections that come in.

mod bound;
mod crowd;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use pgwarden_config::settings;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::metrics::Metrics;
use crate::proxy::{Drain, Proxy, StartError};
use crate::{session, socket, tls};

pub(crate) use bound::Bound;
pub use bound::Inherited;
pub(crate) use crowd::Crowd;
use crowd::{Arrival, Knock};

/// Connections beyond `limits.client_connections` that are still spoken to: to tell them 53300, and
/// because a CancelRequest must get through to a full proxy.
const EXTRA_CONNECTIONS: usize = 64;

/// An address that clients connect to.
pub struct Listener {
    settings: settings::Listener,
    tls: ArcSwapOption<TlsAcceptor>,
    address: SocketAddr,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Listener({})", self.address)
    }
}

/// A connection that has come in.
#[derive(Debug)]
pub struct Client {
    /// Its socket.
    pub stream: TcpStream,
    /// Its address.
    pub peer: SocketAddr,
    /// Where it came in.
    pub listener: Arc<Listener>,
    /// It is to be told 53300 after its start-up packet, unless it only wants to cancel.
    pub(crate) refusal: Option<TooMany>,
    /// It has not logged in yet.
    pub(crate) knock: Option<Knock>,
    _place: Place,
}

/// Why a client is told to come later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TooMany {
    /// `limits.client_connections` is reached.
    Clients,
    /// Its address has tried too often, or too much at once.
    Logins,
}

impl TooMany {
    /// What the client reads.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Clients => "sorry, too many clients already",
            Self::Logins => "pgwarden: too many logins from this address, try again later",
        }
    }
}

/// One of the connections counted against the limit.
#[derive(Debug)]
struct Place {
    open: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
        self.metrics.client_connections.add(-1);
    }
}

fn acceptor(settings: &settings::Listener) -> Result<Option<Arc<TlsAcceptor>>, StartError> {
    match &settings.tls {
        Some(tls) => match tls::acceptor(tls) {
            Ok(acceptor) => Ok(Some(Arc::new(acceptor))),
            Err(error) => Err(StartError::Settings(error.to_string())),
        },
        None => Ok(None),
    }
}

impl Listener {
    /// Binds the address, or takes its socket from those that were inherited. The socket stands
    /// apart: it is left when the shutdown begins.
    ///
    /// # Errors
    /// When the address is taken, or the certificate is not usable.
    pub(crate) fn bind(
        settings: &settings::Listener,
        inherited: &mut Inherited,
    ) -> Result<(Arc<Self>, Bound), StartError> {
        let tls = acceptor(settings)?;
        let at = |error: io::Error| {
            StartError::Settings(format!("can't listen on {}: {error}", settings.address))
        };
        let socket = Bound::new(settings, inherited).map_err(at)?;
        let address = socket.address().map_err(at)?;
        let listener = Self {
            settings: settings.clone(),
            tls: ArcSwapOption::new(tls),
            address,
        };
        Ok((Arc::new(listener), socket))
    }

    /// What the file says about it.
    pub fn settings(&self) -> &settings::Listener {
        &self.settings
    }

    /// TLS, if it is offered.
    pub fn tls(&self) -> Option<Arc<TlsAcceptor>> {
        self.tls.load_full()
    }

    /// Reads the certificate again, for connections to come. Nothing changes before
    /// [`Listener::put_in_force`].
    ///
    /// # Errors
    /// When it is not usable.
    pub(crate) fn renew(&self) -> Result<Option<Arc<TlsAcceptor>>, StartError> {
        acceptor(&self.settings)
    }

    /// Shows a certificate of [`Listener::renew`] from now on.
    pub(crate) fn put_in_force(&self, tls: Option<Arc<TlsAcceptor>>) {
        self.tls.store(tls);
    }

    /// The address, with the port that the system gave when 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether a client must use TLS before it shows its token.
    pub fn needs_tls(&self, proxy: &Proxy, peer: SocketAddr) -> bool {
        let required = self.settings.tls.as_ref().is_some_and(|tls| tls.required);
        required || (proxy.settings().auth.require_tls && !peer.ip().to_canonical().is_loopback())
    }

    /// Takes connections in until the shutdown begins. Each has a task of its own: a panic ends
    /// that one session.
    pub(crate) async fn accept(
        self: Arc<Self>,
        socket: Bound,
        proxy: Arc<Proxy>,
        open: Arc<AtomicUsize>,
    ) {
        let mut drain = proxy.drain();
        let serve = |stream, peer| {
            if let Some(client) = self.admit(stream, peer, &proxy, &open) {
                tokio::spawn(session::serve_client(Arc::clone(&proxy), client));
            }
        };
        loop {
            let accepted = tokio::select! {
                accepted = socket.accept() => accepted,
                _ = drain.wait_for(|drain| *drain != Drain::Running) => break,
            };
            match accepted {
                Ok((stream, peer)) => serve(stream, peer),
                // Out of file descriptors, mostly: it passes.
                Err(error) => {
                    tracing::warn!(%error, address = %self.address, "can't accept");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        socket.leave(serve).await;
    }

    fn admit(
        self: &Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        proxy: &Proxy,
        open: &Arc<AtomicUsize>,
    ) -> Option<Client> {
        let before = open.fetch_add(1, Ordering::Relaxed);
        let metrics = Arc::clone(proxy.metrics());
        metrics.client_connections.add(1);
        let place = Place {
            open: Arc::clone(open),
            metrics,
        };
        let (knock, flood) = match proxy.crowd().arrive(peer.ip(), Instant::now()) {
            Arrival::Welcome(knock) => (knock, false),
            Arrival::TooMany(knock) => (Some(knock), true),
            Arrival::Flood => return None,
        };
        let limit = proxy.settings().limits.client_connections;
        if before >= limit.saturating_add(EXTRA_CONNECTIONS) || socket::prepare(&stream).is_err() {
            return None;
        }
        Some(Client {
            stream,
            peer,
            listener: Arc::clone(self),
            refusal: match (before >= limit, flood) {
                (true, _) => Some(TooMany::Clients),
                (false, true) => Some(TooMany::Logins),
                (false, false) => None,
            },
            knock,
            _place: place,
        })
    }
}
