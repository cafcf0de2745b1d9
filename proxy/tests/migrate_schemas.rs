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

use std::path::Path;

use migrate::{Place, answer, one, statements, sums};
use pgwarden_tests::fixture::script;
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
fn rows_of_nobody_are_given_to_nobody() {
    let place = Place::new("rails");
    let mut admin = place.admin();
    script(&mut admin, "INSERT INTO visits (at) VALUES ('2026-03-03')");
    place.plan("migration");
    let said = place.run(&["migrate", "apply"], 1);
    assert!(said.contains("1 rows get a tenant from nobody"), "{said}");
    let given = "SELECT count(*) FROM visits WHERE at = '2026-03-03' AND account_id IS NOT NULL";
    assert_eq!(one(&mut admin, given), "0");
    // A table of which nothing is known stops the plan.
    script(&mut admin, "CREATE TABLE drafts (user_id text, body text)");
    let plan = [
        "migrate",
        "plan",
        "--policy",
        "policy.toml",
        "--plan",
        "other",
    ];
    let said = place.run(&plan, 2);
    assert!(
        said.contains("public.drafts: nothing says whose its rows are"),
        "{said}"
    );
}

#[test]
fn a_column_without_its_quotes_is_not_made_twice() {
    let place = Place::new("prisma");
    let policy = place
        .read("policy.toml")
        .replace("'\"organizationId\"'", "\"organizationId\"");
    place.write("policy.toml", &policy);
    let said = place.run(&["migrate", "plan", "--policy", "policy.toml"], 2);
    assert!(said.contains("write it with its quotes"), "{said}");
}

#[test]
fn tables_that_inherit_get_their_column_once() {
    let place = migrated("inherited", "org_id", &[]);
    let wrong =
        "SELECT count(*) FROM documents d JOIN owners o USING (user_id) WHERE d.org_id <> o.org";
    assert_eq!(one(&mut place.admin(), wrong), "0");
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

#[test]
fn rows_of_a_tenant_that_does_not_exist_get_another_if_that_is_wanted() {
    let gone = "INSERT INTO crm.folders (workspace_slug, name) VALUES ('gone', 'x'); \
                INSERT INTO crm.files (folder_id) SELECT id FROM crm.folders WHERE name = 'x'; \
                INSERT INTO crm.heap VALUES (7, 'of nobody', 'gone')";
    let place = Place::new("workspaces");
    let mut admin = place.admin();
    script(&mut admin, gone);
    place.plan("migration");
    let said = place.run(&["migrate", "apply"], 1);
    assert!(
        said.contains("look at: rows of a tenant that does not exist stop it"),
        "{said}"
    );

    let place = Place::new("workspaces");
    let mut admin = place.admin();
    script(&mut admin, gone);
    let before = sums(&mut admin, &["workspace_slug"], "true");
    let mapping = "version = 1\nbatch_rows = 7\nunknown = \"quarantine\"\n[tenants]\nquarantine = \"initech\"\n\
                   default = \"globex\"\n[[table]]\nname = \"crm.heap\"\nunknown = \"default\"\n";
    place.write("mapping.toml", mapping);
    place.plan("migration");
    place.run(&["migrate", "apply", "--through", "backfill"], 0);
    // Late ones, too.
    script(
        &mut admin,
        "INSERT INTO crm.folders (workspace_slug, name) VALUES ('late', 'y')",
    );
    script(&mut admin, "DELETE FROM crm.folders WHERE name = 'y'");
    place.run(&["migrate", "apply"], 0);
    assert_eq!(before, sums(&mut admin, &["workspace_slug"], "true"));
    let homes = "SELECT string_agg(workspace_slug, ' ') FROM (SELECT workspace_slug FROM crm.folders WHERE name = 'x'
        UNION ALL SELECT workspace_slug FROM crm.files WHERE folder_id = (SELECT id FROM crm.folders WHERE name = 'x')
        UNION ALL SELECT workspace_slug FROM crm.heap WHERE a = 7 AND b = 'of nobody') it";
    assert_eq!(one(&mut admin, homes), "initech initech globex");
    let listed = "SELECT string_agg(table_name || ' ' || was, ', ') FROM pgwarden_migrate.quarantine WHERE was IS NOT NULL";
    assert_eq!(one(&mut admin, listed), "crm.folders gone");
    for phase in ["enforce", "constrain", "backfill"] {
        place.run(&["migrate", "rollback", "--phase", phase], 0);
    }
    let back = "SELECT workspace_slug FROM crm.folders WHERE name = 'x'";
    assert_eq!(one(&mut admin, back), "gone");
}

