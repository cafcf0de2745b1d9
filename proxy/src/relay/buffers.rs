//! The client's side of the buffers: filled, written, and given back when they are not needed.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWrite};

use super::Relay;

/// How much of the client is read at once.
pub(super) const READ_BYTES: usize = 4 << 10;

/// Buffers of idle sessions are given back when they are larger.
const KEPT_BYTES: usize = 8 << 10;

impl Relay {
    pub(super) fn poll_read_client(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.client.poll_read_ready(cx)?.is_ready() {
            self.from_client.reserve(READ_BYTES);
            let read = pin!(self.client.read_buf(&mut self.from_client)).poll(cx);
            if read.is_ready() {
                return read;
            }
        }
        if self.from_client.is_empty() {
            // An idle session keeps no buffer.
            self.from_client = BytesMut::new();
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

    /// An idle session keeps no large buffer.
    pub(super) fn release_buffers(&mut self) {
        if !self.session.is_settled() {
            return;
        }
        for buffer in [&mut self.from_client, self.session.output()] {
            if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
                *buffer = BytesMut::new();
            }
        }
    }
}
