//! Messages to the client that pgwarden writes itself.

use bytes::{BufMut, BytesMut};

/// Appends one message.
pub fn message(out: &mut BytesMut, tag: u8, body: impl FnOnce(&mut BytesMut)) {
    out.put_u8(tag);
    let start = out.len();
    out.put_u32(0);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..start + 4) {
        field.copy_from_slice(&length.to_be_bytes());
    }
}

/// Appends a string and the NUL that ends it. What follows a NUL in it is left out.
pub fn string(out: &mut BytesMut, text: &[u8]) {
    out.put_slice(text.split(|byte| *byte == 0).next().unwrap_or_default());
    out.put_u8(0);
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(0));
}

/// AuthenticationCleartextPassword.
pub fn password_request(out: &mut BytesMut) {
    message(out, b'R', |out| out.put_u32(3));
}

/// NegotiateProtocolVersion: the minor version that will be spoken, and the options nobody knows.
pub fn negotiate(out: &mut BytesMut, minor: u16, unknown: &[&str]) {
    message(out, b'v', |out| {
        out.put_u32(3 << 16 | u32::from(minor));
        out.put_u32(u32::try_from(unknown.len()).unwrap_or(u32::MAX));
        for option in unknown {
            string(out, option.as_bytes());
        }
    });
}

/// ParameterStatus.
pub fn parameter_status(out: &mut BytesMut, name: &str, value: &str) {
    message(out, b'S', |out| {
        string(out, name.as_bytes());
        string(out, value.as_bytes());
    });
}

/// BackendKeyData.
pub fn backend_key_data(out: &mut BytesMut, pid: i32, secret: &[u8]) {
    message(out, b'K', |out| {
        out.put_i32(pid);
        out.put_slice(secret);
    });
}

/// ReadyForQuery.
pub fn ready(out: &mut BytesMut, status: u8) {
    message(out, b'Z', |out| out.put_u8(status));
}

/// CommandComplete.
pub fn command_complete(out: &mut BytesMut, tag: &str) {
    message(out, b'C', |out| string(out, tag.as_bytes()));
}

/// A CopyInResponse without the last `added` columns, which the client knows nothing of.
pub fn copy_in_response(out: &mut BytesMut, body: &[u8], added: usize) -> Option<()> {
    let (format, rest) = body.split_first()?;
    let (count, formats) = rest.split_at_checked(2)?;
    let count = usize::from(u16::from_be_bytes(count.try_into().ok()?));
    let own = count.checked_sub(added)?;
    let formats = formats.get(..own * 2)?;
    message(out, b'G', |out| {
        out.put_u8(*format);
        out.put_u16(u16::try_from(own).unwrap_or(u16::MAX));
        out.put_slice(formats);
    });
    Some(())
}

/// The server's ParameterDescription without its last `hidden` types; `None` when there are not so
/// many.
pub fn parameter_description(out: &mut BytesMut, body: &[u8], hidden: usize) -> Option<()> {
    let (count, types) = body.split_first_chunk::<2>()?;
    let shown = usize::from(u16::from_be_bytes(*count)).checked_sub(hidden)?;
    let types = types.get(..shown * 4)?;
    message(out, b't', |out| {
        out.put_u16(u16::try_from(shown).unwrap_or(u16::MAX));
        out.put_slice(types);
    });
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> Vec<u8> {
        let mut out = BytesMut::new();
        write(&mut out);
        out.to_vec()
    }

    #[test]
    fn messages_have_their_form() {
        assert_eq!(written(authentication_ok), b"R\0\0\0\x08\0\0\0\0");
        assert_eq!(written(password_request), b"R\0\0\0\x08\0\0\0\x03");
        assert_eq!(written(|out| ready(out, b'T')), b"Z\0\0\0\x05T");
        assert_eq!(
            written(|out| parameter_status(out, "a", "b")),
            b"S\0\0\0\x08a\0b\0"
        );
        assert_eq!(
            written(|out| backend_key_data(out, 1, &[9, 9, 9, 9])),
            b"K\0\0\0\x0c\0\0\0\x01\x09\x09\x09\x09"
        );
        assert_eq!(
            written(|out| negotiate(out, 2, &["_pq_.x"])),
            b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"
        );
        assert_eq!(
            written(|out| command_complete(out, "SET")),
            b"C\0\0\0\x08SET\0"
        );
    }

    #[test]
    fn hidden_parameters_are_not_described() {
        let body = [0, 2, 0, 0, 0, 25, 0, 0, 11, 134];
        let mut out = BytesMut::new();
        assert!(parameter_description(&mut out, &body, 1).is_some());
        assert_eq!(&out[..], b"t\0\0\0\x0a\0\x01\0\0\0\x19");
        assert!(parameter_description(&mut out, &body, 3).is_none());
        assert!(parameter_description(&mut out, &[0], 0).is_none());
    }
}
