//! The parts of a JWT in compact form (RFC 7515, section 3.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::error::AuthError;
use super::json;

/// A token cut at its dots. The parts are plain text of the base64url alphabet.
pub(super) struct Token<'a> {
    header: &'a str,
    payload: &'a str,
    /// Header and payload with the dot between: what is signed.
    pub(super) signed: &'a str,
    /// Not empty.
    pub(super) signature: &'a str,
}

/// What of a header matters.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) algorithm: String,
    pub(super) key_id: Option<String>,
}

impl<'a> Token<'a> {
    /// Cuts a token at its dots.
    pub(super) fn split(token: &'a [u8]) -> Result<Self, AuthError> {
        let token = std::str::from_utf8(token).map_err(|_| AuthError::Malformed)?;
        let (signed, signature) = token.rsplit_once('.').ok_or(AuthError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(AuthError::Malformed)?;
        if payload.contains('.') || header.is_empty() || payload.is_empty() {
            return Err(AuthError::Malformed);
        }
        if signature.is_empty() {
            return Err(AuthError::Signature);
        }
        Ok(Self {
            header,
            payload,
            signed,
            signature,
        })
    }

    /// The header, when it asks for nothing but an algorithm and a key of ours.
    pub(super) fn header(&self) -> Result<Header, AuthError> {
        let object = json::object(&decode(self.header)?).ok_or(AuthError::Header)?;
        if object.contains_key("crit") || object.contains_key("b64") {
            return Err(AuthError::CriticalExtension);
        }
        if ["jwk", "jku", "x5u", "x5c"]
            .iter()
            .any(|name| object.contains_key(*name))
        {
            return Err(AuthError::EmbeddedKey);
        }
        if object.contains_key("enc") || object.contains_key("zip") {
            return Err(AuthError::Header);
        }
        let key_id = match object.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(AuthError::Header),
        };
        match object.get("alg") {
            Some(Value::String(algorithm)) => Ok(Header {
                algorithm: algorithm.clone(),
                key_id,
            }),
            _ => Err(AuthError::Header),
        }
    }

    /// The payload. To be read when the signature is known to be good, not before.
    pub(super) fn payload(&self) -> Result<Map<String, Value>, AuthError> {
        json::object(&decode(self.payload)?).ok_or(AuthError::Payload)
    }
}

/// Strict base64url: no padding, no other alphabet, no stray bits at the end.
pub(super) fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    let decoded = URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| AuthError::Malformed)
}
