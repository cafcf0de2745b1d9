//! THREATS.md F3 with real tokens and real keys: what a verifier lets in, and all that it doesn't.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey};
use pgwarden::auth::{AuthError, Identity, Verifier};
use pgwarden::refusal::Refusal;
use pgwarden_config::Secret;
use pgwarden_config::settings::{Auth, JwtAlgorithm, JwtKey, KeyMaterial};
use pgwarden_policy::engine::Limits;
use pgwarden_policy::rules::{
    Access, ClaimPath, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue,
    Mode, Policy, RequireRls, RoleRule, RoleTenant, SecondReader, TenantRule,
};
use pgwarden_policy::{Engine, ValueType};
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _,
};
use serde_json::{Value, json};

const SECRET: &str = "a secret of more than thirty-two bytes";
const ORG: &str = "a0000000-0000-0000-0000-000000000001";
const TOKEN_BYTES: usize = 16 << 10;

/// A public key of 1024 bits.
const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDCobdB8WyJaSYJ3G1Xu/eJ8n+K
MwxKYnPnMWNUTpOsfmb5OjSMxhkqfiBskW9wT7N/C4iaLCYn6JlbUwQ34AXTV5fF
5HMKo+i86Xu9vXylnBOUZ8M27hEvXezhPJpyFkTiCS/E4LLygfETkI7Kz8oidzRy
X6V+TUlY4dCMrIHvpQIDAQAB
-----END PUBLIC KEY-----
";

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

fn policy(value_type: ValueType) -> Policy {
    let path = |text: &str| ClaimPath(text.split('.').map(str::to_owned).collect());
    Policy {
        mode: Mode::Enforce,
        tenant: TenantRule {
            claim: path("app_metadata.org_id"),
            value_type,
            column: "org_id".to_owned(),
        },
        defaults: Defaults {
            discover: Vec::new(),
            unlisted: Access::Deny,
            missing_filter: MissingFilter::Rewrite,
            missing_value: MissingValue::Fill,
            ddl: Ddl::Deny,
            explain: false,
            lock: false,
            error_detail: ErrorDetail::Redact,
            require_rls: RequireRls::Off,
            second_reader: SecondReader::WhenReadable,
        },
        tables: Vec::new(),
        functions: FunctionRules::default(),
        channels: Vec::new(),
        settings: Vec::new(),
        roles: vec![
            RoleRule {
                name: "platform_admin".to_owned(),
                tenant: RoleTenant::Pinned,
                enforce: false,
                set_role: Some("admin".to_owned()),
                ddl: None,
                lock: None,
            },
            RoleRule {
                name: "service_role".to_owned(),
                tenant: RoleTenant::PerTransaction,
                enforce: true,
                set_role: None,
                ddl: None,
                lock: None,
            },
        ],
        tests: Vec::new(),
        revision: "test".to_owned(),
    }
}

fn engine(value_type: ValueType) -> Engine {
    Engine::new(
        Arc::new(policy(value_type)),
        Arc::default(),
        Limits::default(),
    )
    .unwrap()
}

