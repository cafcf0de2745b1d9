//! `pgwarden migrate` on schemas as frameworks make them: audit, plan, apply, audit without
//! findings, and tenants that see through the proxy what row level security shows them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod decisions;
#[path = "../migrate/mod.rs"]
mod migrate;

use std::path::Path;

use migrate::{Place, answer, one, statements, sums};
use serde_json::{Value, json};

/// Warnings that need people to decide, and stay.
const LEFT: &[&str] = &["unique_without_tenant", "materialized_view"];

fn migrated(schema: &str, column: &str, tenants: &[Value]) -> Place {
    migrated_with(schema, column, tenants, LEFT)
}

/// The same, where other warnings stay.
fn migrated_with(schema: &str, column: &str, tenants: &[Value], kept: &[&str]) -> Place {
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
        // Before 18 the copies of a key that partitions are referred to by stay marked.
        "SELECT count(*) FROM pg_constraint WHERE NOT convalidated AND conparentid = 0",
    ] {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
    let again = place.plan("again");
    let planned = std::fs::read_dir(place.folder.path().join("again")).unwrap();
    let planned: Vec<_> = planned.map(|it| it.unwrap().file_name()).collect();
    assert!(again.contains("nothing to do"), "{again}{planned:?}");

    let findings = place.findings(&policy);
    let counts = |it: &&(String, String, String)| it.0 != "note" && !kept.contains(&it.1.as_str());
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
fn organisations_above_partitions() {
    let place = migrated(
        "forge",
        "organization_id",
        &[json!(1), json!(1001), json!(1002)],
    );
    let mut admin = place.admin();
    for sql in [
        "SELECT count(*) FROM p_ci_builds b JOIN p_ci_pipelines p ON p.id = b.commit_id WHERE p.organization_id <> b.organization_id",
        "SELECT count(*) FROM notes n JOIN projects p ON p.id = n.project_id WHERE p.organization_id <> n.organization_id",
        // Every partition has the table's index and keys, and none beside them.
        "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indrelid WHERE c.relispartition
           AND NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = indexrelid)",
        "SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid
           WHERE c.relispartition AND contype = 'f' AND conparentid = 0",
    ] {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
    // Partitions that others may name are guarded by themselves, in whatever schema they are.
    let open = "SELECT count(*) FROM pg_class WHERE relispartition AND relkind IN ('r', 'p') AND NOT relforcerowsecurity";
    assert_eq!(one(&mut admin, open), "0");
}

#[test]
fn workspaces_with_text_keys_in_quoted_schemas() {
    let tenants = [json!("acme"), json!("globex"), json!("initech")];
    let place = migrated("workspaces", "workspace_slug", &tenants);
    // A key that followed a tenant's new one still does.
    let follows = "SELECT count(*) FROM pg_constraint WHERE confrelid = '\"Core\".\"Workspaces\"'::regclass
                   AND conrelid = '\"Core\".\"Users\"'::regclass AND confupdtype = 'c' AND confdeltype = 'c'";
    assert_eq!(one(&mut place.admin(), follows), "1");
}

#[test]
fn organisations_of_a_platform_with_policies_of_users() {
    let tenants = [json!("org_a"), json!("org_b"), json!("org_c")];
    let place = migrated("supabase", "organization_id", &tenants);
    let mut admin = place.admin();
    for sql in [
        "SELECT count(*) FROM documents d JOIN projects p ON p.id = d.project_id WHERE d.organization_id <> p.organization_id",
        "SELECT count(*) FROM projects p JOIN organization_members m USING (user_id) WHERE m.organization_id <> p.organization_id",
        // A trigger that touches rows did not notice.
        "SELECT count(*) FROM projects WHERE updated_at <> '2026-01-01' AND name <> 'New'",
        "SELECT count(*) FROM pg_policy WHERE polname = 'Own projects' AND NOT polpermissive",
        "SELECT count(*) FROM pg_class WHERE relname = 'presence' AND relpersistence <> 'u'",
    ] {
        assert_eq!(one(&mut admin, sql), "0", "{sql}");
    }
}

#[test]
fn names_that_are_long_or_not_plain() {
    let tenants = [json!(1), json!(2), json!(3)];
    let kept = [LEFT, &["publication"]].concat();
    let place = migrated_with("clinic", "tenant id", &tenants, &kept);
    let long = "SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND conrelid::regclass::text LIKE '%so_lang%'
                  AND conkey[1] = (SELECT attnum FROM pg_attribute WHERE attrelid = conrelid AND attname = 'tenant id')";
    // Each table's own key, those of two to the users, and the two of the third to these.
    assert_eq!(one(&mut place.admin(), long), "7");
}

/// What a database consists of, but for what a rollback leaves: the functions of guard triggers.
const SHAPE: &str = "SELECT string_agg(it, E'\\n' ORDER BY it) FROM (
    SELECT format('%s.%s %s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull, attidentity)
      FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid AND relkind IN ('r', 'p', 'v')
      WHERE attnum > 0 AND NOT attisdropped AND relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgwarden)'
    UNION ALL SELECT format('%s %s %s', conrelid::regclass, conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c
      WHERE connamespace::regnamespace::text !~ '^(pg_|information_schema|pgwarden)'
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class c ON c.oid = indexrelid
      WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgwarden)'
    UNION ALL SELECT pg_get_triggerdef(oid) || tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT format('%s %s %s %s', polrelid::regclass, polname, polpermissive, pg_get_expr(polqual, polrelid)) FROM pg_policy
    UNION ALL SELECT format('%s %s %s %s', oid::regclass, relrowsecurity, relforcerowsecurity, reloptions) FROM pg_class
      WHERE relkind IN ('r', 'p', 'v') AND relnamespace::regnamespace::text !~ '^(pg_|information_schema|pgwarden)'
    UNION ALL SELECT pg_get_functiondef(oid) FROM pg_proc
      WHERE pronamespace::regnamespace::text !~ '^(pg_|information_schema)' AND prokind = 'f' AND proname !~ '^prevent_'
  ) shape (it)";