#[test]
fn a_large_table_is_not_rewritten_unasked() {
    let place = Place::new("rails");
    let mapping = place.read("mapping.toml");
    place.write("mapping.toml", &format!("{mapping}rewrite_rows_max = 10\n"));
    let plan = [
        "migrate",
        "plan",
        "--policy",
        "policy.toml",
        "--mapping",
        "mapping.toml",
    ];
    let said = place.run(&plan, 2);
    assert!(
        said.contains("public.audit_events") && said.contains("rewrite_rows_max"),
        "{said}"
    );
    script(&mut place.admin(), "TRUNCATE audit_events");
    place.run(&plan, 0);
}

/// What an application asks, and which of it needs an index.
const ASKED: &str = "SELECT * FROM p_ci_pipelines WHERE status = $1 ORDER BY created_at DESC LIMIT 20;
SELECT i.id FROM issues i JOIN projects p ON p.id = i.project_id WHERE i.title = 'x' AND p.path = $1 AND p.name > 'a';
UPDATE issues SET title = '' WHERE title = 'x' AND organization_id = 7;
SELECT * FROM issues WHERE id = 1 AND title_html = 'x'; SELECT * FROM issues WHERE project_id = 3 ORDER BY iid;
SELECT * FROM projects WHERE path = 'x'; SELECT * FROM users WHERE lower(username) = 'x' OR email = 'y';
DELETE FROM web_hook_logs WHERE created_at < now() - interval '90 days'";

#[test]
fn lookups_of_the_application_get_indexes_with_the_tenant_in_front() {
    let place = Place::new("forge");
    let mut admin = place.admin();
    script(&mut admin, "CREATE INDEX by_status ON notes (system)");
    place.write("app.sql", ASKED);
    let plan = [
        "migrate",
        "plan",
        "--policy",
        "policy.toml",
        "--mapping",
        "mapping.toml",
        "--sql",
        "app.sql",
    ];
    place.run(&plan, 0);
    place.run(&["migrate", "apply", "--through", "contract"], 0);
    let made = "SELECT string_agg(indrelid::regclass || ' ' || substring(pg_get_indexdef(indexrelid) FROM '\\(.*\\)'), E'\\n' ORDER BY indrelid::regclass::text, indexrelid)
        FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE NOT relispartition AND NOT indisunique AND indisvalid
          AND indrelid::regclass::text IN ('p_ci_pipelines', 'issues', 'projects', 'web_hook_logs', 'users')
          AND pg_get_indexdef(indexrelid, 1, true) = 'organization_id'";
    assert_eq!(
        one(&mut admin, made).lines().collect::<Vec<_>>(),
        [
            "issues (organization_id, title)",
            "p_ci_pipelines (organization_id, status, created_at)",
            "projects (organization_id, path, name)",
            "users (organization_id)",
            "web_hook_logs (organization_id, created_at)",
        ]
    );
    let again = [&plan[..], &["--plan", "again"]].concat();
    assert!(place.run(&again, 0).contains("nothing to do"));
    // An index that is used without the tenant is told; the server counts a little later.
    let told = (0..100).any(|_| {
        script(&mut admin, "SET enable_seqscan = off; SELECT count(*) FROM notes WHERE NOT system AND system IS NOT NULL");
        std::thread::sleep(std::time::Duration::from_millis(50));
        place.run(&again, 0).contains("by_status was used")
    });
    assert!(told);
    for phase in ["contract", "enforce", "constrain"] {
        place.run(&["migrate", "rollback", "--phase", phase], 0);
    }
}

#[test]
fn users_of_one_tenant_each_say_whose_a_row_is() {
    let place = Place::new("workspaces");
    let mut admin = place.admin();
    script(
        &mut admin,
        "CREATE TABLE crm.members (workspace_slug varchar(40) NOT NULL REFERENCES \"Core\".\"Workspaces\", user_no int NOT NULL, PRIMARY KEY (workspace_slug, user_no));
         INSERT INTO crm.members VALUES ('acme', 1), ('globex', 2), ('globex', 3);
         CREATE TABLE crm.drafts (id int PRIMARY KEY, user_id int NOT NULL); INSERT INTO crm.drafts VALUES (1, 1), (2, 3);
         CREATE TABLE crm.login_tokens (id int PRIMARY KEY, user_id int NOT NULL)",
    );
    let said = place.plan("migration");
    assert!(said.contains("is taken from crm.members"), "{said}");
    // What is about a person is left to the mapping.
    assert!(said.contains("crm.login_tokens"), "{said}");
    place.run(&["migrate", "apply"], 0);
    let homes = "SELECT string_agg(workspace_slug, ' ' ORDER BY id) FROM crm.drafts";
    assert_eq!(one(&mut admin, homes), "acme globex");
    // One of several tenants: users are above them, and nobody says whose the table is.
    let place = Place::new("workspaces");
    script(
        &mut place.admin(),
        "CREATE TABLE crm.members (workspace_slug varchar(40) NOT NULL REFERENCES \"Core\".\"Workspaces\", user_no int NOT NULL, PRIMARY KEY (workspace_slug, user_no));
         INSERT INTO crm.members VALUES ('acme', 1), ('globex', 1);
         CREATE TABLE crm.drafts (id int PRIMARY KEY, user_id int NOT NULL)",
    );
    let said = place.run(&["migrate", "plan", "--policy", "policy.toml"], 2);
    assert!(
        said.contains("crm.drafts: nothing says whose its rows are"),
        "{said}"
    );
}

