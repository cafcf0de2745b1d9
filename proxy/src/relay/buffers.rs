//! The client's side of the buffers: filled, written, and given back when they are not needed.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::{OUTPUT_BYTES_MAX, Relay};
use crate::spares::{self, READ_BYTES};
use crate::wire::frame;

/// Buffers of idle sessions are given back when they are larger.
const KEPT_BYTES: usize = 8 << 10;

/// The last words to a client take no longer than this.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

impl Relay {
    /// Whether more of the client is wanted: not before the next message is worked off.
    pub(super) fn reads_client(&mut self) -> bool {
        if self.half_closed || self.server_output() >= OUTPUT_BYTES_MAX {
            return false;
        }
        let rest = self.from_client.rest();
        match frame::header(rest) {
            Ok(Some(header)) => rest.len() < header.frame().max(READ_BYTES),
            _ => true,
        }
    }

    pub(super) fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.client.poll_read_ready(cx)?.is_ready() {
            let buffer = self.from_client.buffer();
            spares::make_room(buffer);
            let read = pin!(self.client.read_buf(buffer)).poll(cx);
            if read.is_ready() {
                return read;
            }
        }
        let buffer = self.from_client.buffer();
        if buffer.is_empty() {
            spares::give_back(buffer);
        }
        Poll::Pending
    }

    pub(super) fn poll_write_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let out = self.session.output();
        while !out.is_empty() {
            let written = ready!(Pin::new(&mut self.client).poll_write(cx, out))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            out.advance(written);
        }
        Pin::new(&mut self.client).poll_flush(cx)
    }

    /// What the client's messages take, here and on their way to the server.
    pub(super) fn held_bytes(&mut self) -> usize {
        self.from_client.buffer().capacity() + self.server_output()
    }

    /// An idle session keeps no large buffer.
    pub(super) fn release_buffers(&mut self) {
        let held = self.held_bytes();
        self.holding.release(held);
        if !self.session.is_settled() {
            return;
        }
        for buffer in [self.from_client.buffer(), self.session.output()] {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }

    pub(super) async fn write_goodbye(&mut self) {
        let out = std::mem::take(self.session.output());
        let client = &mut self.client;
        let goodbye = async {
            client.write_all(&out).await?;
            client.shutdown().await
        };
        let _ = tokio::time::timeout(GOODBYE_TIME, goodbye).await;
    }
}
