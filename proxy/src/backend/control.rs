//! A control connection: how pgwarden itself reads the catalogue. Never handed to a client.

use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::config::SslMode;
use tokio_postgres::{CancelToken, Client, Config, NoTls};

use super::error::{ConnectError, ServerError};
use super::hosts::{Mark, Site};
use super::role::{Role, Sighting};
use super::transport::{self, Way};
use super::upstream::Upstream;

/// Connects to the first host that will do.
pub(super) async fn connect(upstream: &Arc<Upstream>) -> Result<(Client, Mark), ConnectError> {
    let connect = |site: Arc<Site>, wants_role| async move {
        let mark = site.mark();
        let client = connect_to(upstream, &site).await?;
        let role = match wants_role {
            true => Some(Role::of_control(&client).await?),
            false => None,
        };
        Ok(((client, mark), role))
    };
    upstream.hosts().first_fit(None, connect).await
}

/// Connects to one host.
async fn connect_to(upstream: &Arc<Upstream>, site: &Arc<Site>) -> Result<Client, ConnectError> {
    let way = &Way::to(site);
    transport::by_attempts(upstream, way, |attempt| async move {
        // TLS is done by the time that tokio-postgres gets the stream.
        let stream = transport::open(upstream, way, attempt).await?;
        let login = config(upstream).connect_raw(stream, NoTls).await;
        let (client, connection) = login.map_err(|error| connect_error(&error))?;
        tokio::spawn(async move {
            // It ends when the client is dropped, or with an error that the client sees, too.
            let _ = connection.await;
        });
        Ok(client)
    })
    .await
}

/// A connection of pgwarden's own that asks one host what it is.
#[derive(Debug, Default)]
pub struct Sentry {
    client: Option<Client>,
}

impl Sentry {
    /// Asks.
    ///
    /// # Errors
    /// When the host can't be asked. It is connected to anew the next time.
    pub async fn ask(
        &mut self,
        upstream: &Arc<Upstream>,
        site: &Arc<Site>,
    ) -> Result<Sighting, ConnectError> {
        let client = match self.client.take() {
            Some(client) if !client.is_closed() => client,
            Some(_) | None => connect_to(upstream, site).await?,
        };
        let sighting = Sighting::of_control(&client).await?;
        self.client = Some(client);
        Ok(sighting)
    }
}

/// Sends a CancelRequest to the host of a control connection, on a connection of its own.
pub(super) async fn cancel(
    upstream: &Arc<Upstream>,
    mark: &Mark,
    token: &CancelToken,
) -> Result<(), ConnectError> {
    let way = &Way::to(mark.site());
    transport::by_attempts(upstream, way, |attempt| async move {
        let stream = transport::open(upstream, way, attempt).await?;
        let sent = token.cancel_query_raw(stream, NoTls).await;
        sent.map_err(|error| connect_error(&error))
    })
    .await
}

fn config(upstream: &Upstream) -> Config {
    let mut config = Config::new();
    config.user(&upstream.user);
    config.dbname(&upstream.database);
    config.application_name("pgwarden");
    config.ssl_mode(SslMode::Disable);
    if let Some(password) = &upstream.password {
        config.password(password.expose());
    }
    config
}

pub(super) fn connect_error(error: &tokio_postgres::Error) -> ConnectError {
    match error.as_db_error() {
        Some(db) => ConnectError::Server(server_error(db)),
        None => ConnectError::Unreachable(std::io::Error::other(describe(error))),
    }
}

/// The error and its causes.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The ErrorResponse again that tokio-postgres has read.
fn server_error(db: &tokio_postgres::error::DbError) -> ServerError {
    let mut body = BytesMut::new();
    for (field, value) in [
        (b'S', db.severity()),
        (b'V', "FATAL"),
        (b'C', db.code().code()),
        (b'M', db.message()),
    ] {
        body.put_u8(field);
        body.put_slice(value.as_bytes());
        body.put_u8(0);
    }
    body.put_u8(0);
    let mut frame = BytesMut::new();
    frame.put_u8(b'E');
    frame.put_u32(u32::try_from(body.len() + 4).unwrap_or(u32::MAX));
    frame.put_slice(&body);
    ServerError {
        sqlstate: db.code().code().to_owned(),
        message: db.message().to_owned(),
        frame: frame.freeze(),
    }
}
