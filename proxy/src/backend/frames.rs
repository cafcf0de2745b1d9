//! Whole frames of the server, for the times when nobody relays: start-up and reset.

use std::io;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// No message of start-up or reset is longer. (Notices of extensions can be long, not this long.)
const FRAME_BYTES_MAX: usize = 1 << 20;

/// A tag, a length, and a body.
pub(super) struct Frame {
    pub(super) tag: u8,
    /// The whole frame, tag and length included.
    pub(super) bytes: Bytes,
}

impl Frame {
    /// What follows the length.
    pub(super) fn body(&self) -> &[u8] {
        self.bytes.get(5..).unwrap_or_default()
    }
}

/// Reads the next frame; bytes behind it stay in `inbox`.
pub(super) async fn read_frame<S>(stream: &mut S, inbox: &mut BytesMut) -> io::Result<Frame>
where
    S: AsyncRead + Unpin,
{
    loop {
        if let Some(frame) = next_frame(inbox)? {
            return Ok(frame);
        }
        if stream.read_buf(inbox).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Takes a frame out of the bytes read so far, if one is whole.
pub(super) fn next_frame(inbox: &mut BytesMut) -> io::Result<Option<Frame>> {
    let Some((&[tag, a, b, c, d], _)) = inbox.split_first_chunk::<5>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes([a, b, c, d]) as usize;
    if !(4..FRAME_BYTES_MAX).contains(&length) {
        return Err(io::ErrorKind::InvalidData.into());
    }
    if inbox.len() < length + 1 {
        return Ok(None);
    }
    let bytes = inbox.split_to(length + 1).freeze();
    Ok(Some(Frame { tag, bytes }))
}

/// A field of an ErrorResponse or NoticeResponse.
pub(super) fn error_field(body: &[u8], wanted: u8) -> Option<&[u8]> {
    body.split(|byte| *byte == 0).find_map(|field| {
        let (code, value) = field.split_first()?;
        (*code == wanted).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_waits_until_it_is_whole() {
        let mut inbox = BytesMut::from(&b"Z\0\0\0\x05"[..]);
        assert!(next_frame(&mut inbox).unwrap().is_none());
        inbox.extend_from_slice(b"IZ");
        let frame = next_frame(&mut inbox).unwrap().unwrap();
        assert_eq!((frame.tag, frame.body()), (b'Z', &b"I"[..]));
        assert_eq!(&inbox[..], b"Z");
    }

    #[test]
    fn lengths_that_cannot_be_are_refused() {
        for bytes in [
            &b"Z\0\0\0\x03"[..],
            b"Z\xff\xff\xff\xff",
            b"N\x7f\xff\xff\xff",
        ] {
            assert!(next_frame(&mut BytesMut::from(bytes)).is_err());
        }
    }
}
