//! What the plan decides by itself, what it asks for, and what it leaves alone.

use std::path::Path;

use pgwarden_tests::fixture::script;

use crate::migrate::{Place, one, sums};

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
