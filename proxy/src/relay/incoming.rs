//! What has come from the client: what is still to be worked off, and before it what was and may have
//! to be offered to the session again.

use bytes::{Buf, BytesMut};

/// The bytes.
#[derive(Default)]
pub(super) struct Incoming {
    bytes: BytesMut,
    /// So many of them were worked off, and are kept.
    kept: usize,
}

impl std::fmt::Debug for Incoming {
    /// Leaves the client's messages out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("bytes", &self.bytes.len())
            .field("kept", &self.kept)
            .finish_non_exhaustive()
    }
}

impl Incoming {
    /// What is still to be worked off.
    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.kept..).unwrap_or_default()
    }

    /// Whether nothing is.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.len() <= self.kept
    }

    /// So many bytes are worked off; they may have to be offered again.
    pub(super) fn keep(&mut self, count: usize) {
        self.kept += count;
    }

    /// So many bytes are worked off, for good, with what came before them.
    pub(super) fn advance(&mut self, count: usize) {
        let done = (self.kept + count).min(self.bytes.len());
        self.bytes.advance(done);
        self.kept = 0;
    }

    /// All that is kept is still to be worked off.
    pub(super) fn rewind(&mut self) {
        self.kept = 0;
    }

    /// Where more is read into.
    pub(super) fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_can_be_offered_again() {
        let mut incoming = Incoming::default();
        incoming.buffer().extend_from_slice(b"abcdef");
        incoming.keep(2);
        incoming.keep(1);
        assert_eq!(incoming.rest(), b"def");
        incoming.rewind();
        assert_eq!(incoming.rest(), b"abcdef");
        incoming.keep(2);
        incoming.advance(1);
        assert_eq!(incoming.rest(), b"def");
        incoming.rewind();
        assert_eq!(incoming.rest(), b"def");
        incoming.keep(3);
        assert!(incoming.is_done());
        incoming.advance(0);
        assert!(incoming.is_done() && incoming.buffer().is_empty());
    }
}