#[test]
fn every_phase_can_be_undone() {
    for schema in [
        "rails",
        "prisma",
        "django",
        "laravel",
        "users",
        "inherited",
        "forge",
        "workspaces",
        "supabase",
        "clinic",
    ] {
        let place = Place::new(schema);
        let mut admin = place.admin();
        let before = one(&mut admin, SHAPE);
        place.plan("migration");
        place.run(&["migrate", "apply", "--through", "contract"], 0);
        assert_ne!(one(&mut admin, SHAPE), before);
        for phase in ["contract", "enforce", "constrain", "backfill", "expand"] {
            place.run(&["migrate", "rollback", "--phase", phase], 0);
        }
        let after = one(&mut admin, SHAPE);
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let (before, after) = (lines(&before), lines(&after));
        let gone: Vec<_> = before.iter().filter(|it| !after.contains(it)).collect();
        let left: Vec<_> = after.iter().filter(|it| !before.contains(it)).collect();
        assert!(
            gone.is_empty() && left.is_empty(),
            "{schema}: {gone:#?} {left:#?}"
        );
        // What was undone can be done.
        place.run(&["migrate", "apply", "--through", "contract"], 0);
    }
}

#[test]
fn tables_that_inherit_get_their_column_once() {
    let place = migrated("inherited", "org_id", &[]);
    let wrong =
        "SELECT count(*) FROM documents d JOIN owners o USING (user_id) WHERE d.org_id <> o.org";
    assert_eq!(one(&mut place.admin(), wrong), "0");
}

/// Policies that read a setting are taken as they are, but the proxy sets another.
#[test]
fn a_setting_that_the_proxy_does_not_set_is_told() {
    let name = "../tests/fixtures/lints/applications/clean_tenants.sql";
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    let place = Place::of("settings", &std::fs::read_to_string(file).unwrap());
    place.write(
        "policy.toml",
        "version = 1\n[tenant]\ncolumn = \"tenant_id\"\ntype = \"bigint\"\nclaim = \"app_metadata.tenant_id\"\n\
         [defaults]\ndiscover = [\"app\"]\n",
    );
    let (_, said) = place.try_run(&["audit", "--policy", "policy.toml"]);
    assert!(said.contains("from the setting app.tenant_id"), "{said}");
    let (_, said) = place.try_run(&["audit"]);
    assert!(!said.contains("from the setting"), "{said}");
}
