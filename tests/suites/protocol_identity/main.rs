//! THREATS F and H: nothing that a client sends changes who it is, and nothing of one session is
//! left for the next.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod claims;
mod sessions;
mod start_up;
mod tokens;

use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::wire::Client;

const SHOW: &str = "SHOW request.jwt.claims";
const FOREIGN: &str = r#"{"app_metadata":{"org_id":"b0000000-0000-0000-0000-000000000002"}}"#;

fn claims(client: &mut Client) -> String {
    client.query(SHOW).ok().value().unwrap()
}

/// Whoever this session is, it is still organisation a.
fn still_a(client: &mut Client, what: &str) {
    let shown: serde_json::Value =
        serde_json::from_str(&claims(client)).unwrap_or_else(|_| panic!("{what}: no claims"));
    assert_eq!(shown["app_metadata"]["org_id"], Tenant::A.org(), "{what}");
    assert_eq!(shown["sub"], Tenant::A.user(), "{what}");
    let rows =
        client.query("SELECT count(*), count(DISTINCT org_id), min(org_id::text) FROM leads");
    if let Some(reason) = rows.denied() {
        // With another search_path the unqualified name may be another table, which is refused.
        assert!(
            ["unlisted_relation", "unknown_relation"].contains(&reason),
            "{what}: {reason}"
        );
    } else {
        assert_eq!(rows.ok().value().as_deref(), Some("60"), "{what}");
    }
    let rows = client.query("SELECT count(*) FROM public.leads").ok();
    assert_eq!(rows.value().as_deref(), Some("60"), "{what}");
    let role = client.query("SELECT current_user").ok();
    assert_eq!(role.value().as_deref(), Some("pgwarden_app"), "{what}");
}
