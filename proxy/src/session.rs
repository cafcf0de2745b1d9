//! A client's session: from its connection to its end.
//!
//! ```text
//!  frontend (start-up, token) ─▶ open (database, parameters, server connection, claims) ─▶ relay
//!                                                                                           │
//!     from_client: judge, rewrite, rename ─▶ queue of owed replies ─▶ from_server: relay, hide
//! ```
//!
//! [`Session`] itself knows no sockets: messages go in, messages come out, and [`crate::relay`]
//! moves the bytes. Its invariants:
//!
//! - text reaches the server only as [`pgwarden_policy::Cleared`], or as a constant of this program;
//! - nothing is judged, bound or executed while the claims or the `search_path` on the server are
//!   not known to be those of the session;
//! - `queue` and `names` are exactly what the server will answer and have, so an error inside a
//!   pipeline leaves both sides with the same idea of every name.

mod ahead;
mod bind;
mod claims;
mod current_of;
mod cursors;
mod detail;
mod era;
mod execute;
mod from_client;
mod from_server;
mod gate;
mod given;
mod judging;
mod lookup;
mod names;
mod notified;
mod open;
mod parse;
mod parts;
mod prepared;
mod query;
mod queue;
mod reading;
mod record;
mod refusing;
mod riding;
mod server_error;
mod setup;
mod shared;
mod sharing;
mod startup;
mod steps;
mod tenancy;
mod trial;
mod uncommitted;
mod unread;
mod views;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::BytesMut;
use pgwarden_config::settings::PoolMode;
use pgwarden_policy::Denial;
use pgwarden_policy::copy::Guard;

use crate::audit;
use crate::auth::Identity;
use crate::frontend::{self, Visit};
use crate::holdings::Holding;
use crate::listener::Client;
use crate::metrics::AuthOutcome;
use crate::peers::Route;
use crate::pool::{Prepared, Settings, Setup};
use crate::proxy::Proxy;
use crate::wire::Report;
use crate::wire::client::Spans;

use claims::Known;
use current_of::Cursors;
use era::Era;
use judging::Judging;
use names::Names;
use queue::Queue;
use sharing::Sharing;
use trial::Trial;
use uncommitted::Uncommitted;
use unread::Unread;

/// Serves one client until it leaves.
pub async fn serve_client(proxy: Arc<Proxy>, client: Client) {
    let timeout = proxy.settings().limits.handshake_timeout;
    // In a box: what it needs is not kept for the rest of the session.
    let opening = Box::pin(async {
        let listener = &client.listener;
        match frontend::receive(client.stream, client.peer, listener, &proxy).await {
            Ok(Visit::Session(newcomer)) => match client.refusal {
                None => open::let_in(newcomer, client.peer, &proxy).await.ok(),
                Some(too_many) => {
                    proxy.metrics().auth(AuthOutcome::TooMany);
                    let report = Report::fatal("53300", too_many.message());
                    frontend::refuse(newcomer.stream, &report).await;
                    None
                }
            },
            Ok(Visit::Cancel {
                stream,
                pid,
                secret,
            }) => {
                cancel(&proxy, pid, secret).await;
                drop(stream);
                None
            }
            Err(_) => None,
        }
    });
    // A client that takes longer to say who it is gets no answer, as with PostgreSQL.
    let Ok(Some(entrant)) = tokio::time::timeout(timeout, opening).await else {
        return;
    };
    drop(client.knock);
    if let Ok(relay) = Box::pin(open::connect(entrant, &proxy)).await {
        Box::new(relay).run(proxy.drain()).await;
    }
}

/// A CancelRequest gets no answer, whether its key was right or not.
async fn cancel(proxy: &Proxy, pid: i32, secret: Vec<u8>) {
    let secret = match proxy.peers().map(|peers| (peers, peers.route(&secret))) {
        None => secret,
        Some((_, Route::Here(secret))) => secret,
        Some((peers, Route::To(address, secret))) => {
            return peers.pass_on(address, pid, &secret).await;
        }
        Some((_, Route::Nowhere)) => return,
    };
    if let Some(slot) = proxy.cancels().find(pid, &secret)
        && let Err(error) = slot.cancel().await
    {
        tracing::warn!(%error, "can't pass a cancel on");
    }
}

/// What becomes of a message of the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is done with.
    Yes,
    /// It must be offered again when the server has said more.
    Later,
    /// What was kept must be offered again, and then this.
    Again,
}

/// What becomes of a message of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Passed {
    /// It goes to the client as it came.
    AsIs,
    /// It does not: it was swallowed, or another was written instead.
    Done,
}

/// Why a session ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The client said Terminate.
    Terminated,
    /// The client is told this.
    Fatal(Report),
    /// The server has told the client why.
    ServerSaid,
    /// The server connection is lost before anything of the client's was on it.
    Lost,
}

impl Stop {
    fn protocol(what: &'static str) -> Self {
        Self::Fatal(Report::fatal("08P01", what))
    }

    /// A message was about to go to a server connection that does not carry the session's setup.
    fn out_of_place() -> Self {
        tracing::error!("a message was let through before its setup");
        Self::Fatal(Report::fatal(
            "08006",
            "pgwarden: the session's setup is not in force on the server connection",
        ))
    }

    /// The server's answers are not those that the messages sent to it must have.
    fn desynchronised() -> Self {
        tracing::error!("the server's answers don't fit what it was sent");
        Self::Fatal(Report::fatal(
            "08006",
            "pgwarden: unexpected answer of the server",
        ))
    }
}

