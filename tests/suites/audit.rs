//! Every lint of the audit on a real database: a clean schema gives no finding, `before.sql` gives
//! exactly the lint's, and after the finding's own SQL (and `after.sql`, where a person must
//! decide something) there is none again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use pgwarden_policy::script::{self, PartKind};
use pgwarden_schema::audit::{Level, Options, Report, Script, Suppression, audit};
use pgwarden_tests::fixture::{self, copy_database, major_version, superuser};
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;

/// What belongs together: these findings come with the lint's own, and go with its fix.
const COMPANIONS: &[(&str, &[&str])] = &[
    ("tenant_column_type", &["tenant_column_no_foreign_key"]),
    ("policy_for_public", &["grant_to_public"]),
    ("rows_without_tenant", &["tenant_column_nullable"]),
    ("rows_of_unknown_tenant", &["tenant_foreign_key_not_valid"]),
    ("rows_of_two_tenants", &["foreign_key_without_tenant"]),
    ("tenant_foreign_key_target", &["rls_disabled"]),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lints")
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start();
        let mut admin = superuser(server.address(), "postgres");
        for role in [
            "lint_app LOGIN",
            "lint_above LOGIN BYPASSRLS",
            "lint_jobs BYPASSRLS",
        ] {
            fixture::script(&mut admin, &format!("CREATE ROLE {role}"));
        }
        fixture::script(&mut admin, "CREATE DATABASE clean");
        let mut clean = superuser(server.address(), "clean");
        let text = fs::read_to_string(folder().join("clean.sql")).unwrap();
        run(&mut clean, &text).unwrap();
        server
    })
}

/// Runs statements one by one, as some refuse a transaction.
fn run(client: &mut Client, text: &str) -> Result<(), String> {
    for part in script::split(text) {
        let sql = &text[part.range];
        let refused = |error| format!("{error:?} in {sql}");
        if part.kind == PartKind::Statement {
            client
                .query(sql)
                .error
                .map_or(Ok(()), |it| Err(refused(it)))?;
        }
    }
    Ok(())
}

fn ask(database: &str, options: &Options) -> Report {
    let port = server().address().port();
    let url = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        audit(&client, options).await.unwrap()
    })
}

fn options(code: &str) -> Options {
    let own = folder().join(code).join("policy.toml");
    let path = if own.exists() {
        own
    } else {
        folder().join("policy.toml")
    };
    let loaded = pgwarden_config::load_policy(&path).unwrap();
    let text = fs::read_to_string(folder().join("application.sql")).unwrap();
    let name = "application.sql".to_owned();
    Options {
        policy: Some(Arc::clone(&loaded.policy)),
        // The lint about tables without a policy needs none of it.
        scripts: match code {
            "tenant_table_missing" | "policy_entry_unknown" => Vec::new(),
            _ => vec![Script { name, text }],
        },
        ..Options::default()
    }
}

fn keys(report: &Report) -> Vec<String> {
    report.findings.iter().map(|it| it.key.clone()).collect()
}

/// A copy of the clean database.
fn copy(name: &str) {
    let mut admin = superuser(server().address(), "postgres");
    let sql = format!("CREATE DATABASE {name} TEMPLATE clean");
    copy_database(&mut admin, &sql);
}

/// What went wrong with one lint, if something did.
fn zero_one_zero(code: &str) -> Result<(), String> {
    let database = format!("lint_{code}");
    let options = options(code);
    copy(&database);
    let folder = folder().join(code);
    let read = |name: &str| fs::read_to_string(folder.join(name)).unwrap_or_default();
    let mut client = superuser(server().address(), &database);
    let failed = |error| format!("{code}: {error}");
    run(&mut client, &read("before.sql")).map_err(failed)?;

    let report = ask(&database, &options);
    let companions = COMPANIONS
        .iter()
        .find(|it| it.0 == code)
        .map_or(&[][..], |it| it.1);
    let (own, others): (Vec<_>, Vec<_>) = report.findings.iter().partition(|it| it.code == code);
    let foreign = others.iter().find(|it| !companions.contains(&it.code));
    if own.len() != 1 || foreign.is_some() {
        return Err(format!("{code} before: {:?}", keys(&report)));
    }
    let fixes = own.iter().chain(&others);
    let fixes: Vec<&String> = fixes.filter_map(|it| it.fix.as_ref()).collect();
    let after = read("after.sql");
    if fixes.is_empty() && after.is_empty() {
        return Err(format!("{code} has neither a fix nor after.sql"));
    }
    // Where a person decides, companions are part of the decision.
    let fixes = match after.is_empty() {
        true => fixes,
        false => own.iter().filter_map(|it| it.fix.as_ref()).collect(),
    };
    for sql in fixes.into_iter().chain([&after]) {
        run(&mut client, sql).map_err(failed)?;
    }
    match keys(&ask(&database, &options)) {
        left if left.is_empty() => Ok(()),
        left => Err(format!("{code} after: {left:?}")),
    }
}

