//! `pgwarden migrate` on schemas as frameworks make them: audit, plan, apply, audit without
//! findings, and tenants that see through the proxy what row level security shows them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod migrate;

use migrate::{Place, answer, one, statements, sums};
use serde_json::{Value, json};

/// Warnings that need people to decide, and stay.
const LEFT: &[&str] = &["unique_without_tenant", "materialized_view"];

fn migrated(schema: &str, column: &str, tenants: &[Value]) -> Place {
    let place = Place::new(schema);
    let mut admin = place.admin();
    let before = sums(&mut admin, &[column], "true");
    let policy = ["--policy", "policy.toml"];
    assert!(!place.findings(&policy).is_empty());
    place.plan("migration");
    place.run(&["migrate", "apply", "--through", "contract"], 0);
    assert_eq!(before, sums(&mut admin, &[column], "true"));
    for sql in [
        "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
        "SELECT count(*) FROM pg_constraint WHERE NOT convalidated",
    ] {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
    let again = place.plan("again");
    let planned = std::fs::read_dir(place.folder.path().join("again")).unwrap();
    let planned: Vec<_> = planned.map(|it| it.unwrap().file_name()).collect();
    assert!(again.contains("nothing to do"), "{again}{planned:?}");

    let findings = place.findings(&policy);
    let counts = |it: &&(String, String, String)| it.0 != "note" && !LEFT.contains(&it.1.as_str());
    let left: Vec<_> = findings.iter().filter(counts).collect();
    assert!(left.is_empty(), "{left:#?}");

    place.grant();
    let serve = place.serve();
    let mut seen = Vec::new();
    for tenant in tenants {
        let claims = json!({ column: tenant });
        let (mut proxied, mut guarded) = (serve(&claims), place.guarded(&claims));
        for sql in statements(schema) {
            let (through, beside) = (answer(&mut proxied, &sql), answer(&mut guarded, &sql));
            // Row level security fills no tenant in.
            match sql.starts_with("INSERT") {
                true => assert_eq!((through.0.as_str(), through.1.len()), ("", 1), "{sql}"),
                false => assert_eq!(through, beside, "{sql}"),
            }
            assert_eq!(through.0, "", "{sql}");
            seen.push((sql, through.1.len()));
        }
    }
    for sql in statements(schema) {
        let rows = seen.iter().filter(|it| it.0 == sql).map(|it| it.1);
        assert!(rows.sum::<usize>() > 0, "nobody has rows: {sql}");
    }
    place
}

#[test]
fn accounts_with_bigint_keys() {
    let place = migrated("rails", "account_id", &[json!(1), json!(2), json!(3)]);
    let mut admin = place.admin();
    for sql in [
        "SELECT count(*) FROM tasks t JOIN projects p ON p.id = t.project_id WHERE p.account_id <> t.account_id",
        "SELECT count(*) FROM order_items i JOIN \"order\" o ON o.id = i.\"order\" JOIN users u ON u.id = o.\"user\" WHERE u.account_id <> i.account_id",
        "SELECT count(*) FROM billing.lines l JOIN billing.invoices i USING (year, number) WHERE i.account_id <> l.account_id",
        "SELECT count(*) FROM visits v JOIN users u ON u.id = v.user_id WHERE u.account_id <> v.account_id",
        "SELECT count(*) - 3 FROM accounts",
        "SELECT count(*) FROM pg_trigger WHERE tgname = 'append_only' AND tgenabled <> 'A'",
    ] {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
}

#[test]
fn organisations_with_uuid_keys_and_memberships() {
    let org = |n: u8| json!(format!("c0000000-0000-0000-0000-00000000000{n}"));
    migrated("django", "organization_id", &[org(1), org(2), org(3)]);
}

#[test]
fn organisations_with_text_keys_in_mixed_case() {
    let tenants = [json!("org1"), json!("org2"), json!("org3")];
    let place = migrated("prisma", "organizationId", &tenants);
    let was_off = "SELECT tgenabled FROM pg_trigger WHERE tgname = 'Was off'";
    assert_eq!(one(&mut place.admin(), was_off), "D");
}

#[test]
fn teams_with_integer_keys() {
    migrated("laravel", "team_id", &[json!(1), json!(2), json!(3)]);
}

#[test]
fn teams_without_a_policy() {
    let place = Place::new("laravel");
    assert!(!place.findings(&[]).is_empty());
    place.run(&["migrate", "plan"], 0);
    place.run(&["migrate", "apply", "--through", "contract"], 0);
    let findings = place.findings(&[]);
    let left: Vec<_> = findings.iter().filter(|it| it.0 != "note").collect();
    assert!(left.is_empty(), "{left:#?}");
}
