//! Clean schemas of well-known make have no finding at all; a defect that is planted in one of them
//! is found under its own code, and nothing else is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::path::Path;
use std::sync::OnceLock;

use pgwarden_policy::script::{self, PartKind};
use pgwarden_schema::audit::{Options, Report, audit};
use pgwarden_tests::fixture::{self, copy_database, major_version, superuser};
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;

/// A clean schema, and what it calls things.
struct Application {
    name: &'static str,
    /// What stands for `{…}` in the defects.
    words: &'static [(&'static str, &'static str)],
    /// Restrictive policies keep the tenant, so permissive ones do no harm.
    fenced: bool,
}

const PRISMA: Application = Application {
    name: "clean_prisma",
    words: &[
        ("table", "public.\"Task\""),
        ("column", "\"organizationId\""),
        ("tenants", "public.\"Organization\""),
        ("key", "\"Task_organizationId_fkey\""),
        ("trigger", "\"keepOrganization\""),
        ("keeps", "EXECUTE FUNCTION public.\"keepOrganization\"()"),
        ("type", "text"),
        ("id", "text"),
        ("call", "public.\"currentOrganizationId\"()"),
        ("role", "lint_app"),
    ],
    fenced: false,
};

const RAILS: Application = Application {
    name: "clean_rails",
    words: &[
        ("table", "public.projects"),
        ("column", "account_id"),
        ("tenants", "public.accounts"),
        ("key", "fk_rails_account_of_projects"),
        ("trigger", "forbid_account_change"),
        (
            "keeps",
            "WHEN (OLD.account_id IS DISTINCT FROM NEW.account_id) EXECUTE FUNCTION public.forbid_account_change()",
        ),
        ("type", "bigint"),
        ("id", "bigint"),
        ("call", "public.current_account_id()"),
        ("role", "lint_app"),
    ],
    fenced: true,
};

const DJANGO: Application = Application {
    name: "clean_django",
    words: &[
        ("table", "public.crm_contact"),
        ("column", "team_id"),
        ("tenants", "public.teams_team"),
        ("key", "crm_contact_team_id_fk_teams_team_id"),
        ("trigger", "team_is_fixed"),
        ("keeps", "EXECUTE FUNCTION public.team_is_fixed()"),
        ("type", "uuid"),
        ("id", "uuid"),
        ("call", "tenancy.team()"),
        ("role", "lint_app"),
    ],
    fenced: false,
};

const SUPABASE: Application = Application {
    name: "clean_supabase",
    words: &[
        ("table", "public.projects"),
        ("column", "organization_id"),
        ("tenants", "public.organizations"),
        ("key", "projects_organization_id_fkey"),
        ("trigger", "keep_organization"),
        ("keeps", "EXECUTE FUNCTION private.keep_organization()"),
        ("type", "text"),
        ("id", "uuid"),
        ("call", "private.tenant_of_token()"),
        ("role", "authenticated"),
    ],
    fenced: false,
};

/// A code and what brings exactly it.
type Defect = (&'static str, &'static str);

