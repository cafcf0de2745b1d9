//! From a start-up packet to a session that is ready: token, database, parameters; then server
//! connection and claims. The first part is the client's to be quick about, and has its time-out.
//! Waiting for a server connection has bounds of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::judging::Judging;
use super::{Session, startup};
use pgwarden_config::settings::PoolMode;

use crate::audit::{self, Event, EventKind};
use crate::auth::{AuthError, Identity};
use crate::backend::{BackendFacts, CancelRegistration};
use crate::frontend::{self, ClientStream, Ended, LoginError, Newcomer, Requested};
use crate::metrics::AuthOutcome;
use crate::pool::Lease;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::relay::{Relay, Way};
use crate::wire::{Report, answer};

/// A cancel key's length under protocol 3.0, and since 3.2.
const SECRET_BYTES: (usize, usize) = (4, 32);

/// A client that has shown who it is, and waits for its session.
pub(super) struct Entrant {
    stream: ClientStream,
    minor: u16,
    session: Session,
    way: Way,
}

/// Lets a client in, or tells it why not.
pub(super) async fn let_in(
    newcomer: Newcomer,
    peer: SocketAddr,
    proxy: &Arc<Proxy>,
) -> Result<Entrant, Ended> {
    let Newcomer {
        mut stream,
        minor,
        requested,
    } = newcomer;
    let mut who = audit::Session {
        session: proxy.next_session(),
        client: peer.to_string(),
        database: Some(requested.database.clone()),
        user: Some(requested.user.clone()),
        application: requested.application.clone(),
        ..audit::Session::default()
    };
    let identity = match frontend::authenticate(&mut stream, proxy).await {
        Ok(identity) => identity,
        Err(LoginError::Socket) => return Err(Ended::Socket),
        Err(LoginError::Protocol(report)) => return Err(frontend::refuse(stream, &report).await),
        Err(LoginError::Token(error)) => {
            return Err(not_let_in(stream, error, who, peer, proxy).await);
        }
    };
    who.sub = identity.subject().map(str::to_owned);
    who.role = identity.role().map(str::to_owned);
    let judging = match judging(&requested, identity, proxy).await {
        Ok(judging) => judging,
        Err(NoAccess::Refusal(refusal)) => {
            return Err(frontend::refuse_by(stream, &refusal).await);
        }
        Err(NoAccess::Token(error)) => {
            return Err(not_let_in(stream, error, who, peer, proxy).await);
        }
    };
    who.org = judging.access().tenant();
    proxy.metrics().auth(AuthOutcome::Ok);
    let engine = judging.engine();
    let parameters = match requested.allowed(engine.policy()) {
        Ok(parameters) => parameters,
        Err(error) => return Err(frontend::refuse(stream, &error.report()).await),
    };
    let pool = Arc::clone(judging.database().pool());
    let (startup, parameters) = match pool.mode() {
        PoolMode::Transaction => startup::split(parameters),
        PoolMode::Session => (Vec::new(), parameters),
    };
    // On a standby a serialisable transaction fails.
    let of_transactions = |(name, _): &(String, String)| name.contains("transaction_");
    let replicas = judging.database().replicas();
    let replicas = replicas.filter(|_| !parameters.iter().any(of_transactions));
    let replicas = replicas.map(Arc::clone);
    let parameters = Arc::new(parameters);
    let session = Session::new(Arc::clone(proxy), Arc::new(who), judging, startup);
    let way = Way {
        pool,
        replicas,
        parameters,
    };
    Ok(Entrant {
        stream,
        minor,
        session,
        way,
    })
}

/// Gets a session what it needs of the server, and greets its client.
pub(super) async fn connect(entrant: Entrant, proxy: &Arc<Proxy>) -> Result<Relay, Ended> {
    let Entrant {
        stream,
        minor,
        session,
        way,
    } = entrant;
    let reached = tokio::select! {
        biased;
        reached = reach(&way, &session, minor, proxy) => reached,
        // Its place in the queue is another's.
        () = stream.left() => return Err(Ended::Socket),
    };
    let (server, cancel) = match reached {
        Ok(reached) => reached,
        Err(refusal) => return Err(frontend::refuse_by(stream, &refusal).await),
    };
    let mut relay = match server {
        Server::Leased(lease) => Relay::new(stream, Some(lease), way, session, cancel),
        Server::Known(facts) => {
            let mut relay = Relay::new(stream, None, way, session, cancel);
            relay.greet_alone(&facts);
            return Ok(relay);
        }
    };
    let timeout = proxy.settings().limits.handshake_timeout;
    match tokio::time::timeout(timeout, relay.greet()).await {
        Ok(greeted) => greeted.map(|()| relay),
        Err(_) => Err(Ended::Socket),
    }
}

