//! THREATS.md F3 with real tokens and real keys: what a verifier lets in, and all that it doesn't.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod claims;
mod encoding;
mod signatures;

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey};
use pgwarden::auth::{AuthError, Identity, Verifier};
use pgwarden::refusal::Refusal;
use pgwarden_config::Secret;
use pgwarden_config::settings::{Auth, JwtAlgorithm, JwtKey, KeyMaterial};
use serde_json::{Value, json};

const SECRET: &str = "a secret of more than thirty-two bytes";
const ORG: &str = "a0000000-0000-0000-0000-000000000001";
const TOKEN_BYTES: usize = 16 << 10;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn claims() -> Value {
    json!({"exp": now() + 600, "sub": "alice", "app_metadata": {"org_id": ORG}})
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn encode(part: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// Signs whatever header and payload with a key, whatever the header says.
fn sign_raw(header: &str, payload: &[u8], key: &EncodingKey, algorithm: Algorithm) -> String {
    let signed = format!("{}.{}", encode(header.as_bytes()), encode(payload));
    let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), key, algorithm).unwrap();
    format!("{signed}.{signature}")
}

fn hs256_raw(header: &str, payload: &[u8]) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    sign_raw(header, payload, &key, Algorithm::HS256)
}

const HS256: &str = r#"{"alg":"HS256","typ":"JWT"}"#;

fn hs256(claims: &Value) -> String {
    hs256_raw(HS256, claims.to_string().as_bytes())
}

fn secret_key(id: Option<&str>, algorithm: JwtAlgorithm, secret: &str) -> JwtKey {
    JwtKey {
        id: id.map(str::to_owned),
        algorithm,
        material: KeyMaterial::Secret(Secret::new(secret)),
    }
}

fn public_key(id: Option<&str>, algorithm: JwtAlgorithm, pem: &str) -> JwtKey {
    JwtKey {
        id: id.map(str::to_owned),
        algorithm,
        material: KeyMaterial::PublicKeyPem(pem.to_owned()),
    }
}

fn auth(keys: Vec<JwtKey>) -> Auth {
    Auth {
        issuer: None,
        audience: Vec::new(),
        leeway: Duration::from_secs(30),
        require_tls: true,
        keys,
        jwks: None,
    }
}

fn hs256_auth() -> Auth {
    auth(vec![secret_key(None, JwtAlgorithm::Hs256, SECRET)])
}

fn verifier(auth: &Auth) -> Verifier {
    Verifier::new(auth, TOKEN_BYTES).unwrap()
}

fn verify(auth: &Auth, token: &str) -> Result<Identity, AuthError> {
    verifier(auth).verify(token.as_bytes(), SystemTime::now())
}

fn refused(token: &str) -> AuthError {
    let error = verify(&hs256_auth(), token).expect_err("the token must be refused");
    let told = error.refusal();
    let expected = Refusal::new("28P01", "pgwarden: token authentication failed");
    assert_eq!(told, expected, "one wording for all");
    error
}
