//! The first message of a connection, which has no type.

use super::{Malformed, Reader};

/// PostgreSQL's own bound for a start-up packet, its length included.
pub const PACKET_BYTES_MAX: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// What a client opens with.
#[derive(Clone, PartialEq, Eq)]
pub enum Opening {
    /// It asks for TLS.
    Ssl,
    /// It asks for GSSAPI encryption.
    GssEncryption,
    /// It wants another session's statement cancelled.
    Cancel {
        /// The server process that it was told.
        pid: i32,
        /// The secret that goes with it.
        secret: Vec<u8>,
    },
    /// It wants a session.
    Session {
        /// The protocol's major version.
        major: u16,
        /// The protocol's minor version.
        minor: u16,
        /// Names and values, in order.
        parameters: Vec<(String, String)>,
    },
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ssl => "SSLRequest",
            Self::GssEncryption => "GSSENCRequest",
            Self::Cancel { .. } => "CancelRequest(…)",
            Self::Session { .. } => "StartupMessage(…)",
        })
    }
}

/// The first four bytes of a Terminate message, which a driver whose user has changed their mind sends
/// before it has introduced itself (node-postgres).
pub const FAREWELL: [u8; 4] = [b'X', 0, 0, 0];

/// How many bytes follow the four of the length.
///
/// # Errors
/// When a start-up packet can't be so short or so long.
pub fn body_length(length: [u8; 4]) -> Result<usize, Malformed> {
    let length = u32::from_be_bytes(length) as usize;
    if (8..=PACKET_BYTES_MAX).contains(&length) {
        Ok(length - 4)
    } else {
        Err(Malformed("invalid length of startup packet"))
    }
}

/// Reads what follows the length.
///
/// # Errors
/// When it is none of the four packets.
pub fn opening(body: &[u8]) -> Result<Opening, Malformed> {
    let mut reader = Reader::new(body);
    match reader.u32()? {
        SSL_REQUEST => reader.end().map(|()| Opening::Ssl),
        GSSENC_REQUEST => reader.end().map(|()| Opening::GssEncryption),
        CANCEL_REQUEST => cancel(reader),
        version => session(version, reader),
    }
}

fn cancel(mut reader: Reader<'_>) -> Result<Opening, Malformed> {
    let pid = reader.i32()?;
    let secret = reader.rest();
    if !(4..=256).contains(&secret.len()) {
        return Err(Malformed("invalid length of cancel key"));
    }
    let secret = secret.to_vec();
    Ok(Opening::Cancel { pid, secret })
}

fn session(version: u32, mut reader: Reader<'_>) -> Result<Opening, Malformed> {
    let [a, b, c, d] = version.to_be_bytes();
    let major = u16::from_be_bytes([a, b]);
    let mut parameters = Vec::new();
    // What follows an unknown version has an unknown form.
    if major == 3 {
        loop {
            let name = text(&mut reader)?;
            if name.is_empty() {
                break;
            }
            parameters.push((name, text(&mut reader)?));
        }
        let layout =
            |_| Malformed("invalid startup packet layout: expected terminator as last byte");
        reader.end().map_err(layout)?;
    }
    Ok(Opening::Session {
        major,
        minor: u16::from_be_bytes([c, d]),
        parameters,
    })
}

fn text(reader: &mut Reader<'_>) -> Result<String, Malformed> {
    let bytes = reader.string()?.to_vec();
    String::from_utf8(bytes).map_err(|_| Malformed("startup parameter is not valid UTF8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u32, rest: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend_from_slice(rest);
        body
    }

    #[test]
    fn lengths_are_bounded() {
        assert!(body_length([0, 0, 0, 7]).is_err());
        assert_eq!(body_length([0, 0, 0, 8]), Ok(4));
        assert!(body_length(10_001_u32.to_be_bytes()).is_err());
        assert!(body_length([0xff; 4]).is_err());
    }

    #[test]
    fn each_packet_is_told_from_the_others() {
        assert_eq!(opening(&packet(80_877_103, b"")), Ok(Opening::Ssl));
        assert_eq!(
            opening(&packet(80_877_104, b"")),
            Ok(Opening::GssEncryption)
        );
        let secret = vec![1, 2, 3, 4];
        let cancel = Opening::Cancel { pid: 7, secret };
        assert_eq!(
            opening(&packet(80_877_102, &[0, 0, 0, 7, 1, 2, 3, 4])),
            Ok(cancel)
        );
        let wanted = Opening::Session {
            major: 3,
            minor: 2,
            parameters: vec![("user".into(), "a".into())],
        };
        assert_eq!(opening(&packet(3 << 16 | 2, b"user\0a\0\0")), Ok(wanted));
    }

    #[test]
    fn broken_packets_are_refused() {
        for rest in [
            &b"user\0a\0"[..],
            b"user\0a",
            b"user\0\xff\0\0",
            b"user\0a\0\0x",
            b"",
        ] {
            assert!(opening(&packet(3 << 16, rest)).is_err(), "{rest:?}");
        }
        assert!(opening(&packet(80_877_103, b"x")).is_err());
        assert!(opening(&packet(80_877_102, &[0, 0, 0, 7, 1])).is_err());
        assert!(opening(b"ab").is_err());
    }
}