const STRUCTURE: &[Defect] = &[
    ("tenant_column_nullable", "ALTER TABLE {table} ALTER {column} DROP NOT NULL"),
    ("tenant_column_missing", "CREATE TABLE public.extras (id int PRIMARY KEY, it {id} REFERENCES {table} (id))"),
    ("tenant_column_no_foreign_key", "ALTER TABLE {table} DROP CONSTRAINT {key}"),
    (
        "tenant_foreign_key_no_cascade",
        "ALTER TABLE {table} DROP CONSTRAINT {key}, ADD FOREIGN KEY ({column}) REFERENCES {tenants} ON DELETE SET NULL",
    ),
    (
        "tenant_foreign_key_not_valid",
        "ALTER TABLE {table} DROP CONSTRAINT {key}, ADD FOREIGN KEY ({column}) REFERENCES {tenants} ON DELETE CASCADE NOT VALID",
    ),
    (
        "tenant_foreign_key_target",
        "CREATE TABLE public.shadow (id {type} PRIMARY KEY); INSERT INTO public.shadow SELECT DISTINCT {column} FROM {table};
         ALTER TABLE {table} DROP CONSTRAINT {key}, ADD FOREIGN KEY ({column}) REFERENCES public.shadow ON DELETE CASCADE",
    ),
    ("tenant_column_no_index", "CREATE TABLE public.extras (id int PRIMARY KEY, {tenant}); {guarded}"),
    (
        "tenant_index_not_leading",
        "CREATE TABLE public.extras (id int PRIMARY KEY, {tenant}); CREATE INDEX ON public.extras (id, {column}); {guarded}",
    ),
    (
        "foreign_key_without_tenant",
        "CREATE TABLE public.extras (id int PRIMARY KEY, {tenant}, it {id} REFERENCES {table} (id));
         CREATE INDEX ON public.extras ({column}, it); {guarded}",
    ),
    ("immutability_trigger_missing", "DROP TRIGGER {trigger} ON {table}"),
    ("immutability_trigger_disabled", "ALTER TABLE {table} DISABLE TRIGGER {trigger}"),
    ("immutability_trigger_disabled", "ALTER TABLE {table} ENABLE REPLICA TRIGGER {trigger}"),
    ("rls_disabled", "ALTER TABLE {table} DISABLE ROW LEVEL SECURITY"),
    ("rls_not_forced", "ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY"),
    (
        "no_policy",
        "DO $$ DECLARE it name; BEGIN FOR it IN SELECT polname FROM pg_policy WHERE polrelid = '{table}'::regclass AND polpermissive LOOP
           EXECUTE format('DROP POLICY %I ON {table}', it); END LOOP; END $$",
    ),
    ("grant_to_public", "GRANT SELECT ON {table} TO PUBLIC"),
    ("unique_without_tenant", "ALTER TABLE {table} ADD COLUMN nick text, ADD CONSTRAINT nicks UNIQUE (nick)"),
    (
        "unique_without_tenant",
        "ALTER TABLE {table} ADD COLUMN nick text; CREATE UNIQUE INDEX nicks ON {table} (lower(nick)) WHERE nick IS NOT NULL",
    ),
    ("view_without_invoker", "CREATE VIEW public.shown AS SELECT * FROM {table}"),
    ("view_without_invoker", "CREATE SCHEMA api; CREATE VIEW api.shown AS SELECT * FROM {table}"),
    ("materialized_view", "CREATE SCHEMA api; CREATE MATERIALIZED VIEW api.shown AS SELECT * FROM {table}"),
    (
        "security_definer_function",
        "CREATE SCHEMA api; CREATE FUNCTION api.all_of_it() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = ''
           AS 'SELECT count(*) FROM {table}'",
    ),
    (
        "function_search_path",
        "CREATE FUNCTION public.nothing() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS 'SELECT 1::bigint'",
    ),
    (
        "claims_function_immutable",
        "CREATE SCHEMA api; CREATE FUNCTION api.claims() RETURNS json LANGUAGE sql STABLE
           AS 'SELECT nullif(current_setting(''request.jwt.claims'', true), '''')::json';
         CREATE FUNCTION api.me() RETURNS text LANGUAGE plpgsql IMMUTABLE
           AS 'BEGIN RETURN api.claims() ->> ''sub''; END'",
    ),
    ("publication", "CREATE PUBLICATION sent FOR TABLE {table}"),
    ("publication", "CREATE PUBLICATION sent FOR ALL TABLES"),
    (
        "foreign_table",
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER away FOREIGN DATA WRAPPER far;
         CREATE FOREIGN TABLE public.far (id int, {column} {type}) SERVER away",
    ),
];

/// Permissive policies beside those of the schema; behind a fence they are no defects.
const POLICIES: &[Defect] = &[
    ("policy_always_true", "USING (true)"),
    (
        "policy_always_true",
        "USING (1 = 1 OR {column} = (SELECT {call}))",
    ),
    (
        "policy_always_true",
        "USING ({column} = {column} AND 1 = 1)",
    ),
    ("policy_ignores_tenant", "USING (current_user = '{role}')"),
    ("policy_ignores_tenant", "USING ({column} IS NOT NULL)"),
    (
        "policy_ignores_tenant",
        "USING ({column} = (SELECT {call}) OR id IS NOT NULL)",
    ),
    (
        "policy_wrong_claim",
        "USING ({column} = (SELECT (current_setting('request.jwt.claims', true)::jsonb -> 'user_metadata' ->> 'org')::{type}))",
    ),
    (
        "policy_wrong_claim",
        "USING ({column} = (SELECT (current_setting('request.jwt.claims', true)::jsonb ->> 'organization')::{type}))",
    ),
    (
        "policy_wrong_claim",
        "USING ({column} = (SELECT (current_setting('request.headers', true)::jsonb ->> 'x-org')::{type}))",
    ),
    (
        "policy_wrong_claim",
        "USING ({column} = (SELECT current_setting('request.query.org', true)::{type}))",
    ),
    (
        "policy_wrong_claim",
        "USING ({column} = (SELECT current_setting('my.tenant', true)::{type}))",
    ),
    ("policy_not_wrapped", "USING ({column} = {call})"),
];

/// What the fence itself can lack.
const FENCE: &[Defect] = &[
    ("policy_always_true", "DROP POLICY account ON {table}"),
    (
        "policy_always_true",
        "ALTER POLICY account ON {table} TO lint_jobs",
    ),
    (
        "policy_always_true",
        "DROP POLICY account ON {table}; CREATE POLICY account ON {table} AS RESTRICTIVE FOR SELECT USING ({column} = (SELECT {call}))",
    ),
    (
        "policy_wrong_claim",
        "ALTER POLICY account ON {table} USING ({column} = (SELECT current_setting('my.tenant', true)::{type}))",
    ),
    (
        "policy_not_wrapped",
        "ALTER POLICY account ON {table} USING ({column} = {call})",
    ),
];

impl Application {
    fn filled(&self, text: &str) -> String {
        let mut filled = text
            .replace("{tenant}", "{column} {type} NOT NULL REFERENCES {tenants} ON DELETE CASCADE")
            .replace(
                "{guarded}",
                "CREATE TRIGGER {trigger} BEFORE UPDATE ON public.extras FOR EACH ROW {keeps};
                 ALTER TABLE public.extras ENABLE ROW LEVEL SECURITY; ALTER TABLE public.extras FORCE ROW LEVEL SECURITY;
                 CREATE POLICY mine ON public.extras TO {role} USING ({column} = (SELECT {call})) WITH CHECK ({column} = (SELECT {call}))",
            );
        for (name, word) in self.words {
            filled = filled.replace(&format!("{{{name}}}"), word);
        }
        filled
    }

    fn defects(&self) -> Vec<Defect> {
        let policies = if self.fenced { FENCE } else { &[] };
        STRUCTURE.iter().chain(policies).copied().collect()
    }

    /// The database as it is without defects.
    fn load(&self) {
        create(self.name, "template1");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/lints/applications");
        let text = fs::read_to_string(folder.join(format!("{}.sql", self.name))).unwrap();
        run(self.name, &text).unwrap();
    }

    /// What is wrong with the findings after some SQL, if something is.
    fn planted(&self, number: usize, code: &str, sql: &str) -> Option<String> {
        let database = format!("{}_{number}", self.name);
        create(&database, self.name);
        let sql = self.filled(sql);
        if let Err(error) = run(&database, &sql) {
            return Some(error);
        }
        let report = ask(&database);
        let mut found: Vec<&str> = report.findings.iter().map(|it| it.code).collect();
        found.dedup();
        fixture::script(
            &mut superuser(server().address(), "postgres"),
            &format!("DROP DATABASE {database}"),
        );
        let wanted: Vec<&str> = Some(code).into_iter().filter(|it| !it.is_empty()).collect();
        (found != wanted).then(|| format!("{sql}\n  wanted {wanted:?}, found {:?}", keys(&report)))
    }

    fn test(&self) {
        // They are written for 15: views of the asker's rights, ON DELETE SET NULL of single columns.
        if major_version(&superuser(server().address(), "postgres")) < 15 {
            return;
        }
        self.load();
        let report = ask(self.name);
        assert_eq!(keys(&report), [""; 0], "{}", self.name);
        assert!(report.is_fine() && report.scoped >= 5);

        let mut failed = Vec::new();
        for (number, (code, sql)) in self.defects().into_iter().enumerate() {
            failed.extend(self.planted(number, code, sql));
        }
        for (number, (code, using)) in POLICIES.iter().enumerate() {
            // Only a policy that is right but for this is told that its check is implied.
            let command = if *code == "policy_not_wrapped" {
                "FOR SELECT"
            } else {
                ""
            };
            let sql = format!("CREATE POLICY opened ON {{table}} {command} TO {{role}} {using}");
            let code = if self.fenced { "" } else { *code };
            failed.extend(self.planted(1000 + number, code, &sql));
        }
        assert!(failed.is_empty(), "{}: {}", self.name, failed.join("\n"));
    }
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start();
        let mut admin = superuser(server.address(), "postgres");
        for role in ["lint_app LOGIN", "lint_jobs BYPASSRLS"] {
            fixture::script(&mut admin, &format!("CREATE ROLE {role}"));
        }
        server
    })
}

fn create(name: &str, template: &str) {
    let mut admin = superuser(server().address(), "postgres");
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    copy_database(&mut admin, &sql);
}

fn run(database: &str, text: &str) -> Result<(), String> {
    let mut client: Client = superuser(server().address(), database);
    for part in script::split(text) {
        let sql = &text[part.range];
        if part.kind == PartKind::Statement
            && let Some(error) = client.query(sql).error
        {
            return Err(format!("{error:?} in {sql}"));
        }
    }
    Ok(())
}

fn ask(database: &str) -> Report {
    let port = server().address().port();
    let url = format!("host=127.0.0.1 port={port} user=postgres dbname={database}");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        audit(&client, &Options::default()).await.unwrap()
    })
}

fn keys(report: &Report) -> Vec<&str> {
    report.findings.iter().map(|it| it.key.as_str()).collect()
}

#[test]
fn organisations_of_prisma() {
    PRISMA.test();
}

#[test]
fn accounts_of_rails() {
    RAILS.test();
}

#[test]
fn teams_of_django() {
    DJANGO.test();
}

#[test]
fn organisations_of_supabase() {
    SUPABASE.test();
}
