//! Claims in transaction mode: whose they are when a server connection goes from one tenant to the
//! next, whatever became of the statement that they were sent with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{ROLE, Tenant};
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::proxy;
use serde_json::json;

/// A policy under which the tokens of auditors run as another server role.
const AUDITOR: &str = "\n[[role]]\nname = \"auditor\"\nset_role = \"platform_admin\"\n";

fn token_of(tenant: Tenant, role: &str) -> String {
    proxy::sign(&json!({
        "exp": proxy::now() + 3600,
        "role": role,
        "sub": tenant.user(),
        "app_metadata": {"org_id": tenant.org()},
    }))
}

#[test]
fn h_a_role_does_not_stay_for_the_next_session() {
    let policy = [include_str!("../fixtures/policy.toml"), AUDITOR].concat();
    let pooled = Pooled::under(proxy::policy_of(&policy), 1, |_| {});
    let mut auditor = pooled.session_of(&token_of(Tenant::A, "auditor"), &[]);
    let mut plain = pooled.session(Tenant::B);
    let role = "SELECT current_user";
    for _ in 0..3 {
        assert_eq!(value(&mut auditor, role), "platform_admin");
        assert_eq!(value(&mut plain, role), ROLE);
        assert_eq!(value(&mut auditor, "SELECT count(*) > 0 FROM leads"), "t");
        assert_eq!(value(&mut plain, "SELECT count(*) > 0 FROM leads"), "t");
        assert_eq!(value(&mut plain, role), ROLE);
        assert_eq!(value(&mut auditor, "SELECT 1"), "1");
        assert_eq!(value(&mut plain, role), ROLE);
    }
}
