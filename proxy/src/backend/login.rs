//! The start-up packet and pgwarden's own authentication: trust, cleartext, md5, SCRAM-SHA-256.
//! <https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-START-UP>
//!
//! All is collected until the first ReadyForQuery. A server that answers AuthenticationOk in the
//! middle of a SCRAM exchange has not shown that it knows the password and is refused.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use pgwarden_config::Secret;
use postgres_protocol::authentication::{md5_hash, sasl};
use tokio::io::AsyncWriteExt;

use super::error::{ConnectError, ServerError};
use super::frames::read_frame;
use super::outbox::Outbox;
use super::stream::ServerStream;
use super::upstream::Upstream;
use super::{BackendFacts, channel_binding, frames};
use crate::spares::READ_BYTES;

/// Protocol 3.0.
const PROTOCOL_VERSION: u32 = 3 << 16;

/// Fixed for every session: under another client encoding, or without standard strings, the
/// server's token boundaries would not be those that the engine saw. They come last, so that they
/// win over anything before them.
const FIXED: [(&str, &str); 2] = [
    ("client_encoding", "UTF8"),
    ("standard_conforming_strings", "on"),
];

/// A connection that has logged in.
pub(super) struct Login {
    pub(super) stream: ServerStream,
    pub(super) inbox: BytesMut,
    pub(super) facts: BackendFacts,
    /// The server's cancel key.
    pub(super) secret: Bytes,
}

/// Logs in.
pub(super) async fn login(
    mut stream: ServerStream,
    upstream: &Upstream,
    parameters: &[(String, String)],
) -> Result<Login, ConnectError> {
    stream
        .write_all(&startup_packet(upstream, parameters))
        .await?;
    stream.flush().await?;
    let mut inbox = BytesMut::with_capacity(READ_BYTES);
    authenticate(&mut stream, &mut inbox, upstream).await?;
    let mut facts = BackendFacts::default();
    let mut secret = Bytes::new();
    loop {
        let frame = read_frame(&mut stream, &mut inbox).await?;
        match frame.tag {
            b'Z' => break,
            b'E' => return Err(server_error(&frame)),
            b'N' => facts.notices.push(frame.bytes),
            b'S' => facts.parameters.push(parameter(frame.body())?),
            b'K' => {
                let mut body = frame.body();
                facts.pid = body
                    .try_get_i32()
                    .map_err(|_| odd("a short BackendKeyData"))?;
                secret = Bytes::copy_from_slice(body);
            }
            // NegotiateProtocolVersion: we ask for 3.0 without extensions, so nothing is lost.
            b'v' => {}
            _ => return Err(odd("an unexpected message during start-up")),
        }
    }
    Ok(Login {
        stream,
        inbox,
        facts,
        secret,
    })
}

