//! Size, depth and encoding of the token's three parts.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use jsonwebtoken::{Algorithm, EncodingKey};
use pgwarden::auth::AuthError;
use serde_json::json;

use super::{HS256, SECRET, claims, hs256, hs256_raw, now, refused, with};

#[test]
fn f3_size_and_depth() {
    assert_eq!(refused(""), AuthError::Missing);
    assert_eq!(
        refused(&hs256(&with("pad", json!("x".repeat(1 << 20))))),
        AuthError::TooLong
    );
    assert_eq!(refused(&"a.".repeat(1 << 19)), AuthError::TooLong);
    for depth in [33, 5_000] {
        let deep = format!(
            "{{\"exp\":{},\"a\":{}{}}}",
            now() + 600,
            "[".repeat(depth),
            "]".repeat(depth)
        );
        assert_eq!(
            refused(&hs256_raw(HS256, deep.as_bytes())),
            AuthError::Payload
        );
    }
}

#[test]
fn f3_payloads_that_are_not_objects_or_not_json() {
    for payload in [
        "[]",
        "null",
        "\"text\"",
        "7",
        "",
        "{",
        "{} {}",
        "\u{feff}{}",
    ] {
        let token = hs256_raw(HS256, payload.as_bytes());
        let error = refused(&token);
        assert!(
            matches!(error, AuthError::Payload | AuthError::Malformed),
            "{payload}"
        );
    }
    assert_eq!(
        refused(&hs256_raw(HS256, b"{\"a\":\"\xff\"}")),
        AuthError::Payload
    );
}

#[test]
fn f3_other_encodings_of_the_parts() {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let payload = with("pad", json!("???>>>~~~")).to_string();
    for engine in [&URL_SAFE, &STANDARD] {
        let signed = format!("{}.{}", engine.encode(HS256), engine.encode(&payload));
        let signature = jsonwebtoken::crypto::sign(signed.as_bytes(), &key, Algorithm::HS256);
        refused(&format!("{signed}.{}", signature.unwrap()));
    }
    let token = hs256(&claims());
    for odd in [
        format!(" {token}"),
        format!("{token}\n"),
        token.replace('.', ". "),
        format!("Bearer {token}"),
    ] {
        refused(&odd);
    }
}