/// What messages of the client are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Skip {
    /// None.
    Nothing,
    /// All up to Sync; the server knows nothing of them.
    Local,
    /// All up to Sync; the server skips, too, and must get the Sync.
    Server,
}

/// How far a COPY has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Copy {
    /// There is none.
    No,
    /// A statement was sent that may start one, or one ends: the client's next messages depend on
    /// what the server says.
    Awaited,
    /// The server takes data.
    In,
}

/// The state of a session.
pub(crate) struct Session {
    proxy: Arc<Proxy>,
    who: Arc<audit::Session>,
    judging: Judging,
    names: Names,
    cursors: Cursors,
    queue: Queue,
    known: Known,
    /// A batch of ours has failed: the server may still have our statement.
    leftover: bool,
    /// There may be temporary relations: the server is to be asked for them.
    temporaries: bool,
    /// The prepared statements of the server connection that are known by their texts.
    prepared: Prepared,
    /// In session mode.
    era: Era,
    trial: Trial,
    /// A ParameterDescription that waits for the end of the trial.
    description: Option<Box<[u8]>>,
    /// In transaction mode.
    sharing: Option<Box<Sharing>>,
    /// The status of the last ReadyForQuery: I, T or E.
    status: u8,
    /// Whether extended messages were sent since the last Sync or Query.
    pipeline_open: bool,
    /// Whether the server was asked for the answers that the next message waits for.
    nudged: bool,
    skip: Skip,
    copy: Copy,
    /// What is sent is on its way to a place behind others, and may have to be sent again.
    boards: bool,
    /// DDL went through since the last transaction has ended.
    changes_catalog: bool,
    /// Such DDL made what does not end with the session.
    makes_lasting: bool,
    uncommitted: Uncommitted,
    unread: Unread,
    /// Checks the data of the COPY that the server takes data for, or refuses it whatever it is.
    rows: Result<Guard, Box<Denial>>,
    /// Sync and Query messages sent.
    transaction: u64,
    expires: Instant,
    to_client: BytesMut,
    /// Reused from message to message.
    spans: Spans,
    types: Vec<u32>,
    hidden: Vec<u8>,
    /// The last Query that was rewritten, by its number, for the positions of its errors.
    last_query: (u64, String),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Session({})", self.who.session)
    }
}

impl Session {
    /// `startup` are settings of the start-up packet that the session puts in force itself.
    fn new(
        proxy: Arc<Proxy>,
        who: Arc<audit::Session>,
        judging: Judging,
        startup: Settings,
    ) -> Self {
        let expires = end_of(judging.login());
        let pool = judging.database().pool();
        let sharing = (pool.mode() == PoolMode::Transaction).then(|| {
            let role = judging.access().set_role.as_deref();
            let claims = judging.identity().claims_json();
            Box::new(Sharing::new(Setup::new(claims, role, startup)))
        });
        let known = Known::of(&judging);
        Self {
            proxy,
            who,
            judging,
            names: Names::default(),
            cursors: Cursors::default(),
            queue: Queue::default(),
            known,
            leftover: false,
            temporaries: false,
            prepared: Prepared::default(),
            era: Era::default(),
            trial: Trial::No,
            description: None,
            sharing,
            status: b'I',
            pipeline_open: false,
            nudged: false,
            skip: Skip::Nothing,
            copy: Copy::No,
            boards: false,
            changes_catalog: false,
            makes_lasting: false,
            uncommitted: Uncommitted::default(),
            unread: Unread::default(),
            rows: Ok(Guard::default()),
            transaction: 0,
            expires,
            to_client: BytesMut::new(),
            spans: Spans::default(),
            types: Vec::new(),
            hidden: Vec::new(),
            last_query: (0, String::new()),
        }
    }

    /// What waits to be written to the client.
    pub(crate) fn output(&mut self) -> &mut BytesMut {
        &mut self.to_client
    }

    /// The longest message that is taken from the client.
    pub(crate) fn message_bytes(&self) -> usize {
        self.proxy.settings().limits.message_bytes
    }

    /// How long a lone session looks for what will come before it sleeps.
    pub(crate) fn busy_poll(&self) -> Duration {
        self.proxy.settings().limits.busy_poll
    }

    /// What the client's messages hold.
    pub(crate) fn holding(&self) -> Holding {
        Holding::new(self.proxy.holdings())
    }

    /// The login may have been renewed.
    fn renew_expiry(&mut self) {
        self.expires = end_of(self.judging.login());
    }

    /// When the login's token is no longer good.
    pub(crate) fn expires(&self) -> Instant {
        self.expires
    }

    /// Whether the server owes no reply.
    pub(crate) fn is_settled(&self) -> bool {
        self.queue.is_empty() && !self.pipeline_open
    }

    /// Whether the session is in no transaction and waits for nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_settled() && self.status == b'I'
    }

    /// Tells the client why its session ends.
    pub(crate) fn say_goodbye(&mut self, report: &Report) {
        report.write(&mut self.to_client);
    }
}

/// When an identity's token is no longer good.
fn end_of(identity: &Identity) -> Instant {
    let now = Instant::now();
    let left = identity.expires_at().duration_since(SystemTime::now());
    // A date beyond what the clock can hold never comes.
    let never = now + std::time::Duration::from_secs(100 * 365 * 24 * 3600);
    now.checked_add(left.unwrap_or_default()).unwrap_or(never)
}
