//! From a start-up packet to a session that is ready: token, database, parameters, server
//! connection, claims.

use std::net::SocketAddr;
use std::sync::Arc;

use super::Session;
use super::judging::Judging;
use crate::audit::{self, Event, EventKind};
use crate::auth::{AuthError, Identity};
use crate::backend::CancelRegistration;
use crate::frontend::{self, ClientStream, Ended, LoginError, Newcomer, Requested};
use crate::metrics::AuthOutcome;
use crate::pool::Lease;
use crate::proxy::Proxy;
use crate::refusal::Refusal;
use crate::relay::Relay;
use crate::wire::{Report, answer};

/// A cancel key's length under protocol 3.0, and since 3.2.
const SECRET_BYTES: (usize, usize) = (4, 32);

/// Opens a session, or tells the client why not.
pub(super) async fn open(
    newcomer: Newcomer,
    peer: SocketAddr,
    proxy: &Arc<Proxy>,
) -> Result<Relay, Ended> {
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
        Err(LoginError::Token(error)) => return Err(not_let_in(stream, error, who, proxy).await),
    };
    who.sub = identity.subject().map(str::to_owned);
    who.role = identity.role().map(str::to_owned);
    let judging = match judging(&requested, identity, proxy).await {
        Ok(judging) => judging,
        Err(NoAccess::Refusal(refusal)) => {
            return Err(frontend::refuse_by(stream, &refusal).await);
        }
        Err(NoAccess::Token(error)) => return Err(not_let_in(stream, error, who, proxy).await),
    };
    who.org = judging.access().tenant();
    proxy.metrics().auth(AuthOutcome::Ok);
    let (lease, cancel) = match connect(&requested, &judging, minor, proxy).await {
        Ok(connected) => connected,
        Err(Unconnected::Report(report)) => return Err(frontend::refuse(stream, &report).await),
        Err(Unconnected::Refusal(refusal)) => {
            return Err(frontend::refuse_by(stream, &refusal).await);
        }
    };
    let session = Session::new(Arc::clone(proxy), Arc::new(who), judging);
    let mut relay = Relay::new(stream, lease, session, cancel);
    relay.greet().await?;
    Ok(relay)
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

/// Why there is no server connection.
enum Unconnected {
    Report(Report),
    Refusal(Refusal),
}

async fn connect(
    requested: &Requested,
    judging: &Judging,
    minor: u16,
    proxy: &Proxy,
) -> Result<(Lease, CancelRegistration), Unconnected> {
    let parameters = requested.allowed(judging.engine().policy());
    let parameters = parameters.map_err(|error| Unconnected::Report(error.report()))?;
    let lease = judging
        .database()
        .pool()
        .checkout(&parameters)
        .await
        .map_err(|error| {
            tracing::warn!(database = judging.database().name(), %error, "no server connection");
            Unconnected::Refusal(error.refusal())
        })?;
    let (short, long) = SECRET_BYTES;
    let secret_bytes = if minor >= 2 { long } else { short };
    let target = lease.cancel_target().clone();
    match proxy.cancels().register(target, secret_bytes) {
        Ok(cancel) => Ok((lease, cancel)),
        Err(_) => Err(Unconnected::Report(Report::fatal(
            "XX000",
            "pgwarden: no randomness",
        ))),
    }
}

/// Refuses a token. The cause is for the log and the audit; the client reads one wording.
async fn not_let_in(
    stream: ClientStream,
    error: AuthError,
    who: audit::Session,
    proxy: &Proxy,
) -> Ended {
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
    pub(crate) fn write_greeting(&mut self, lease: &Lease, cancel: &CancelRegistration) {
        let mut out = bytes::BytesMut::new();
        answer::authentication_ok(&mut out);
        for (name, value) in &lease.facts().parameters {
            answer::parameter_status(&mut out, name, value);
        }
        for notice in &lease.facts().notices {
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