fn startup_packet(upstream: &Upstream, parameters: &[(String, String)]) -> BytesMut {
    let mut packet = BytesMut::new();
    packet.put_u32(0);
    packet.put_u32(PROTOCOL_VERSION);
    let own = [("user", &*upstream.user), ("database", &*upstream.database)];
    let theirs = parameters.iter().map(|(name, value)| (&**name, &**value));
    for (name, value) in own.into_iter().chain(theirs).chain(FIXED) {
        if name.contains('\0') || value.contains('\0') || name.is_empty() {
            continue;
        }
        packet.put_slice(name.as_bytes());
        packet.put_u8(0);
        packet.put_slice(value.as_bytes());
        packet.put_u8(0);
    }
    packet.put_u8(0);
    let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
    if let Some(field) = packet.get_mut(..4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    packet
}

/// Answers the server's requests until AuthenticationOk.
async fn authenticate(
    stream: &mut ServerStream,
    inbox: &mut BytesMut,
    upstream: &Upstream,
) -> Result<(), ConnectError> {
    loop {
        let frame = read_frame(stream, inbox).await?;
        match frame.tag {
            b'R' => {}
            b'E' => return Err(server_error(&frame)),
            b'N' | b'v' => continue,
            _ => return Err(odd("an unexpected message during authentication")),
        }
        let mut body = frame.body();
        let kind = body
            .try_get_u32()
            .map_err(|_| odd("a short Authentication"))?;
        match kind {
            0 => return Ok(()),
            3 => {
                let password = password(upstream)?;
                send_password(stream, password.expose().as_bytes()).await?;
            }
            5 => {
                let salt: [u8; 4] = body.try_into().map_err(|_| odd("a bad md5 salt"))?;
                let password = password(upstream)?.expose();
                let hash = md5_hash(upstream.user.as_bytes(), password.as_bytes(), salt);
                send_password(stream, hash.as_bytes()).await?;
            }
            10 => {
                scram(stream, inbox, password(upstream)?, body).await?;
            }
            _ => return Err(odd("an authentication request that pgwarden can't answer")),
        }
    }
}

fn password(upstream: &Upstream) -> Result<&Secret, ConnectError> {
    upstream.password.as_ref().ok_or(ConnectError::NoPassword)
}

async fn send(stream: &mut ServerStream, body: &[u8]) -> Result<(), ConnectError> {
    let mut outbox = Outbox::default();
    outbox.login(b'p', body);
    stream.write_all(outbox.bytes()).await?;
    stream.flush().await?;
    Ok(())
}

async fn send_password(stream: &mut ServerStream, password: &[u8]) -> Result<(), ConnectError> {
    let mut body = password.to_vec();
    body.push(0);
    send(stream, &body).await
}

/// One SCRAM exchange, up to the server's own proof.
async fn scram(
    stream: &mut ServerStream,
    inbox: &mut BytesMut,
    password: &Secret,
    mechanisms: &[u8],
) -> Result<(), ConnectError> {
    let (mechanism, binding) = mechanism(stream, mechanisms)?;
    let mut scram = sasl::ScramSha256::new(password.expose().as_bytes(), binding);
    let mut body = BytesMut::new();
    body.put_slice(mechanism.as_bytes());
    body.put_u8(0);
    body.put_u32(u32::try_from(scram.message().len()).unwrap_or(u32::MAX));
    body.put_slice(scram.message());
    send(stream, &body).await?;
    let first = sasl_message(stream, inbox, 11).await?;
    scram.update(&first).map_err(ConnectError::Scram)?;
    send(stream, scram.message()).await?;
    let last = sasl_message(stream, inbox, 12).await?;
    scram.finish(&last).map_err(ConnectError::Scram)
}

/// SCRAM bound to the TLS channel where both sides can. Where the server offers no binding over
/// TLS, "y" tells it that we could have: somebody in the middle who took its offer away is found
/// out. Without TLS, or with a certificate that has no binding, it is "n".
fn mechanism(
    stream: &ServerStream,
    offered: &[u8],
) -> Result<(&'static str, sasl::ChannelBinding), ConnectError> {
    let offers = |name: &str| offered.split(|b| *b == 0).any(|it| it == name.as_bytes());
    let end_point = stream
        .certificate()
        .and_then(channel_binding::server_end_point);
    match end_point {
        Some(hash) if offers(sasl::SCRAM_SHA_256_PLUS) => {
            let binding = sasl::ChannelBinding::tls_server_end_point(hash);
            Ok((sasl::SCRAM_SHA_256_PLUS, binding))
        }
        _ if !offers(sasl::SCRAM_SHA_256) => Err(odd("no SASL mechanism that pgwarden knows")),
        Some(_) => Ok((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unrequested())),
        None => Ok((sasl::SCRAM_SHA_256, sasl::ChannelBinding::unsupported())),
    }
}

/// The data of the SASL message that must come next.
async fn sasl_message(
    stream: &mut ServerStream,
    inbox: &mut BytesMut,
    expected: u32,
) -> Result<Vec<u8>, ConnectError> {
    let frame = read_frame(stream, inbox).await?;
    if frame.tag == b'E' {
        return Err(server_error(&frame));
    }
    let mut body = frame.body();
    match (frame.tag, body.try_get_u32()) {
        (b'R', Ok(kind)) if kind == expected => Ok(body.to_vec()),
        _ => Err(odd("something else in the middle of SCRAM")),
    }
}

fn parameter(body: &[u8]) -> Result<(String, String), ConnectError> {
    let mut parts = body.split(|byte| *byte == 0);
    match (parts.next(), parts.next()) {
        (Some(name), Some(value)) => Ok((lossy(name), lossy(value))),
        _ => Err(odd("a bad ParameterStatus")),
    }
}

/// Reads an ErrorResponse.
fn server_error(frame: &frames::Frame) -> ConnectError {
    let field = |wanted: u8| frames::error_field(frame.body(), wanted).map(lossy);
    ConnectError::Server(ServerError {
        sqlstate: field(b'C').unwrap_or_default(),
        message: field(b'M').unwrap_or_default(),
        frame: frame.bytes.clone(),
    })
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn odd(what: &'static str) -> ConnectError {
    ConnectError::Protocol(what)
}
