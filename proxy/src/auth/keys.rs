//! The keys that sign tokens. Each has one algorithm; a token can only name which one it claims to
//! be signed with, never how a key is used.

use jsonwebtoken::{Algorithm, DecodingKey};
use pgwarden_config::settings::{HMAC_SECRET_BYTES_MIN, JwtAlgorithm, JwtKey, KeyMaterial};

use super::error::{AuthError, KeyError};
use super::token::{self, Header, Token};

/// A key with its one algorithm.
struct Key {
    id: Option<String>,
    name: &'static str,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// All keys.
pub(super) struct Keys {
    keys: Vec<Key>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Keys({})", self.keys.len())
    }
}

impl Keys {
    pub(super) fn new(settings: &[JwtKey]) -> Result<Self, KeyError> {
        let mut keys = Vec::with_capacity(settings.len());
        for (at, key) in settings.iter().enumerate() {
            let decoded = decoding_key(key).map_err(|why| KeyError {
                position: at + 1,
                why,
            })?;
            keys.push(Key {
                id: key.id.clone(),
                name: key.algorithm.name(),
                algorithm: algorithm(key.algorithm),
                key: decoded,
            });
        }
        Ok(Self { keys })
    }

    /// Verifies the signature with the keys that the header may mean.
    ///
    /// A `kid` means the keys of that id, or those that have none; without a `kid`, every key of
    /// the algorithm may have signed.
    pub(super) fn verify(&self, token: &Token<'_>, header: &Header) -> Result<(), AuthError> {
        let mut of_id = self.keys.iter().filter(|key| key.may_be(header)).peekable();
        if of_id.peek().is_none() {
            return Err(AuthError::UnknownKey);
        }
        let mut of_algorithm = of_id.filter(|key| key.name == header.algorithm).peekable();
        if of_algorithm.peek().is_none() {
            return Err(AuthError::Algorithm);
        }
        // Also keeps signatures of one value in several spellings out.
        token::decode(token.signature)?;
        let mut verified = of_algorithm.filter(|key| key.signed(token));
        verified.next().map(|_| ()).ok_or(AuthError::Signature)
    }
}

impl Key {
    fn may_be(&self, header: &Header) -> bool {
        match (&header.key_id, &self.id) {
            (Some(wanted), Some(id)) => wanted == id,
            (None, _) | (Some(_), None) => true,
        }
    }

    fn signed(&self, token: &Token<'_>) -> bool {
        let signed = token.signed.as_bytes();
        let result =
            jsonwebtoken::crypto::verify(token.signature, signed, &self.key, self.algorithm);
        matches!(result, Ok(true))
    }
}

/// jsonwebtoken's name of an algorithm.
pub(crate) fn algorithm(name: JwtAlgorithm) -> Algorithm {
    match name {
        JwtAlgorithm::Hs256 => Algorithm::HS256,
        JwtAlgorithm::Hs384 => Algorithm::HS384,
        JwtAlgorithm::Hs512 => Algorithm::HS512,
        JwtAlgorithm::Rs256 => Algorithm::RS256,
        JwtAlgorithm::Rs384 => Algorithm::RS384,
        JwtAlgorithm::Rs512 => Algorithm::RS512,
        JwtAlgorithm::Ps256 => Algorithm::PS256,
        JwtAlgorithm::Ps384 => Algorithm::PS384,
        JwtAlgorithm::Ps512 => Algorithm::PS512,
        JwtAlgorithm::Es256 => Algorithm::ES256,
        JwtAlgorithm::Es384 => Algorithm::ES384,
        JwtAlgorithm::EdDsa => Algorithm::EdDSA,
    }
}

/// Reads a key for its algorithm. The texts never quote the key.
fn decoding_key(key: &JwtKey) -> Result<DecodingKey, String> {
    match (key.algorithm, &key.material) {
        (
            JwtAlgorithm::Hs256 | JwtAlgorithm::Hs384 | JwtAlgorithm::Hs512,
            KeyMaterial::Secret(secret),
        ) => {
            let secret = secret.expose().as_bytes();
            if secret.len() < HMAC_SECRET_BYTES_MIN {
                return Err(format!(
                    "the secret is shorter than {HMAC_SECRET_BYTES_MIN} bytes"
                ));
            }
            Ok(DecodingKey::from_secret(secret))
        }
        (
            JwtAlgorithm::Rs256
            | JwtAlgorithm::Rs384
            | JwtAlgorithm::Rs512
            | JwtAlgorithm::Ps256
            | JwtAlgorithm::Ps384
            | JwtAlgorithm::Ps512,
            KeyMaterial::PublicKeyPem(pem),
        ) => {
            let decoded = public_key(DecodingKey::from_rsa_pem(pem.as_bytes()), key.algorithm)?;
            check_modulus(&decoded)?;
            Ok(decoded)
        }
        (JwtAlgorithm::Es256 | JwtAlgorithm::Es384, KeyMaterial::PublicKeyPem(pem)) => {
            let decoded = public_key(DecodingKey::from_ec_pem(pem.as_bytes()), key.algorithm)?;
            check_curve(&decoded, key.algorithm)?;
            Ok(decoded)
        }
        (JwtAlgorithm::EdDsa, KeyMaterial::PublicKeyPem(pem)) => {
            public_key(DecodingKey::from_ed_pem(pem.as_bytes()), key.algorithm)
        }
        (_, KeyMaterial::Secret(_)) => Err(format!("{} needs a public key", key.algorithm.name())),
        (_, KeyMaterial::PublicKeyPem(_)) => {
            Err(format!("{} needs a secret", key.algorithm.name()))
        }
    }
}

fn public_key(
    decoded: Result<DecodingKey, jsonwebtoken::errors::Error>,
    algorithm: JwtAlgorithm,
) -> Result<DecodingKey, String> {
    decoded.map_err(|_| format!("not a public key in PEM for {}", algorithm.name()))
}

/// A modulus of 2048 bits makes 256 bytes of DER and some; shorter ones verify nothing, and that is
/// better said at the start.
fn check_modulus(key: &DecodingKey) -> Result<(), String> {
    match key.try_get_as_bytes() {
        Ok(der) if der.len() > 256 => Ok(()),
        _ => Err("an RSA key needs 2048 bits".to_owned()),
    }
}

/// An uncompressed point: 65 bytes on P-256, 97 on P-384.
fn check_curve(key: &DecodingKey, algorithm: JwtAlgorithm) -> Result<(), String> {
    let expected = if algorithm == JwtAlgorithm::Es256 {
        65
    } else {
        97
    };
    match key.try_get_as_bytes() {
        Ok(point) if point.len() == expected => Ok(()),
        _ => Err(format!("not a key of {}'s curve", algorithm.name())),
    }
}
