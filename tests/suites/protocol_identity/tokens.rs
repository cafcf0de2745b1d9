//! F3, F5: tokens that are bad, lack a claim, or expire.

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::patience::within_a_life;
use pgwarden_tests::proxy::{connect, now, sign, token};
use serde_json::json;

#[test]
fn f3_bad_tokens_get_one_wording() {
    let arena = Arena::take();
    let good = token(Tenant::A);
    let mut parts = good.split('.');
    let (header, payload, signature) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    let expired = sign(&json!({"exp": now() - 3600, "app_metadata": {"org_id": Tenant::A.org()}}));
    let bad = [
        String::new(),
        "x".to_owned(),
        "a.b.c".to_owned(),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!(
            "{header}.{payload}.{}",
            signature.chars().rev().collect::<String>()
        ),
        format!("eyJhbGciOiJub25lIn0.{payload}."),
        format!("eyJhbGciOiJub25lIn0.{payload}.{signature}"),
        sign(&json!({"app_metadata": {"org_id": Tenant::A.org()}})),
        expired,
        format!("{good} "),
        "x".repeat(100_000),
    ];
    let mut wordings = std::collections::BTreeSet::new();
    for token in &bad {
        let error = connect(&arena.plain(), token, &[]).expect_err("a bad token is refused");
        let short: String = token.chars().take(60).collect();
        if token.len() < 60_000 {
            assert_eq!(
                (error.field(b'S'), error.code()),
                ("FATAL", "28P01"),
                "{short}: {error:?}"
            );
            wordings.insert(error.message().to_owned());
            assert_eq!(error.field(b'D'), "", "{short}: no detail");
        }
    }
    assert_eq!(wordings.len(), 1, "{wordings:?}");
}

#[test]
fn f3_good_token_without_tenant() {
    let arena = Arena::take();
    for claims in [
        json!({"exp": now() + 600, "sub": Tenant::A.user()}),
        json!({"exp": now() + 600, "app_metadata": {}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": null}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": [Tenant::A.org()]}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": 1}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": "b"}}),
        json!({"exp": now() + 600, "app_metadata": {"org_id": ""}}),
        json!({"exp": now() + 600, "user_metadata": {"org_id": Tenant::A.org()}}),
        json!({"exp": now() + 600, "org_id": Tenant::A.org()}),
    ] {
        let error =
            connect(&arena.plain(), &sign(&claims), &[]).expect_err("no tenant, no session");
        assert!(
            ["28000", "28P01"].contains(&error.code()),
            "{claims}: {error:?}"
        );
    }
}

#[test]
fn f3_token_without_the_users_claim_can_use_what_needs_none() {
    let arena = Arena::take();
    let claims = json!({"exp": now() + 600, "app_metadata": {"org_id": Tenant::A.org()}});
    let mut client = connect(&arena.plain(), &sign(&claims), &[]).unwrap();
    client.forbid(Tenant::A.markers());
    assert_eq!(
        client
            .query("SELECT count(*) FROM leads")
            .ok()
            .value()
            .as_deref(),
        Some("60")
    );
    assert_eq!(
        client.query("SELECT * FROM user_credits").denied(),
        Some("missing_claim")
    );
}

#[test]
fn f5_token_that_expires_under_an_open_session() {
    let arena = Arena::take();
    // Within the leeway of 30 s it is still good; afterwards the next statement is refused.
    let (mut client, seconds) = within_a_life(|seconds| {
        let claims = json!({
            "exp": now() - 30 + seconds,
            "sub": Tenant::A.user(),
            "app_metadata": {"org_id": Tenant::A.org()},
        });
        let client = connect(&arena.plain(), &sign(&claims), &[]).ok()?;
        Some((client, seconds))
    });
    std::thread::sleep(std::time::Duration::from_secs(seconds + 2));
    let reply = client.query("SELECT count(*) FROM leads");
    assert!(["28000", "57P01", ""].contains(&reply.code()), "{reply:?}");
    assert!(reply.results.is_empty(), "{reply:?}");
}