/// Where a session's first words come from.
enum Server {
    /// Its own server connection.
    Leased(Lease),
    /// What the server has told another one like it: transaction mode needs no more.
    Known(Arc<BackendFacts>),
}

/// Why a good token gives no session.
enum NoAccess {
    Refusal(Refusal),
    Token(AuthError),
}

async fn judging(
    requested: &Requested,
    identity: Identity,
    proxy: &Proxy,
) -> Result<Judging, NoAccess> {
    let database = proxy.database(&requested.database).await;
    let database = database.map_err(NoAccess::Refusal)?;
    Judging::new(database, identity).map_err(NoAccess::Token)
}

async fn reach(
    way: &Way,
    session: &Session,
    minor: u16,
    proxy: &Proxy,
) -> Result<(Server, CancelRegistration), Refusal> {
    let Way {
        pool, parameters, ..
    } = way;
    let setup = session.setup();
    let known = setup.and_then(|_| pool.greeting(parameters));
    let server = match known {
        Some(facts) => Server::Known(facts),
        None => {
            let checkout =
                Arc::clone(pool).checkout_for(Arc::clone(parameters), setup.cloned(), None);
            Server::Leased(checkout.await.map_err(|error| {
                tracing::warn!(%error, "no server connection");
                error.refusal()
            })?)
        }
    };
    // In transaction mode the client has no server process of its own.
    let pid = match (&server, setup) {
        (Server::Leased(lease), None) => Some(lease.facts().pid),
        _ => None,
    };
    let (short, long) = SECRET_BYTES;
    let secret_bytes = if minor >= 2 { long } else { short };
    match proxy.cancels().register(pid, secret_bytes) {
        Ok(cancel) => Ok((server, cancel)),
        Err(_) => Err(Refusal::new("XX000", "pgwarden: no randomness")),
    }
}

/// Refuses a token. The cause is for the log and the audit; the client reads one wording.
async fn not_let_in(
    stream: ClientStream,
    error: AuthError,
    who: audit::Session,
    peer: SocketAddr,
    proxy: &Proxy,
) -> Ended {
    proxy.crowd().fail(peer.ip(), Instant::now());
    proxy.metrics().auth(error.outcome());
    tracing::info!(session = who.session, client = who.client, cause = %error, "not let in");
    let user = who.user.clone().unwrap_or_default();
    let mut event = Event::new(EventKind::AuthFailure, Some(&Arc::new(who)));
    event.reason = Some(error.code());
    let ended = match error.refusal() {
        Refusal::Own {
            sqlstate: "28P01", ..
        } => {
            event.sqlstate = Some("28P01".to_owned());
            let message = format!("password authentication failed for user \"{user}\"");
            frontend::refuse(stream, &Report::fatal("28P01", message)).await
        }
        refusal => {
            if let Refusal::Own { sqlstate, .. } = &refusal {
                event.sqlstate = Some((*sqlstate).to_owned());
            }
            frontend::refuse_by(stream, &refusal).await
        }
    };
    proxy.audit().record(event);
    ended
}

impl Session {
    /// What a client reads before its first ReadyForQuery: what the server has said, and a cancel
    /// key of our own.
    pub(crate) fn write_greeting(&mut self, facts: &BackendFacts, cancel: &CancelRegistration) {
        let mut out = bytes::BytesMut::new();
        answer::authentication_ok(&mut out);
        let startup = self.sharing.as_ref().map(|it| it.startup.as_slice());
        for (name, value) in &facts.parameters {
            let own = startup.unwrap_or_default().iter();
            let own = { own }.find(|(own, _)| own == name);
            let value = own.map_or(value, |(_, value)| value);
            answer::parameter_status(&mut out, name, value);
        }
        for notice in &facts.notices {
            out.extend_from_slice(notice);
        }
        // What has come while the claims were set.
        out.extend_from_slice(&self.to_client);
        answer::backend_key_data(&mut out, cancel.pid(), cancel.secret());
        answer::ready(&mut out, self.status);
        self.to_client = out;
        self.proxy
            .audit()
            .record(Event::new(EventKind::Connect, Some(&self.who)));
    }

    /// The session has ended.
    pub(crate) fn record_disconnect(&self) {
        self.proxy
            .audit()
            .record(Event::new(EventKind::Disconnect, Some(&self.who)));
    }
}