/// What the audit takes for good is left as it is: the two never disagree.
#[test]
fn a_schema_without_findings_has_an_empty_plan() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/lints/applications");
    let files = std::fs::read_dir(folder).unwrap();
    let files = files.map(|it| it.unwrap().path());
    let clean = files.filter(|it| {
        it.file_stem()
            .unwrap()
            .to_str()
            .unwrap()
            .starts_with("clean")
    });
    let (mut seen, mut wrong) = (0, String::new());
    for file in clean {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let place = Place::of(name, &std::fs::read_to_string(&file).unwrap());
        let left: Vec<_> = place
            .findings(&[])
            .into_iter()
            .filter(|it| it.0 != "note" && it.1 != "proxy_role")
            .collect();
        assert!(left.is_empty(), "{name}: {left:#?}");
        let said = place.run(&["migrate", "plan"], 0);
        let planned = std::fs::read_dir(place.folder.path().join("migration")).unwrap();
        let planned: Vec<_> = planned
            .map(|it| std::fs::read_to_string(it.unwrap().path()).unwrap())
            .collect();
        if !said.contains("nothing to do") {
            wrong += &format!("{name}: {said}{}", planned.concat());
        }
        seen += 1;
    }
    assert!(seen > 5 && wrong.is_empty(), "{wrong}");
}

/// A table of tenants that asks for more than a key and a name, or does more with a new row, gets none
/// that nobody asked for.
#[test]
fn a_default_tenant_is_not_forced_on_an_application() {
    let uses = "INSERT INTO teams (id, name, slug, owner) VALUES ('a0000000-0000-0000-0000-000000000009', 'Acme', 'acme', 'ann');
        CREATE TABLE boards (id int PRIMARY KEY, team_id uuid REFERENCES teams); INSERT INTO boards SELECT 1, id FROM teams;
        CREATE TABLE cards (id int PRIMARY KEY, board_id int REFERENCES boards); INSERT INTO cards VALUES (1, 1), (2, 1)";
    let plain = "CREATE TABLE teams (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), name text, slug text, owner text)";
    for demand in [
        "ALTER TABLE teams ALTER owner SET DEFAULT current_setting('app.user', true), ALTER owner SET NOT NULL",
        "ALTER TABLE teams ADD CHECK (slug IS NOT NULL)",
        "CREATE FUNCTION greet() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'a new team'; END $$;
         CREATE TRIGGER greet AFTER INSERT ON teams FOR EACH ROW EXECUTE FUNCTION greet()",
    ] {
        let place = Place::of("demands", &format!("{plain}; {uses}; {demand}"));
        let mut admin = place.admin();
        place.run(&["migrate", "plan", "--tenant-column", "team_id"], 0);
        place.run(&["migrate", "apply"], 0);
        assert_eq!(one(&mut admin, "SELECT count(*) FROM teams"), "1");
        let filled = "SELECT count(*) FROM cards WHERE team_id = 'a0000000-0000-0000-0000-000000000009'";
        assert_eq!(one(&mut admin, filled), "2");
    }
}

/// Where no column is named like a tenant's, the table that most others refer to tells.
#[test]
fn a_tenant_of_an_unusual_name_is_found() {
    let place = Place::of(
        "studios",
        "CREATE TABLE studios (id bigint PRIMARY KEY, name text); CREATE TABLE users (id bigint PRIMARY KEY);
         CREATE TABLE films (id bigint PRIMARY KEY, studio_id bigint NOT NULL REFERENCES studios, user_id bigint REFERENCES users);
         CREATE TABLE reels (id bigint PRIMARY KEY, studio_id bigint NOT NULL REFERENCES studios, user_id bigint REFERENCES users);
         CREATE TABLE cuts (id bigint PRIMARY KEY, film_id bigint REFERENCES films, user_id bigint REFERENCES users)",
    );
    let found = place.findings(&[]);
    let has = |code: &str, object: &str| found.iter().any(|it| it.1 == code && it.2 == object);
    assert!(has("rls_disabled", "public.films"), "{found:#?}");
    assert!(has("tenant_column_missing", "public.cuts"), "{found:#?}");
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
