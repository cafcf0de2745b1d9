//! A database with one of the schemas in this folder, its policy and mapping, and the binary.
#![allow(dead_code, unreachable_pub)]

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use pgwarden_config::{Environment, File, read_policy, read_settings};
use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::oracle::rows;
use pgwarden_tests::proxy::{SECRET, now, sign, start};
use pgwarden_tests::server::Server;
use pgwarden_tests::wire::Client;
use serde_json::{Value, json};

/// A database of its own with a schema, and a folder with the files.
pub struct Place {
    pub server: &'static Server,
    pub database: String,
    pub folder: tempfile::TempDir,
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Server::start();
        let roles = "CREATE ROLE legacy_app LOGIN BYPASSRLS; CREATE ROLE tenant_app LOGIN; \
                     CREATE ROLE lint_app LOGIN; CREATE ROLE lint_jobs BYPASSRLS";
        script(&mut superuser(server.address(), "postgres"), roles);
        server
    })
}

fn fixture(schema: &str, name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/migrate");
    std::fs::read_to_string(folder.join(schema).join(name)).unwrap_or_default()
}

impl Place {
    pub fn new(schema: &str) -> Self {
        let place = Self::of(schema, &fixture(schema, "schema.sql"));
        place.grant();
        for name in ["policy.toml", "mapping.toml"] {
            place.write(name, &fixture(schema, name));
        }
        place
    }

    /// A database with what SQL makes, and no policy.
    pub fn of(schema: &str, sql: &str) -> Self {
        static DATABASES: AtomicUsize = AtomicUsize::new(0);
        let server = server();
        let number = DATABASES.fetch_add(1, Ordering::Relaxed);
        let database = format!("{schema}_{number}");
        let create = format!("CREATE DATABASE {database}");
        script(&mut superuser(server.address(), "postgres"), &create);
        let folder = tempfile::tempdir().unwrap();
        let place = Self {
            server,
            database,
            folder,
        };
        script(&mut place.admin(), sql);
        place
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// A superuser's connection.
    pub fn admin(&self) -> Client {
        superuser(self.server.address(), &self.database)
    }

    /// Gives the application and the proxy their privileges on all that is there.
    pub fn grant(&self) {
        script(
            &mut self.admin(),
            "DO $$ DECLARE s text; BEGIN
               FOR s IN SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)' LOOP
                 EXECUTE format('GRANT USAGE ON SCHEMA %I TO legacy_app, tenant_app', s);
                 EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %I TO legacy_app', s);
                 EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO legacy_app, tenant_app', s);
               END LOOP;
               FOR s IN SELECT format('%I.%I', (SELECT nspname FROM pg_namespace n WHERE n.oid = relnamespace), relname) FROM pg_class
                 WHERE relkind IN ('r', 'p', 'v') AND NOT relispartition
                   AND relnamespace::regnamespace::text !~ '^(pg_|information_schema)' LOOP
                 EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO tenant_app', s);
               END LOOP;
             END $$",
        );
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let dsn = format!(
            "postgres://postgres@{}/{}",
            self.server.address(),
            self.database
        );
        let mut command = Command::new(env!("CARGO_BIN_EXE_pgwarden"));
        command.args(arguments).args(["--dsn", &dsn]);
        command.current_dir(self.folder.path());
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str], status: i32) -> String {
        let (code, text) = self.try_run(arguments);
        assert_eq!(code, Some(status), "{arguments:?}\n{text}");
        text
    }

    pub fn try_run(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.command(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let text = text + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), text)
    }

    #[track_caller]
    pub fn plan(&self, folder: &str) -> String {
        let files = ["--policy", "policy.toml", "--mapping", "mapping.toml"];
        let plan = ["--plan", folder];
        self.run(&[&["migrate", "plan"], &files[..], &plan].concat(), 0)
    }

    /// The findings of an audit by the policy that count: level, code and object.
    pub fn findings(&self, arguments: &[&str]) -> Vec<(String, String, String)> {
        let audit = ["audit", "--format", "json", "--proxy-role", "tenant_app"];
        let output = self
            .command(&[&audit, arguments].concat())
            .output()
            .unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |it: &Value, name: &str| it[name].as_str().unwrap().to_owned();
        let findings = report["findings"].as_array().unwrap().iter();
        findings
            .map(|it| (text(it, "level"), text(it, "code"), text(it, "object")))
            .collect()
    }

    /// A proxy before the database, and a function that opens a tenant's session through it.
    pub fn serve(&self) -> impl Fn(&Value) -> Client + use<> {
        let text = format!(
            "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"PGWARDEN_SUITES_SECRET\"\n\
             [audit]\ntarget = \"/dev/null\"\n[log]\nfilter = \"error\"\n[policy]\nfile = \"policy.toml\"\n\
             [databases.{0}]\nurl = \"postgres://tenant_app@{1}/{0}?sslmode=disable\"\n",
            self.database,
            self.server.address()
        );
        let secret = [("PGWARDEN_SUITES_SECRET".to_owned(), SECRET.to_owned())];
        let environment = Environment::from_iter(secret);
        let settings = read_settings(
            &File::new("warden.toml", text),
            Path::new("."),
            &environment,
        );
        let policy = self.read("policy.toml");
        let policy = read_policy(&File::new("policy.toml", policy)).unwrap();
        let running = start(settings.unwrap(), policy);
        let database = self.database.clone();
        move |app_metadata| {
            let token = sign(&claims(app_metadata));
            let address = running.addresses()[0];
            Client::connect(address, "anyone", &database, &[], Some(&token)).unwrap()
        }
    }

    /// A session that has only row level security between it and other tenants.
    pub fn guarded(&self, app_metadata: &Value) -> Client {
        let address = self.server.address();
        let mut client = Client::connect(address, "tenant_app", &self.database, &[], None).unwrap();
        let claims = claims(app_metadata).to_string();
        script(&mut client, &format!("SET request.jwt.claims = '{claims}'"));
        client
    }
}

