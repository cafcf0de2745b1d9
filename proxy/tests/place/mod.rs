//! A folder with a policy, a catalogue and whatever a test adds, and the binary run in it.
#![allow(dead_code, unreachable_pub)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use pgwarden_policy::Catalog;
use pgwarden_policy::catalog::{CatalogParts, Column, Relation, RelationKind, Type, TypeKind};
use serde_json::Value;
use tempfile::TempDir;

pub const ORG: &str = "a0000000-0000-0000-0000-000000000001";
const SECRET: &str = "a secret of the tests, long enough for HMAC";

/// A folder with a policy, a catalogue and whatever a test adds, and the binary run in it.
pub struct Place {
    pub folder: TempDir,
}

pub struct Ran {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new() -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        place.write("policy.toml", "version = 1\n[functions]\n");
        place.write("catalog.json", &snapshot(catalog()));
        place
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pgwarden"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("JWT_SECRET", SECRET)
            .env("SHORT_SECRET", "hunter2")
            .env_remove("PGWARDEN_JWT_SECRET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that does not read its input may have ended before.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let Output {
            status,
            stdout,
            stderr,
        } = child.wait_with_output().unwrap();
        Ran {
            status: status.code().unwrap(),
            out: String::from_utf8(stdout).unwrap(),
            err: String::from_utf8(stderr).unwrap(),
        }
    }

    pub fn explain(&self, sql: &str, more: &[&str]) -> Ran {
        let claims = format!(r#"{{"app_metadata":{{"org_id":"{ORG}"}}}}"#);
        let mut arguments = vec!["explain", "--catalog", "catalog.json", "--claims", &claims];
        arguments.extend(more);
        arguments.push(sql);
        self.run(&arguments)
    }
}

impl Ran {
    #[track_caller]
    pub fn with_status(self, status: i32) -> Self {
        assert_eq!(self.status, status, "\n{}\n{}", self.out, self.err);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap()
    }
}

fn snapshot(parts: CatalogParts) -> String {
    pgwarden_schema::write_snapshot(&Catalog::new(parts)).unwrap()
}

/// One table with a tenant column and one without.
fn catalog() -> CatalogParts {
    let ty = |oid, name: &str| Type {
        oid,
        schema: "pg_catalog".into(),
        name: name.into(),
        kind: TypeKind::Base,
        element: 0,
        base: 0,
        modifier: None,
        extension: None,
        check_calls_function: false,
        compared_by: Vec::new(),
    };
    let column = |number, name: &str, type_oid| Column {
        name: name.into(),
        number,
        type_oid,
        not_null: true,
        generated: false,
        identity: false,
        has_default: false,
        modifier: None,
    };
    let table = |oid, name: &str, columns| Relation {
        oid,
        schema: "public".into(),
        name: name.into(),
        kind: RelationKind::Table,
        columns,
        parents: Vec::new(),
        is_partition: false,
        row_security: false,
        force_row_security: false,
        policies: 0,
        security_invoker: false,
        depends_on: Vec::new(),
        extension: None,
        definition: None,
        security_barrier: false,
        redirects_writes: false,
        keys: Vec::new(),
        references: Vec::new(),
        runs_code: false,
        unlogged: false,
    };
    let leads = vec![
        column(1, "id", 20),
        column(2, "org_id", 2950),
        column(3, "name", 25),
    ];
    let secrets = vec![column(1, "id", 20)];
    CatalogParts {
        server_version_num: 150_000,
        schemas: vec!["pg_catalog".into(), "public".into()],
        relations: vec![
            table(16_384, "leads", leads),
            table(16_385, "secrets", secrets),
        ],
        types: vec![ty(20, "int8"), ty(25, "text"), ty(2950, "uuid")],
        ..CatalogParts::default()
    }
}
