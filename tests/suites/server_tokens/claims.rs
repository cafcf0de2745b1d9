//! What the claims say: times, issuer, tenant, role, and nothing from any other place.

use std::sync::Arc;

use pgwarden::auth::AuthError;
use pgwarden::refusal::Refusal;
use pgwarden_policy::engine::Limits;
use pgwarden_policy::rules::{
    Access, ClaimPath, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue,
    Mode, Policy, RequireRls, RoleRule, RoleTenant, SecondReader, TenantRule,
};
use pgwarden_policy::{Engine, ValueType};
use serde_json::{Value, json};

use super::{HS256, ORG, claims, hs256, hs256_auth, hs256_raw, now, refused, verify, with};

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