fn tenant(value_type: ValueType, org: Value) -> Result<String, AuthError> {
    let token = hs256(&with("app_metadata", json!({"org_id": org})));
    let identity = verify(&hs256_auth(), &token).unwrap();
    let access = identity.access(&engine(value_type))?;
    Ok(access.tenant().unwrap())
}

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
fn f3_claims_that_stand_twice() {
    let exp = now() + 600;
    for payload in [
        format!(
            r#"{{"exp":{exp},"app_metadata":{{"org_id":"a"}},"app_metadata":{{"org_id":"b"}}}}"#
        ),
        format!(r#"{{"exp":{exp},"app_metadata":{{"org_id":"a","org_id":"b"}}}}"#),
        format!(r#"{{"exp":{exp},"app_metadata":{{"org_id":"a","org\u005fid":"b"}}}}"#),
        format!(r#"{{"exp":1,"exp":{exp}}}"#),
    ] {
        assert_eq!(
            refused(&hs256_raw(HS256, payload.as_bytes())),
            AuthError::Payload
        );
    }
    let header = r#"{"alg":"HS256","alg":"HS256"}"#;
    assert_eq!(
        refused(&hs256_raw(header, claims().to_string().as_bytes())),
        AuthError::Header
    );
}

#[test]
fn f3_times() {
    let now = now();
    let mut without = claims();
    without.as_object_mut().unwrap().remove("exp");
    assert_eq!(refused(&hs256(&without)), AuthError::NoExpiry);
    for (name, value, error) in [
        ("exp", json!(now - 31), AuthError::Expired),
        ("exp", json!(0), AuthError::Expired),
        ("exp", json!(null), AuthError::BadTime),
        ("exp", json!("99999999999"), AuthError::BadTime),
        ("exp", json!([now + 600]), AuthError::BadTime),
        ("exp", json!(-1), AuthError::BadTime),
        ("exp", json!(true), AuthError::BadTime),
        ("exp", json!(u64::MAX), AuthError::BadTime),
        ("nbf", json!(now + 600), AuthError::NotYetValid),
        ("nbf", json!(4_102_444_800_u64), AuthError::NotYetValid),
        ("nbf", json!("0"), AuthError::BadTime),
        ("iat", json!(now + 600), AuthError::NotYetValid),
        ("iat", json!(null), AuthError::BadTime),
    ] {
        assert_eq!(
            refused(&hs256(&with(name, value.clone()))),
            error,
            "{name}: {value}"
        );
    }
    for (name, value) in [
        ("exp", json!(now - 10)),
        ("exp", json!(now as f64 + 60.5)),
        ("nbf", json!(now + 10)),
        ("iat", json!(now + 10)),
        ("nbf", json!(0)),
    ] {
        verify(&hs256_auth(), &hs256(&with(name, value))).unwrap();
    }
}

#[test]
fn f3_issuer_and_audience() {
    let mut auth = hs256_auth();
    auth.issuer = Some("https://id.example/auth/v1".to_owned());
    auth.audience = vec!["authenticated".to_owned(), "service".to_owned()];
    let token = |iss: Value, aud: Value| {
        let mut claims = claims();
        claims["iss"] = iss;
        claims["aud"] = aud;
        hs256(&claims)
    };
    let issuer = json!("https://id.example/auth/v1");
    for aud in [json!("authenticated"), json!(["other", "service"])] {
        verify(&auth, &token(issuer.clone(), aud)).unwrap();
    }
    for aud in [
        json!("other"),
        json!([]),
        json!(null),
        json!({"authenticated": 1}),
        json!("authenticated,x"),
        json!([["service"]]),
    ] {
        assert_eq!(
            verify(&auth, &token(issuer.clone(), aud)).unwrap_err(),
            AuthError::Audience
        );
    }
    for iss in [
        json!("https://id.example/auth/v1/"),
        json!(["https://id.example/auth/v1"]),
        json!(null),
    ] {
        let error = verify(&auth, &token(iss, json!("service"))).unwrap_err();
        assert_eq!(error, AuthError::Issuer);
    }
    assert_eq!(
        verify(&auth, &hs256(&claims())).unwrap_err(),
        AuthError::Issuer
    );
}

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

#[test]
fn f3_tenant_types() {
    let no = |value_type, org: Value| {
        let error = tenant(value_type, org.clone()).expect_err("no tenant");
        assert_eq!(
            error.refusal(),
            Refusal::new(
                "28000",
                "pgwarden: the token gives no access to this database"
            )
        );
    };
    use ValueType::{Bigint, Text, Uuid};
    assert_eq!(tenant(Uuid, json!(ORG)).unwrap(), ORG);
    assert_eq!(tenant(Uuid, json!(ORG.to_uppercase())).unwrap(), ORG);
    for org in [
        json!(null),
        json!(""),
        json!(7),
        json!([ORG]),
        json!({"id": ORG}),
        json!(true),
        json!(format!(" {ORG}")),
        json!(format!("{ORG} ")),
        json!(format!("{{{ORG}}}")),
        json!(format!("urn:uuid:{ORG}")),
        json!(ORG.replace('-', "")),
        json!("a0000000-0000-0000-0000-00000000000g"),
        json!(ORG.replace("0000-0000", "00000-000")),
    ] {
        no(Uuid, org);
    }
    assert_eq!(tenant(Bigint, json!(42)).unwrap(), "42");
    assert_eq!(tenant(Bigint, json!("-42")).unwrap(), "-42");
    assert_eq!(
        tenant(Bigint, json!(i64::MAX)).unwrap(),
        "9223372036854775807"
    );
    for org in [
        json!(1.0),
        json!(1.5),
        json!(u64::MAX),
        json!("042"),
        json!("+42"),
        json!(" 42"),
        json!("42 "),
        json!("-0"),
        json!(""),
        json!("4_2"),
        json!("9223372036854775808"),
        json!("0x2a"),
        json!(null),
        json!([42]),
    ] {
        no(Bigint, org);
    }
    assert_eq!(
        tenant(Text, json!("Üben's \\ 'org'")).unwrap(),
        "Üben's \\ 'org'"
    );
    for org in [
        json!(""),
        json!(null),
        json!(7),
        json!(["a"]),
        json!({"a": 1}),
    ] {
        no(Text, org);
    }
}

#[test]
fn f3_no_other_place_gives_a_tenant() {
    let engine = engine(ValueType::Uuid);
    for claims in [
        json!({"user_metadata": {"org_id": ORG}}),
        json!({"org_id": ORG}),
        json!({"app_metadata.org_id": ORG}),
        json!({"app_metadata": [{"org_id": ORG}]}),
        json!({"app_metadata": ORG}),
        json!({"app_metadata": {"ORG_ID": ORG}}),
        json!({"app_metadata": null}),
    ] {
        let mut claims = claims;
        claims["exp"] = json!(now() + 600);
        let identity = verify(&hs256_auth(), &hs256(&claims)).unwrap();
        let error = identity.access(&engine).expect_err("no tenant");
        assert!(matches!(error, AuthError::NoTenant | AuthError::BadTenant));
    }
}

#[test]
fn f3_roles() {
    let engine = engine(ValueType::Uuid);
    let access = |role: Value| {
        let token = hs256(&with("role", role));
        verify(&hs256_auth(), &token).unwrap().access(&engine)
    };
    let plain = access(json!("authenticated")).unwrap();
    assert!(plain.enforce && plain.set_role.is_none());
    let admin = access(json!("platform_admin")).unwrap();
    assert!(!admin.enforce);
    assert_eq!(admin.set_role.as_deref(), Some("admin"));
    let service = access(json!("service_role")).unwrap();
    assert!(service.per_transaction && service.values.get(0).is_none());
    for role in [
        json!(["platform_admin"]),
        json!(1),
        json!(null),
        json!({"name": "platform_admin"}),
    ] {
        assert_eq!(access(role).unwrap_err(), AuthError::BadRole);
    }
    // Break glass needs no tenant; nobody else does without.
    let exp = now() + 600;
    let admin = hs256(&json!({"exp": exp, "role": "platform_admin"}));
    assert!(
        verify(&hs256_auth(), &admin)
            .unwrap()
            .access(&engine)
            .is_ok()
    );
}

#[test]
fn f3_claims_are_written_again_not_copied() {
    let payload = format!(
        "{{ \"sub\" : \"\\u0061\",\n\"exp\":{},\"a\":{{\"b\":[1, 2.50]}} }}",
        now() + 600
    );
    let identity = verify(&hs256_auth(), &hs256_raw(HS256, payload.as_bytes())).unwrap();
    let again: Value = serde_json::from_str(identity.claims_json()).unwrap();
    assert_eq!(again["sub"], "a");
    assert!(identity.claims_json().contains(r#""a":{"b":[1,2.5]}"#));
    assert!(!identity.claims_json().contains('\n'));
    assert_eq!(format!("{identity:?}"), "Identity(…)");
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
