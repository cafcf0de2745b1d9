//! A control connection: how pgwarden itself reads the catalogue. Never handed to a client.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::{BufMut, BytesMut};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};

use super::error::{ConnectError, ServerError};
use super::transport;
use super::upstream::Upstream;

/// The half of a control connection that moves its bytes. It ends when the connection does.
pub type ControlConnection =
    Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

pub(super) async fn connect(
    upstream: &Arc<Upstream>,
) -> Result<(tokio_postgres::Client, ControlConnection), ConnectError> {
    transport::by_attempts(upstream, |attempt| async move {
        // TLS is done by the time that tokio-postgres gets the stream.
        let stream = transport::open(upstream, attempt).await?;
        let login = config(upstream).connect_raw(stream, NoTls).await;
        let (client, connection) = login.map_err(|error| connect_error(&error))?;
        let connection: ControlConnection = Box::pin(connection);
        Ok((client, connection))
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

fn connect_error(error: &tokio_postgres::Error) -> ConnectError {
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
