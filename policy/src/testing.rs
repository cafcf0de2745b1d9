//! A small catalogue and policy for unit tests.

use crate::catalog::{Catalog, CatalogParts, Column, Relation, RelationKind, Type, TypeKind};
use crate::rules::{
    Access, ClaimPath, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue,
    Mode, Policy, QualifiedName, RequireRls, Scope, ScopeKey, SecondReader, TableRule, TenantRule,
};
use crate::tenant::{ScopeValue, ScopeValues, ValueType};

const ORG: &str = "a0000000-0000-0000-0000-000000000001";
const USER: &str = "c0000000-0000-0000-0000-000000000003";

/// Both slots have a value.
pub(crate) fn values() -> ScopeValues {
    let value = |text: &str| Some(ScopeValue::Uuid(text.parse().expect("a uuid")));
    ScopeValues::new(vec![value(ORG), value(USER)])
}

fn relation(oid: u32, schema: &str, name: &str, columns: &[(&str, u32)]) -> Relation {
    let columns = columns
        .iter()
        .zip(1..)
        .map(|((name, type_oid), number)| Column {
            name: (*name).to_owned(),
            number,
            type_oid: *type_oid,
            not_null: false,
            generated: false,
            identity: false,
            has_default: false,
            modifier: None,
        });
    Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: columns.collect(),
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

/// Leads, calls, plans, user_credits, secret, and two system relations.
pub(crate) fn catalog() -> Catalog {
    let types = [
        (16, "bool"),
        (20, "int8"),
        (23, "int4"),
        (25, "text"),
        (26, "oid"),
        (1082, "date"),
        (1114, "timestamp"),
        (1700, "numeric"),
        (2950, "uuid"),
    ];
    let types = types.iter().map(|(oid, name)| Type {
        oid: *oid,
        schema: "pg_catalog".to_owned(),
        name: (*name).to_owned(),
        kind: TypeKind::Base,
        element: 0,
        base: 0,
        modifier: None,
        extension: None,
        check_calls_function: false,
        compared_by: Vec::new(),
    });
    let leads = [("id", 2950), ("org_id", 2950), ("note", 25), ("amount", 23)];
    let calls = [
        ("id", 2950),
        ("org_id", 2950),
        ("lead_id", 2950),
        ("seconds", 23),
    ];
    let invoices = [
        ("id", 20),
        ("org_id", 2950),
        ("total", 1700),
        ("due", 1082),
        ("paid", 1114),
    ];
    Catalog::new(CatalogParts {
        server_version_num: 150_000,
        schemas: vec!["public".to_owned()],
        types: types.collect(),
        relations: vec![
            relation(1, "public", "leads", &leads),
            relation(2, "public", "calls", &calls),
            relation(3, "public", "plans", &[("id", 23), ("name", 25)]),
            relation(
                4,
                "public",
                "user_credits",
                &[("user_id", 2950), ("credits", 23)],
            ),
            relation(9, "public", "invoices", &invoices),
            relation(5, "public", "secret", &[("id", 23)]),
            relation(
                6,
                "pg_catalog",
                "pg_class",
                &[("oid", 26), ("relname", 19), ("reltuples", 700)],
            ),
            relation(
                7,
                "pg_catalog",
                "pg_settings",
                &[("name", 25), ("setting", 25)],
            ),
            relation(8, "pg_catalog", "pg_stats", &[("tablename", 19)]),
        ],
        ..CatalogParts::default()
    })
}

fn table(name: &str, scope: Scope) -> TableRule {
    let name = QualifiedName {
        schema: "public".to_owned(),
        name: name.to_owned(),
    };
    TableRule {
        name,
        scope,
        missing_filter: None,
        missing_value: None,
        mode: None,
    }
}

/// Leads and calls by discovery, plans global, user_credits by the user.
pub(crate) fn policy() -> Policy {
    let claim = ClaimPath(vec!["app_metadata".to_owned(), "org_id".to_owned()]);
    let by_user = ScopeKey {
        column: "user_id".to_owned(),
        claim: ClaimPath(vec!["sub".to_owned()]),
        value_type: ValueType::Uuid,
    };
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
        tables: vec![
            table("plans", Scope::Global(Access::Read)),
            table("user_credits", Scope::Keys(vec![by_user])),
        ],
        functions: FunctionRules::default(),
        channels: Vec::new(),
        settings: Vec::new(),
        roles: Vec::new(),
        tests: Vec::new(),
        revision: "test".to_owned(),
    }
}
