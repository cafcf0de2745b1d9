//! The token: asked for, read, verified.

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::ClientStream;
use crate::auth::{AuthError, Identity};
use crate::proxy::Proxy;
use crate::wire::frame::{self, HEADER_BYTES};
use crate::wire::{Report, answer};

/// Why a client was not let in.
#[derive(Debug)]
pub(crate) enum LoginError {
    /// The socket broke, or the client left.
    Socket,
    /// What it sent is not what must come next.
    Protocol(Report),
    /// The token is not good.
    Token(AuthError),
}

impl From<std::io::Error> for LoginError {
    fn from(_: std::io::Error) -> Self {
        Self::Socket
    }
}

/// Asks for the token and verifies it.
pub(crate) async fn authenticate(
    stream: &mut ClientStream,
    proxy: &Proxy,
) -> Result<Identity, LoginError> {
    let mut request = BytesMut::new();
    answer::password_request(&mut request);
    stream.write_all(&request).await?;
    stream.flush().await?;
    let body = password_message(stream, proxy.settings().limits.token_bytes).await?;
    let token = body
        .strip_suffix(&[0])
        .ok_or_else(|| unexpected("invalid password packet size"))?;
    proxy.authenticate(token).map_err(LoginError::Token)
}

async fn password_message(
    stream: &mut ClientStream,
    token_bytes: usize,
) -> Result<Vec<u8>, LoginError> {
    let mut head = [0; HEADER_BYTES];
    stream.read_exact(&mut head).await?;
    let header = frame::header(&head).ok().flatten();
    let header = header.ok_or_else(|| unexpected("invalid message length"))?;
    if header.tag != b'p' {
        return Err(unexpected("expected password response"));
    }
    if header.body > token_bytes.saturating_add(1) {
        return Err(LoginError::Token(AuthError::TooLong));
    }
    let mut body = vec![0; header.body];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

fn unexpected(what: &'static str) -> LoginError {
    LoginError::Protocol(Report::fatal("08P01", what))
}