/// A token's claims.
fn claims(app_metadata: &Value) -> Value {
    json!({
        "exp": now() + 3600,
        "sub": "00000000-0000-0000-0000-000000000001",
        "app_metadata": app_metadata,
    })
}

/// The statements that a schema's tenants run, one in a line.
pub fn statements(schema: &str) -> Vec<String> {
    let text = fixture(schema, "statements.sql");
    text.lines().map(str::to_owned).collect()
}

/// The only value of the only row.
#[track_caller]
pub fn one(client: &mut Client, sql: &str) -> String {
    let reply = script(client, sql);
    let value = reply.results.last().unwrap().rows[0][0].clone();
    String::from_utf8(value.unwrap_or_default()).unwrap()
}

/// The number and the sum of some rows of all tables, without these columns.
pub fn sums(admin: &mut Client, without: &[&str], rows: &str) -> Vec<String> {
    let tables = "SELECT string_agg(format('%I.%I', n.nspname, c.relname), ';' ORDER BY n.nspname, c.relname) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^(pg_|information_schema|pgwarden)' AND NOT c.relispartition
          AND c.relname <> 'organizations'";
    let tables = one(admin, tables);
    let without = without.join("','");
    let sum = |admin: &mut Client, table: &str| {
        let columns = format!(
            "SELECT string_agg(format('t.%I', attname), ', ' ORDER BY attnum) FROM pg_attribute
             WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped AND attname NOT IN ('{without}')"
        );
        let columns = one(admin, &columns);
        let sum = format!(
            "SELECT count(*) || ' ' || coalesce(sum(hashtextextended(ROW({columns})::text, 0)::numeric), 0) FROM {table} t WHERE {rows}"
        );
        one(admin, &sum)
    };
    tables
        .split(';')
        .map(|it| format!("{it} {}", sum(admin, it)))
        .collect()
}

/// What a statement gives, and takes back: the error's code, or the rows.
pub fn answer(client: &mut Client, sql: &str) -> (String, Vec<String>) {
    client.query("BEGIN");
    let reply = client.query(sql);
    let (code, results) = (reply.code().to_owned(), reply.results);
    client.query("ROLLBACK");
    let found = results.iter().flat_map(|it| rows(it, false)).collect();
    (code, found)
}
