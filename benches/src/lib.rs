//! Shared parts of the benches: an engine over a small call-centre schema, and the statements that
//! it is measured with.

use std::sync::Arc;

use pgwarden_policy::catalog::{CatalogParts, Column, Relation, RelationKind, Type, TypeKind};
use pgwarden_policy::engine::Limits;
use pgwarden_policy::rules::{
    Access, ClaimPath, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue,
    Mode, RequireRls, SecondReader, TenantRule,
};
use pgwarden_policy::{
    Catalog, Denial, Engine, Policy, Protocol, Request, ScopeValue, ScopeValues, Scratch,
    SessionFacts, ValueType,
};

/// The statements, by what they are called in the reports.
pub const STATEMENTS: &[(&str, &str)] = &[
    (
        "55",
        "SELECT id, name FROM leads WHERE id = 42 AND phase = 'x'",
    ),
    (
        "300",
        "SELECT id, name, phone, created_at, count(*) AS calls, max(started_at) FROM leads \
         WHERE phase = 'qualified' AND created_at > '2026-01-01' AND owner IN (1, 2, 3, 4, 5) \
         AND (name LIKE '%smith%' OR phone LIKE '+44%') GROUP BY id, name, phone, created_at \
         ORDER BY created_at DESC, id LIMIT 50 OFFSET 100",
    ),
    (
        "join",
        "SELECT l.id, l.name, c.started_at FROM leads l LEFT JOIN calls c ON c.lead_id = l.id \
         WHERE l.phase = 'new' ORDER BY l.id LIMIT 20",
    ),
    (
        "update",
        "UPDATE leads SET phase = 'won', name = 'Smith' WHERE id = 42",
    ),
    (
        "insert",
        "INSERT INTO leads (name, phone) VALUES ('Smith', '+44 20'), ('Jones', '+1 212')",
    ),
];

/// An engine, a session and its buffers.
#[derive(Debug)]
pub struct Bench {
    engine: Engine,
    facts: SessionFacts,
    values: ScopeValues,
    scratch: Scratch,
}

impl Bench {
    /// With a plan cache of so many bytes.
    ///
    /// # Panics
    /// If the policy does not fit the catalogue.
    #[expect(clippy::panic, reason = "a bench that can't run must say so")]
    pub fn new(plan_cache_bytes: usize) -> Self {
        let limits = Limits {
            plan_cache_bytes,
            ..Limits::default()
        };
        let engine = match Engine::new(Arc::new(policy()), Arc::new(catalog()), limits) {
            Ok(engine) => engine,
            Err(problems) => panic!("the policy does not fit: {problems:?}"),
        };
        Self {
            engine,
            facts: SessionFacts::default(),
            values: ScopeValues::new(vec![Some(ScopeValue::Uuid(uuid::Uuid::from_u128(42)))]),
            scratch: Scratch::default(),
        }
    }

    /// Judges a text; gives the length of what would be sent.
    ///
    /// # Panics
    /// If it is denied.
    #[expect(clippy::panic, reason = "a denial's cost is not what is measured")]
    pub fn judge(&mut self, text: &str, protocol: Protocol) -> usize {
        match self.try_judge(text, protocol) {
            Ok(sent) => sent.len(),
            Err(denial) => panic!("{text}: {}", denial.message),
        }
    }

    /// Judges a text; gives what would be sent.
    ///
    /// # Errors
    /// If it is denied.
    pub fn try_judge(&mut self, text: &str, protocol: Protocol) -> Result<String, Denial> {
        let request = Request {
            text,
            protocol,
            declared: &[],
            facts: &self.facts,
            values: &self.values,
        };
        let cleared = self.engine.judge(request, &mut self.scratch)?;
        Ok(cleared.text().to_owned())
    }
}

fn policy() -> Policy {
    let claim = ClaimPath(vec!["app_metadata".to_owned(), "org_id".to_owned()]);
    Policy {
        mode: Mode::Enforce,
        tenant: TenantRule {
            claim,
            value_type: ValueType::Uuid,
            column: "org_id".to_owned(),
        },
        defaults: Defaults {
            discover: vec!["public".to_owned()],
            unlisted: Access::Deny,
            missing_filter: MissingFilter::Rewrite,
            missing_value: MissingValue::Fill,
            ddl: Ddl::Deny,
            explain: false,
            lock: false,
            error_detail: ErrorDetail::Redact,
            require_rls: RequireRls::Off,
            second_reader: SecondReader::WhenReadable,
        },
        tables: Vec::new(),
        functions: FunctionRules::default(),
        channels: Vec::new(),
        settings: Vec::new(),
        roles: Vec::new(),
        tests: Vec::new(),
        revision: "bench".to_owned(),
    }
}

/// Oids of `pg_type.dat`.
const INT8: u32 = 20;
const TEXT: u32 = 25;
const TIMESTAMPTZ: u32 = 1184;
const UUID: u32 = 2950;

fn catalog() -> Catalog {
    Catalog::new(CatalogParts {
        server_version_num: 150_000,
        schemas: vec!["pg_catalog".to_owned(), "public".to_owned()],
        relations: vec![
            relation(
                16_384,
                "leads",
                &[
                    ("id", INT8),
                    ("org_id", UUID),
                    ("name", TEXT),
                    ("phone", TEXT),
                    ("phase", TEXT),
                    ("owner", INT8),
                    ("created_at", TIMESTAMPTZ),
                    ("started_at", TIMESTAMPTZ),
                ],
            ),
            relation(
                16_385,
                "calls",
                &[
                    ("id", INT8),
                    ("org_id", UUID),
                    ("lead_id", INT8),
                    ("started_at", TIMESTAMPTZ),
                ],
            ),
        ],
        types: [
            (INT8, "int8"),
            (TEXT, "text"),
            (TIMESTAMPTZ, "timestamptz"),
            (UUID, "uuid"),
        ]
        .map(|(oid, name)| base_type(oid, name))
        .to_vec(),
        ..CatalogParts::default()
    })
}

fn relation(oid: u32, name: &str, columns: &[(&str, u32)]) -> Relation {
    Relation {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: (1..)
            .zip(columns)
            .map(|(number, (name, type_oid))| column(number, name, *type_oid))
            .collect(),
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
    }
}

fn column(number: i16, name: &str, type_oid: u32) -> Column {
    Column {
        name: name.to_owned(),
        number,
        type_oid,
        not_null: false,
        generated: false,
        identity: false,
        has_default: false,
        modifier: None,
    }
}

fn base_type(oid: u32, name: &str) -> Type {
    Type {
        oid,
        schema: "pg_catalog".to_owned(),
        name: name.to_owned(),
        kind: TypeKind::Base,
        element: 0,
        base: 0,
        modifier: None,
        extension: None,
        check_calls_function: false,
        compared_by: Vec::new(),
    }
}
