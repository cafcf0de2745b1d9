//! The frame around every message but the first of a connection: a type, a length, a body.

use super::Malformed;

/// The bytes before a body.
pub const HEADER_BYTES: usize = 5;

/// The type of a message and the length of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The message's type.
    pub tag: u8,
    /// The length of what follows the header.
    pub body: usize,
}

impl Header {
    /// The length of the whole frame.
    pub fn frame(self) -> usize {
        HEADER_BYTES + self.body
    }
}

/// Reads a header, if all of it is there.
///
/// # Errors
/// When the length does not even cover itself, or is negative as PostgreSQL reads it.
pub fn header(bytes: &[u8]) -> Result<Option<Header>, Malformed> {
    let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let length = i32::from_be_bytes([a, b, c, d]);
    let body = usize::try_from(length)
        .ok()
        .and_then(|it| it.checked_sub(4));
    let body = body.ok_or(Malformed("invalid message length"))?;
    Ok(Some(Header { tag, body }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_when_it_is_whole() {
        assert_eq!(header(b"Q\0\0\0"), Ok(None));
        let wanted = Header { tag: b'Q', body: 9 };
        assert_eq!(header(b"Q\0\0\0\x0dSELECT"), Ok(Some(wanted)));
        assert_eq!(wanted.frame(), 14);
    }

    #[test]
    fn lengths_that_do_not_cover_themselves_are_refused() {
        for length in [0_i32, 1, 3, -1, i32::MIN] {
            let mut bytes = vec![b'Q'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert!(header(&bytes).is_err(), "{length}");
        }
    }
}
