//! Who signed: algorithms, keys, and signatures that are none.

use jsonwebtoken::{Algorithm, EncodingKey};
use pgwarden::auth::{AuthError, Verifier};
use pgwarden_config::settings::JwtAlgorithm;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _,
};
use serde_json::json;

use super::{
    SECRET, TOKEN_BYTES, auth, claims, encode, hs256, hs256_auth, hs256_raw, public_key, refused,
    secret_key, sign_raw, verify,
};

/// A public key of 1024 bits.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCobdB8WyJaSYJ3G1Xu/eJ8n+K
MwxKYnPnMWNUTpOsfmb5OjSMxhkqfiBskW9wT7N/C4iaLCYn6JlbUwQ34AXTV5fF
5HMKo+i86Xu9vXylnBOUZ8M27hEvXezhPJpyFkTiCS/E4LLygfETkI7Kz8oidzRy
X6V+TUlY4dCMrIHvpQIDAQAB
-----END PUBLIC KEY-----
";

#[test]
fn f3_good_tokens_of_every_algorithm_are_let_in() {
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    let ed = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let rsa_key = || EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    let ec_key =
        |pair: &KeyPair| EncodingKey::from_ec_pem(pair.serialize_pem().as_bytes()).unwrap();
    let ed_key = EncodingKey::from_ed_pem(ed.serialize_pem().as_bytes()).unwrap();
    let long = "x".repeat(64);
    let hmac = |secret: &str| EncodingKey::from_secret(secret.as_bytes());
    let cases = [
        (JwtAlgorithm::Hs256, Algorithm::HS256, hmac(SECRET), None),
        (JwtAlgorithm::Hs384, Algorithm::HS384, hmac(&long), None),
        (JwtAlgorithm::Hs512, Algorithm::HS512, hmac(&long), None),
        (JwtAlgorithm::Rs256, Algorithm::RS256, rsa_key(), Some(&rsa)),
        (JwtAlgorithm::Rs384, Algorithm::RS384, rsa_key(), Some(&rsa)),
        (JwtAlgorithm::Rs512, Algorithm::RS512, rsa_key(), Some(&rsa)),
        (JwtAlgorithm::Ps256, Algorithm::PS256, rsa_key(), Some(&rsa)),
        (JwtAlgorithm::Ps384, Algorithm::PS384, rsa_key(), Some(&rsa)),
        (JwtAlgorithm::Ps512, Algorithm::PS512, rsa_key(), Some(&rsa)),
        (
            JwtAlgorithm::Es256,
            Algorithm::ES256,
            ec_key(&p256),
            Some(&p256),
        ),
        (
            JwtAlgorithm::Es384,
            Algorithm::ES384,
            ec_key(&p384),
            Some(&p384),
        ),
        (JwtAlgorithm::EdDsa, Algorithm::EdDSA, ed_key, Some(&ed)),
    ];
    for (name, algorithm, key, pair) in cases {
        let settings = match pair {
            Some(pair) => public_key(None, name, &pair.public_key_pem()),
            None if name == JwtAlgorithm::Hs256 => secret_key(None, name, SECRET),
            None => secret_key(None, name, &long),
        };
        let header = json!({"alg": name.name(), "typ": "JWT"}).to_string();
        let token = sign_raw(&header, claims().to_string().as_bytes(), &key, algorithm);
        let auth = auth(vec![settings]);
        let identity = verify(&auth, &token).unwrap_or_else(|e| panic!("{name:?}: {e}"));
        assert_eq!(identity.subject(), Some("alice"));
        // The same with one bit of the signature turned.
        let at = token.rfind('.').unwrap() + 5;
        let other = if token.as_bytes()[at] == b'A' {
            'B'
        } else {
            'A'
        };
        let mut forged = token.clone();
        forged.replace_range(at..=at, &other.to_string());
        let error = verify(&auth, &forged).expect_err("a forged signature");
        assert_eq!(error, AuthError::Signature, "{name:?}");
    }
}

