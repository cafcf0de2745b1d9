//! One connection to PostgreSQL.
//!
//! [`connect`] opens it (TCP or unix socket, TLS by `sslmode`), logs in and hands over a
//! [`Backend`]. Its raw stream is private: statement text leaves only through [`Outbox::query`] and
//! [`Outbox::parse`], which take what the engine has cleared, or through [`Outbox::own_query`] and
//! [`Outbox::own_parse`], which take constants of this program. Bytes of a client reach the server
//! only in the messages of [`Forward`], none of which carries SQL.

mod cancel;
mod channel_binding;
mod control;
mod error;
mod frames;
mod hosts;
mod login;
mod outbox;
mod progress;
mod reset;
mod role;
mod stream;
mod transport;
mod upstream;

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

pub(crate) use cancel::request as cancel_request;
pub use cancel::{CancelRegistration, CancelRegistry, CancelSlot, CancelTarget};
pub(crate) use cancel::{Claim, Shared};
pub use control::Sentry;
pub use error::{ConnectError, ServerError};
pub use hosts::{Hosts, Mark, Seen, Site};
pub use outbox::{Forward, Outbox};
pub use progress::{Moment, Position, Progress};
pub(crate) use reset::RESEED;
pub use role::{Role, Sighting};
pub use upstream::Upstream;

use stream::ServerStream;
use transport::Way;

use crate::spares;

/// Parameters of a start-up packet, beyond `user` and `database`. They have passed the settings
/// allow-list.
pub type StartupParameters = Vec<(String, String)>;

/// Connects to the first host that will do, and logs in.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect(
    upstream: &Arc<Upstream>,
    parameters: &StartupParameters,
) -> Result<Backend, ConnectError> {
    connect_since(upstream, parameters, None).await
}

/// The same, only to hosts that are current as of a moment, if there is one.
pub(crate) async fn connect_since(
    upstream: &Arc<Upstream>,
    parameters: &StartupParameters,
    since: Option<Moment>,
) -> Result<Backend, ConnectError> {
    let connect = |site: Arc<Site>, wants_role| async move {
        let mut backend = connect_to(upstream, &site, parameters).await?;
        let role = match wants_role {
            true => Some(backend.role().await?),
            false => None,
        };
        Ok((backend, role))
    };
    upstream.hosts().first_fit(since, connect).await
}

/// Connects to one host and logs in.
async fn connect_to(
    upstream: &Arc<Upstream>,
    site: &Arc<Site>,
    parameters: &StartupParameters,
) -> Result<Backend, ConnectError> {
    let mark = site.mark();
    let way = &Way::to(site);
    let login = transport::by_attempts(upstream, way, |attempt| async move {
        let stream = transport::open(upstream, way, attempt).await?;
        login::login(stream, upstream, parameters).await
    })
    .await?;
    let way = way.by(&login.stream);
    let cancel = CancelTarget::new(Arc::clone(upstream), way, login.facts.pid, login.secret);
    Ok(Backend {
        stream: login.stream,
        inbox: login.inbox,
        outbox: Outbox::default(),
        facts: login.facts,
        cancel,
        mark,
    })
}

/// A control connection: for the catalogue, never for a client. With it, whether its host was
/// retired since.
///
/// # Errors
/// See [`ConnectError`].
pub async fn connect_control(
    upstream: &Arc<Upstream>,
) -> Result<(tokio_postgres::Client, Mark), ConnectError> {
    control::connect(upstream).await
}

/// Cancels what a control connection is at.
///
/// # Errors
/// See [`ConnectError`].
pub async fn cancel_control(
    upstream: &Arc<Upstream>,
    mark: &Mark,
    token: tokio_postgres::CancelToken,
) -> Result<(), ConnectError> {
    control::cancel(upstream, mark, &token).await
}

/// What the server said during start-up.
#[derive(Debug, Clone, Default)]
pub struct BackendFacts {
    /// The server process.
    pub pid: i32,
    /// ParameterStatus values, as far as they have come.
    pub parameters: Vec<(String, String)>,
    /// NoticeResponse frames, whole, as they came.
    pub notices: Vec<Bytes>,
}

/// A logged-in connection that is ready for a query.
pub struct Backend {
    stream: ServerStream,
    inbox: BytesMut,
    outbox: Outbox,
    facts: BackendFacts,
    cancel: CancelTarget,
    mark: Mark,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Backend(pid {})", self.facts.pid)
    }
}

impl Backend {
    /// What the server said during start-up.
    pub fn facts(&self) -> &BackendFacts {
        &self.facts
    }

    /// Its host, and whether it was retired since.
    pub fn mark(&self) -> &Mark {
        &self.mark
    }

    /// What a CancelRequest for this connection needs.
    pub fn cancel_target(&self) -> &CancelTarget {
        &self.cancel
    }

    /// Messages that wait to be written.
    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Bytes that have been read and not been consumed.
    pub fn inbox(&mut self) -> &mut BytesMut {
        &mut self.inbox
    }

    /// Whether bytes wait to be written.
    pub fn has_output(&self) -> bool {
        !self.outbox.bytes().is_empty() || self.stream.keeps_output()
    }

    /// Reads more into the inbox; 0 means that the server closed.
    pub fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.stream.poll_read_ready(cx)?.is_ready() {
            spares::make_room(&mut self.inbox);
            // The future holds no state of its own: one for each poll is as good as one for each read.
            let read = pin!(self.stream.read_buf(&mut self.inbox)).poll(cx);
            if read.is_ready() {
                return read;
            }
        }
        if self.inbox.is_empty() {
            spares::give_back(&mut self.inbox);
        }
        Poll::Pending
    }

    /// Writes what waits, as far as the socket takes it. Ready when nothing waits any more.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.outbox.bytes().is_empty() {
            let stream = Pin::new(&mut self.stream);
            let written = std::task::ready!(stream.poll_write(cx, self.outbox.bytes()))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.outbox.bytes_mut().advance(written);
        }
        self.outbox.release();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// [`Backend::poll_fill`] as a future.
    pub async fn fill(&mut self) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// [`Backend::poll_flush`] as a future.
    pub async fn flush(&mut self) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// Says Terminate and closes, as well as the socket lets us.
    pub async fn close(mut self) {
        self.outbox.forward(Forward::Terminate, &[]);
        let goodbye = self.flush();
        let _ = tokio::time::timeout(std::time::Duration::from_secs(1), goodbye).await;
    }
}
