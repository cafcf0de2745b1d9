//! Messages to the server, as bytes that wait to be written.

use bytes::{BufMut, BytesMut};
use pgwarden_policy::copy::Checked;
use pgwarden_policy::{Cleared, Lookup};

/// The messages of a client that may be forwarded with the client's own bytes in them: none of
/// them carries SQL text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Bind.
    Bind,
    /// Close.
    Close,
    /// CopyDone.
    CopyDone,
    /// CopyFail.
    CopyFail,
    /// Describe.
    Describe,
    /// Execute.
    Execute,
    /// Flush.
    Flush,
    /// Sync.
    Sync,
    /// Terminate.
    Terminate,
}

impl Forward {
    fn tag(self) -> u8 {
        match self {
            Self::Bind => b'B',
            Self::Close => b'C',
            Self::CopyDone => b'c',
            Self::CopyFail => b'f',
            Self::Describe => b'D',
            Self::Execute => b'E',
            Self::Flush => b'H',
            Self::Sync => b'S',
            Self::Terminate => b'X',
        }
    }
}

/// A buffer of this size is kept when it is empty.
const KEPT_BYTES: usize = 64 << 10;

/// What waits to be written to the server.
#[derive(Default)]
pub struct Outbox {
    bytes: BytesMut,
}

impl std::fmt::Debug for Outbox {
    /// Leaves statements and values out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outbox")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl Outbox {
    /// A Query with a cleared text.
    pub fn query(&mut self, cleared: &Cleared<'_>) {
        self.put_query(cleared.text());
    }

    /// A Parse with a cleared text. `name` is the server's name of the statement; `types` are the
    /// client's declared types followed by those of the hidden parameters.
    pub fn parse(&mut self, name: &str, cleared: &Cleared<'_>, types: &[u32]) {
        self.put_parse(name, cleared.text(), types);
    }

    /// A Parse of a lookup's statement.
    pub fn parse_lookup(&mut self, name: &str, lookup: &Lookup<'_>) {
        self.put_parse(name, lookup.text(), lookup.types());
    }

    /// A Bind of a lookup's statement of this name to the unnamed portal.
    pub fn bind_lookup(&mut self, name: &str, lookup: &Lookup<'_>) {
        self.frame(b'B', |bytes| {
            bytes.put_u8(0);
            put_string(bytes, name);
            bytes.put_u16(0);
            let count = lookup.types().len();
            bytes.put_u16(u16::try_from(count).unwrap_or(u16::MAX));
            lookup.each_value(|value| {
                bytes.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                bytes.put_slice(value);
            });
            bytes.put_u16(0);
        });
    }

    /// A Query with a text of this program.
    pub fn own_query(&mut self, text: &'static str) {
        self.put_query(text);
    }

    /// A Parse with a text of this program.
    pub fn own_parse(&mut self, name: &str, text: &'static str, types: &[u32]) {
        self.put_parse(name, text, types);
    }

    /// A Bind of our own statement of this name to a portal of the same name, with texts.
    pub fn own_bind<'v>(&mut self, name: &'static str, values: impl Iterator<Item = &'v str>) {
        self.frame(b'B', |bytes| {
            put_string(bytes, name);
            put_string(bytes, name);
            bytes.put_u16(0);
            let count = bytes.len();
            bytes.put_u16(0);
            let mut counted: u16 = 0;
            for value in values {
                bytes.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
                bytes.put_slice(value.as_bytes());
                counted = counted.saturating_add(1);
            }
            if let Some(field) = bytes.get_mut(count..count + 2) {
                field.copy_from_slice(&counted.to_be_bytes());
            }
            bytes.put_u16(0);
        });
    }

    /// A CopyData with checked data.
    pub fn copy_data(&mut self, data: &Checked<'_>) {
        self.frame(b'd', |bytes| bytes.put_slice(data.bytes()));
    }

    /// A message without SQL; `body` is what follows its length.
    pub fn forward(&mut self, message: Forward, body: &[u8]) {
        self.frame(message.tag(), |bytes| bytes.put_slice(body));
    }

    /// The same with a body in parts.
    pub fn forward_parts(&mut self, message: Forward, parts: &[&[u8]]) {
        self.frame(message.tag(), |bytes| {
            for part in parts {
                bytes.put_slice(part);
            }
        });
    }

    /// Messages of start-up and authentication.
    pub(super) fn login(&mut self, tag: u8, body: &[u8]) {
        self.frame(tag, |bytes| bytes.put_slice(body));
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes messages back that were written last and not sent.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    pub(super) fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// All is written: a large buffer is not kept for as long as the connection lives.
    pub(super) fn release(&mut self) {
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT_BYTES {
            self.bytes = BytesMut::new();
        }
    }

    fn put_query(&mut self, text: &str) {
        self.frame(b'Q', |bytes| put_string(bytes, text));
    }

    fn put_parse(&mut self, name: &str, text: &str, types: &[u32]) {
        self.frame(b'P', |bytes| {
            put_string(bytes, name);
            put_string(bytes, text);
            // The session refuses more types than the protocol can count before it comes here.
            bytes.put_u16(u16::try_from(types.len()).unwrap_or(u16::MAX));
            for oid in types.iter().take(usize::from(u16::MAX)) {
                bytes.put_u32(*oid);
            }
        });
    }

    fn frame(&mut self, tag: u8, body: impl FnOnce(&mut BytesMut)) {
        self.bytes.put_u8(tag);
        let start = self.bytes.len();
        self.bytes.put_u32(0);
        body(&mut self.bytes);
        // Message sizes are bounded far below 2 GiB when they are read.
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(field) = self.bytes.get_mut(start..start + 4) {
            field.copy_from_slice(&length.to_be_bytes());
        }
    }
}

/// A NUL ends a string of the protocol; what follows one in the text would be read as another
/// field, so nothing from the first NUL on is written. (Texts with NUL never get this far.)
fn put_string(bytes: &mut BytesMut, text: &str) {
    let end = text.bytes().position(|byte| byte == 0);
    let text = text.as_bytes();
    bytes.put_slice(end.and_then(|end| text.get(..end)).unwrap_or(text));
    bytes.put_u8(0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_carry_their_length() {
        let mut outbox = Outbox::default();
        outbox.own_query("SELECT 1");
        outbox.forward(Forward::Sync, &[]);
        assert_eq!(outbox.bytes(), b"Q\0\0\0\x0dSELECT 1\0S\0\0\0\x04");
    }

    #[test]
    fn a_parse_lists_its_types() {
        let mut outbox = Outbox::default();
        outbox.own_parse("a", "SELECT $1", &[25]);
        assert_eq!(outbox.bytes(), b"P\0\0\0\x16a\0SELECT $1\0\0\x01\0\0\0\x19");
    }
}