#[test]
fn f3_alg_none_in_any_case() {
    let payload = encode(claims().to_string().as_bytes());
    for none in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "",
        "hs256",
        "HS256 ",
        "HS256\\u0000",
    ] {
        let header = encode(format!(r#"{{"alg":"{none}","typ":"JWT"}}"#).as_bytes());
        refused(&format!("{header}.{payload}."));
        refused(&format!("{header}.{payload}.AAAA"));
        refused(&hs256_raw(
            &format!(r#"{{"alg":"{none}"}}"#),
            claims().to_string().as_bytes(),
        ));
    }
    let odd = [
        r#"{"typ":"JWT"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
        "[]",
    ];
    for header in odd {
        refused(&hs256_raw(header, claims().to_string().as_bytes()));
    }
}

#[test]
fn f3_hs_rs_confusion_and_other_algorithms_of_the_same_key() {
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    let pem = rsa.public_key_pem();
    let auth = auth(vec![public_key(None, JwtAlgorithm::Rs256, &pem)]);
    let payload = claims().to_string();
    let der = rsa.subject_public_key_info();
    for secret in [pem.as_bytes(), pem.trim().as_bytes(), &der] {
        let key = EncodingKey::from_secret(secret);
        for alg in ["HS256", "RS256"] {
            let header = format!(r#"{{"alg":"{alg}"}}"#);
            let token = sign_raw(&header, payload.as_bytes(), &key, Algorithm::HS256);
            verify(&auth, &token).expect_err("the public key is no secret");
        }
    }
    // A key for RS256 does not verify PS256 or RS512, though it could.
    let key = EncodingKey::from_rsa_pem(rsa.serialize_pem().as_bytes()).unwrap();
    for (name, algorithm) in [("PS256", Algorithm::PS256), ("RS512", Algorithm::RS512)] {
        let header = format!(r#"{{"alg":"{name}"}}"#);
        let token = sign_raw(&header, payload.as_bytes(), &key, algorithm);
        assert_eq!(verify(&auth, &token).unwrap_err(), AuthError::Algorithm);
    }
}

#[test]
fn f3_empty_and_odd_signatures() {
    let token = hs256(&claims());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(refused(&format!("{signed}.")), AuthError::Signature);
    assert_eq!(refused(signed), AuthError::Malformed);
    assert_eq!(
        refused(&format!("{signed}.{signature}=")),
        AuthError::Malformed
    );
    assert_eq!(
        refused(&format!("{signed}.{}", &signature[..20])),
        AuthError::Signature
    );
    assert_eq!(
        refused(&format!("{token}.{signature}")),
        AuthError::Malformed
    );
    // Stray bits behind the last byte: the same bytes in another spelling.
    let mut stray = token.clone();
    let last = stray.pop().unwrap();
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    stray.push(alphabet.as_bytes()[at | 1] as char);
    assert_eq!(refused(&stray), AuthError::Malformed);
}

#[test]
fn f3_ecdsa_zero_signature() {
    for (algorithm, pair, bytes) in [
        (JwtAlgorithm::Es256, &PKCS_ECDSA_P256_SHA256, 64),
        (JwtAlgorithm::Es384, &PKCS_ECDSA_P384_SHA384, 96),
    ] {
        let pair = KeyPair::generate_for(pair).unwrap();
        let auth = auth(vec![public_key(None, algorithm, &pair.public_key_pem())]);
        let header = encode(json!({"alg": algorithm.name()}).to_string().as_bytes());
        let payload = encode(claims().to_string().as_bytes());
        // DER of (0,0), too.
        for signature in [
            vec![0; bytes],
            vec![0x30, 6, 2, 1, 0, 2, 1, 0],
            vec![0xff; bytes],
        ] {
            let token = format!("{header}.{payload}.{}", encode(&signature));
            assert_eq!(verify(&auth, &token).unwrap_err(), AuthError::Signature);
        }
    }
}

#[test]
fn f3_keys_in_the_header_and_unknown_extensions() {
    let payload = claims().to_string();
    for (member, error) in [
        (r#""jwk":{"kty":"oct","k":"AAAA"}"#, AuthError::EmbeddedKey),
        (
            r#""jku":"https://evil.example/jwks.json""#,
            AuthError::EmbeddedKey,
        ),
        (
            r#""x5u":"https://evil.example/cert.pem""#,
            AuthError::EmbeddedKey,
        ),
        (r#""x5c":["AAAA"]"#, AuthError::EmbeddedKey),
        (r#""crit":["exp"]"#, AuthError::CriticalExtension),
        (r#""crit":[]"#, AuthError::CriticalExtension),
        (
            r#""b64":false,"crit":["b64"]"#,
            AuthError::CriticalExtension,
        ),
        (r#""zip":"DEF""#, AuthError::Header),
        (r#""enc":"A128GCM""#, AuthError::Header),
        (r#""alg":"none""#, AuthError::Header),
        (r#""kid":7"#, AuthError::Header),
    ] {
        let header = format!(r#"{{"alg":"HS256",{member}}}"#);
        assert_eq!(
            refused(&hs256_raw(&header, payload.as_bytes())),
            error,
            "{member}"
        );
    }
}

#[test]
fn f3_kid_selects_and_is_never_a_path() {
    let other = "another secret of more than thirty-two bytes";
    let auth = auth(vec![
        secret_key(Some("one"), JwtAlgorithm::Hs256, SECRET),
        secret_key(Some("two"), JwtAlgorithm::Hs256, other),
    ]);
    let payload = claims().to_string();
    let token = |kid: &str| {
        let header = json!({"alg": "HS256", "kid": kid}).to_string();
        hs256_raw(&header, payload.as_bytes())
    };
    verify(&auth, &token("one")).unwrap();
    assert_eq!(
        verify(&auth, &token("two")).unwrap_err(),
        AuthError::Signature
    );
    for kid in [
        "",
        "ONE",
        "one ",
        "../../dev/null",
        "/dev/null",
        "one' OR '1'='1",
        "three",
    ] {
        assert_eq!(
            verify(&auth, &token(kid)).unwrap_err(),
            AuthError::UnknownKey,
            "{kid}"
        );
    }
    // Without a kid, any key of the algorithm.
    verify(&auth, &hs256(&claims())).unwrap();
    // A key without an id is good for whatever kid the provider writes.
    verify(&hs256_auth(), &token("2026-01")).unwrap();
}

#[test]
fn f3_weak_and_wrong_keys_are_refused_at_start() {
    let p256 = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .unwrap()
        .public_key_pem();
    let rsa = KeyPair::generate_for(&PKCS_RSA_SHA256)
        .unwrap()
        .public_key_pem();
    for key in [
        secret_key(None, JwtAlgorithm::Hs256, "short"),
        secret_key(None, JwtAlgorithm::Hs256, ""),
        secret_key(None, JwtAlgorithm::Rs256, SECRET),
        public_key(None, JwtAlgorithm::Hs256, &rsa),
        public_key(None, JwtAlgorithm::Rs256, &p256),
        public_key(None, JwtAlgorithm::Es256, &rsa),
        public_key(None, JwtAlgorithm::Es384, &p256),
        public_key(None, JwtAlgorithm::EdDsa, &p256),
        public_key(None, JwtAlgorithm::Rs256, RSA_1024),
        public_key(None, JwtAlgorithm::Rs256, "not a key"),
        public_key(None, JwtAlgorithm::Rs256, ""),
    ] {
        let good = secret_key(None, JwtAlgorithm::Hs256, SECRET);
        let error = Verifier::new(&auth(vec![good, key]), TOKEN_BYTES).expect_err("a bad key");
        assert_eq!(error.position, 2);
        assert!(!error.to_string().contains(SECRET));
    }
}
