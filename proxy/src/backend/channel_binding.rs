//! `tls-server-end-point` (RFC 5929, section 4.1): what ties a SCRAM exchange to the certificate
//! that the TLS handshake showed, so that nobody in the middle can pass the exchange on.

use aws_lc_rs::digest::{self, Algorithm, SHA256, SHA384, SHA512};

/// DER of SEQUENCE and of OBJECT IDENTIFIER.
const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// 1.2.840.113549.1.1, the signatures of PKCS #1.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4, the signatures of ECDSA.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The hash of a certificate by its signature's hash function; `None` where that names none (for
/// Ed25519 the RFC says nothing, and PostgreSQL has no channel binding either).
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    let (content, _) = element(certificate, SEQUENCE)?;
    let (_, after_body) = element(content, SEQUENCE)?;
    let (signature, _) = element(after_body, SEQUENCE)?;
    let (oid, _) = element(signature, OBJECT_IDENTIFIER)?;
    // MD5 and SHA-1 are replaced by SHA-256.
    match (oid.strip_prefix(PKCS1), oid.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => Some(&SHA256),
        (Some([12]), _) | (_, Some([3, 3])) => Some(&SHA384),
        (Some([13]), _) | (_, Some([3, 4])) => Some(&SHA512),
        _ => None,
    }
}

/// The content of the element that stands first, if it has that tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&[found, first], rest) = der.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first - 0x80))?;
            let length = bytes
                .iter()
                .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_certificates_give_nothing() {
        for der in [
            &b""[..],
            &[0x30],
            &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[0x30, 2, 0x30, 0],
        ] {
            assert_eq!(server_end_point(der), None);
        }
    }

    #[test]
    fn the_signature_names_the_hash() {
        let certificate = |oid: &[u8]| {
            let mut signature = vec![OBJECT_IDENTIFIER, u8::try_from(oid.len()).unwrap()];
            signature.extend_from_slice(oid);
            let mut content = vec![
                SEQUENCE,
                0,
                SEQUENCE,
                u8::try_from(signature.len()).unwrap(),
            ];
            content.extend_from_slice(&signature);
            let mut all = vec![SEQUENCE, u8::try_from(content.len()).unwrap()];
            all.extend_from_slice(&content);
            all
        };
        for (prefix, last, length) in [
            (PKCS1, &[5][..], Some(32)),
            (PKCS1, &[11], Some(32)),
            (PKCS1, &[12], Some(48)),
            (PKCS1, &[13], Some(64)),
            (ECDSA, &[3, 2], Some(32)),
            (ECDSA, &[3, 3], Some(48)),
            (ECDSA, &[3, 4], Some(64)),
            (&[0x2b, 0x65], &[0x70], None),
        ] {
            let der = certificate(&[prefix, last].concat());
            assert_eq!(server_end_point(&der).map(|hash| hash.len()), length);
        }
    }
}