#[test]
fn a_clean_schema_has_no_findings() {
    assert_eq!(keys(&ask("clean", &options(""))), [""; 0]);
    let guessed = ask("clean", &Options::default());
    assert_eq!(keys(&guessed), [""; 0]);
    assert_eq!(guessed.notes.len(), 1, "{:?}", guessed.notes);
}

#[test]
fn every_lint_goes_from_none_to_one_to_none() {
    let only = std::env::var("PGWARDEN_LINT").unwrap_or_default();
    let index = include_str!("../../docs/lints/README.md");
    let codes = index
        .lines()
        .filter_map(|it| it.strip_prefix("| [")?.split(']').next());
    let codes: Vec<&str> = codes
        .filter(|it| it.contains(&only) && is_shown(it))
        .collect();
    assert!(!codes.is_empty());
    let failed: Vec<String> = codes
        .iter()
        .filter_map(|it| zero_one_zero(it).err())
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// Whether the server can be given what a lint's files say.
fn is_shown(code: &str) -> bool {
    code != "view_without_invoker" || major() >= INVOKER
}

/// The first version with security_invoker.
const INVOKER: u32 = 15;

fn major() -> u32 {
    major_version(&superuser(server().address(), "postgres"))
}

/// Before 15 a view is its owner's: it must be one that policies bind.
#[test]
fn a_view_without_invoker_is_a_finding_or_its_owners() {
    if major() >= INVOKER {
        return;
    }
    copy("views");
    let mut client = superuser(server().address(), "views");
    run(&mut client, "CREATE VIEW all_leads AS SELECT * FROM leads").unwrap();
    let options = options("");
    assert_eq!(
        keys(&ask("views", &options)),
        ["view_without_invoker:public.all_leads"]
    );
    run(&mut client, "ALTER VIEW all_leads OWNER TO lint_app").unwrap();
    assert_eq!(keys(&ask("views", &options)), [""; 0]);
}

/// Since 18 a NOT NULL may say nothing of the rows that are there.
#[test]
fn a_not_null_of_new_rows_alone_is_none() {
    if major() < 18 {
        return;
    }
    copy("unvalidated");
    let mut client = superuser(server().address(), "unvalidated");
    let sql = "ALTER TABLE leads ALTER org_id DROP NOT NULL;
               ALTER TABLE leads ADD CONSTRAINT told NOT NULL org_id NOT VALID";
    run(&mut client, sql).unwrap();
    let options = options("");
    let report = ask("unvalidated", &options);
    assert_eq!(
        keys(&report),
        ["tenant_column_nullable:public.leads.org_id"]
    );
    run(&mut client, report.findings[0].fix.as_ref().unwrap()).unwrap();
    assert_eq!(keys(&ask("unvalidated", &options)), [""; 0]);
}

/// A column that fits the policy is not wrong because a table that looks like the tenants' own has another key.
#[test]
fn a_look_alike_of_the_tenants_table_says_nothing_of_columns_that_fit() {
    copy("look_alike");
    let mut client = superuser(server().address(), "look_alike");
    let sql = "ALTER TABLE leads DROP CONSTRAINT leads_org_id_fkey;
               ALTER TABLE calls DROP CONSTRAINT calls_org_id_fkey;
               ALTER TABLE organizations RENAME TO accounts;
               CREATE TABLE orgs (id int PRIMARY KEY)";
    run(&mut client, sql).unwrap();
    let found = keys(&ask("look_alike", &options("")));
    assert!(
        found
            .iter()
            .any(|it| it.starts_with("tenant_column_no_foreign_key")),
        "{found:?}"
    );
    assert!(
        !found.iter().any(|it| it.starts_with("tenant_column_type")),
        "{found:?}"
    );
}

#[test]
fn what_is_accepted_does_not_count() {
    copy("accepted");
    let mut client = superuser(server().address(), "accepted");
    run(&mut client, "ALTER TABLE leads NO FORCE ROW LEVEL SECURITY").unwrap();
    let accepted = |key: &str| Suppression {
        key: key.to_owned(),
        reason: "the owner runs the migrations".to_owned(),
        date: "2026-11-21".to_owned(),
    };
    let report = ask(
        "accepted",
        &Options {
            suppressions: vec![accepted("rls_not_forced:public.leads"), accepted("gone:x")],
            ..options("")
        },
    );
    assert!(report.is_fine());
    assert_eq!(keys(&report), ["rls_not_forced:public.leads"]);
    assert!(report.notes.iter().any(|it| it.contains("gone:x")));
}

#[test]
fn privileges_on_columns_and_whole_schemas_are_seen() {
    copy("columns");
    let mut client = superuser(server().address(), "columns");
    run(
        &mut client,
        "GRANT SELECT (email), UPDATE (name) ON leads TO PUBLIC",
    )
    .unwrap();
    let tables = match major() {
        15.. => "TABLES IN SCHEMA public",
        _ => "TABLE calls",
    };
    run(
        &mut client,
        &format!("CREATE PUBLICATION everything FOR {tables}"),
    )
    .unwrap();
    let report = ask("columns", &options(""));
    let found = keys(&report);
    for key in [
        "grant_to_public:public.leads",
        "publication:everything.public.calls",
    ] {
        assert!(
            found.iter().any(|it| it == key),
            "{key} is not in {found:#?}"
        );
    }
    let granted = report
        .findings
        .iter()
        .find(|it| it.code == "grant_to_public");
    let granted = granted.unwrap();
    assert!(granted.why.contains("SELECT (email)"), "{}", granted.why);
    run(&mut client, granted.fix.as_ref().unwrap()).unwrap();
    run(&mut client, "DROP PUBLICATION everything").unwrap();
    assert_eq!(keys(&ask("columns", &options(""))), [""; 0]);
}

fn application(name: &str) -> String {
    let _ = server();
    let mut admin = superuser(server().address(), "postgres");
    fixture::script(&mut admin, &format!("CREATE DATABASE {name}"));
    let path = folder().join(format!("applications/{name}.sql"));
    let mut client = superuser(server().address(), name);
    run(&mut client, &fs::read_to_string(path).unwrap()).unwrap();
    name.to_owned()
}

#[test]
fn clean_applications_of_other_make_have_no_findings() {
    // They are written for 15, with views of the asker's rights.
    if major() < INVOKER {
        return;
    }
    for name in [
        "clean_accounts",
        "clean_teams",
        "clean_tenants",
        "clean_commands",
    ] {
        let report = ask(&application(name), &Options::default());
        let found = report.findings.iter().filter(|it| it.level != Level::Note);
        assert_eq!(
            found.map(|it| &it.key).collect::<Vec<_>>(),
            [""; 0],
            "{name}"
        );
        assert!(report.scoped >= 3, "{name}");
    }
}

#[test]
fn the_legacy_schema_is_found_out() {
    let policy = Options {
        scripts: vec![Script {
            name: "app.sql".to_owned(),
            text: "SELECT 1;\nSELECT status FROM organizations".to_owned(),
        }],
        ..options("tenant_table_missing")
    };
    let database = application("legacy");
    let found = keys(&ask(&database, &policy));
    for key in [
        "tenant_table_missing:public.organizations",
        "tenant_column_missing:public.leads",
        "tenant_column_nullable:public.call_logs.org_id",
        "rows_without_tenant:public.call_logs.org_id",
        "rls_disabled:public.call_logs",
        "rls_not_forced:public.campaigns",
        "policy_wrong_claim:public.campaigns.org",
        "policy_wrong_claim:public.campaigns.users",
        "policy_not_wrapped:public.campaigns.org",
        "sql_unknown_relation:organizations",
    ] {
        assert!(
            found.iter().any(|it| it == key),
            "{key} is not in {found:#?}"
        );
    }
    let guessed = keys(&ask(&database, &Options::default()));
    let writable = "policy_wrong_claim:public.campaigns.users";
    assert!(guessed.iter().any(|it| it == writable), "{guessed:#?}");
}

/// Defects in forms that other people write, and what finds them.
const DEFECTS: &[(&str, &str)] = &[
    (
        "policy_ignores_tenant:public.leads.x",
        "ALTER TABLE organizations DISABLE ROW LEVEL SECURITY;
         CREATE POLICY x ON leads USING (org_id IN (SELECT id FROM organizations))",
    ),
    (
        "policy_ignores_tenant:public.leads.x",
        "CREATE POLICY x ON leads USING (org_id = (SELECT auth_org_id()) OR current_user <> 'nobody')",
    ),
    (
        "policy_wrong_claim:public.leads.x",
        "CREATE POLICY x ON leads USING (org_id = (SELECT auth_org_id()))
           WITH CHECK (org_id = (SELECT (current_setting('request.jwt.claims')::jsonb -> 'app_metadata' ->> 'team')::uuid))",
    ),
    (
        "policy_wrong_claim:public.leads.x",
        "CREATE FUNCTION mine() RETURNS uuid LANGUAGE plpgsql STABLE AS $$ BEGIN
           RETURN current_setting('request.jwt.claims')::jsonb -> 'user_metadata' ->> 'org_id'; END $$;
         CREATE POLICY x ON leads USING (org_id = (SELECT mine()))",
    ),
    (
        "security_definer_function:public.all_leads()",
        "CREATE FUNCTION all_leads() RETURNS SETOF leads LANGUAGE plpgsql SECURITY DEFINER SET search_path = ''
           AS $$ BEGIN RETURN QUERY EXECUTE 'SELECT * FROM public.leads'; END $$",
    ),
    (
        "rls_disabled:parts.events_1",
        "CREATE SCHEMA parts; CREATE TABLE events (org_id uuid NOT NULL, n int) PARTITION BY LIST (n);
         CREATE TABLE parts.events_1 PARTITION OF events FOR VALUES IN (1); GRANT SELECT ON parts.events_1 TO lint_app",
    ),
    (
        "tenant_column_missing:public.notes",
        "CREATE TABLE notes (id int PRIMARY KEY, lead_id uuid, body text)",
    ),
    (
        "tenant_column_missing:public.marks",
        "CREATE TABLE notes (id int PRIMARY KEY, lead_id uuid); CREATE TABLE marks (note_id int REFERENCES notes)",
    ),
    (
        "tenant_column_missing:public.leads",
        "CREATE TRIGGER stays BEFORE UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION prevent_org_id_change();
         ALTER TABLE leads DROP COLUMN org_id CASCADE",
    ),
    (
        "immutability_trigger_coverage:public.leads.org_id",
        "DROP TRIGGER prevent_org_id_change ON leads;
         CREATE FUNCTION back() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.org_id := OLD.org_id; RETURN NEW; END $$;
         CREATE TRIGGER back AFTER UPDATE ON leads FOR EACH ROW EXECUTE FUNCTION back()",
    ),
    (
        "policy_ignores_tenant:public.leads.x",
        "CREATE TABLE members (org_id uuid, user_id uuid);
         CREATE POLICY x ON leads USING (EXISTS (SELECT FROM members m WHERE m.org_id = org_id AND m.user_id = auth_org_id()))",
    ),
    (
        "unlisted_table:away.things",
        "CREATE SCHEMA away; CREATE TABLE away.things (org_id uuid)",
    ),
    (
        "immutability_trigger_missing:public.leads.org_id",
        "DROP TRIGGER prevent_org_id_change ON leads;
         CREATE FUNCTION other() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;
         CREATE TRIGGER other BEFORE UPDATE ON leads FOR EACH ROW WHEN (OLD.name <> NEW.name) EXECUTE FUNCTION other()",
    ),
];

#[test]
fn defects_of_other_make_are_found() {
    let missed = DEFECTS
        .iter()
        .enumerate()
        .filter_map(|(number, (key, sql))| {
            let database = format!("defect_{number}");
            copy(&database);
            run(&mut superuser(server().address(), &database), sql).unwrap();
            let found = keys(&ask(&database, &options("")));
            (!found.iter().any(|it| it == key)).then(|| format!("{key} is not in {found:#?}"))
        });
    let missed: Vec<String> = missed.collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn what_was_not_looked_at_is_not_fine() {
    let mut admin = superuser(server().address(), "postgres");
    fixture::script(&mut admin, "CREATE DATABASE unknown");
    let mut client = superuser(server().address(), "unknown");
    run(
        &mut client,
        "CREATE TABLE things (id int PRIMARY KEY, owner_code text)",
    )
    .unwrap();
    let report = ask("unknown", &Options::default());
    assert_eq!(keys(&report), ["tenant_table_missing:org_id"]);
    let asked = |column: &str| Options {
        tenant_column: Some(column.to_owned()),
        ..Options::default()
    };
    let scoped = ask("unknown", &asked("owner_code"));
    assert_eq!(scoped.scoped, 1);
}
