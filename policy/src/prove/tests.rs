//! The proof against rewritten statements that are broken on purpose.

mod barrier;
mod channel;
mod copy;
mod cursor;
mod ddl;
mod guard;
mod held;
mod insert_select;
mod joined;
mod lock;
mod merge;
mod named;
mod temporary;
mod via;
mod view;
mod write;
mod written_view;

use super::*;
use crate::catalog::{CatalogParts, Column, Relation, RelationKind};
use crate::judge::{Key, Parent, Via};
use crate::plan::{BindCheck, StatementKind, Verdict};
use crate::temporary::Temporaries;
use crate::tenant::{ScopeValue, ScopeValues, ValueType};
use crate::tree;
use std::sync::Arc;

fn column(number: i16, name: &str) -> Column {
    Column {
        name: name.to_owned(),
        number,
        type_oid: 25,
        not_null: false,
        generated: false,
        identity: false,
        has_default: false,
        modifier: None,
    }
}

fn relation(oid: u32, schema: &str, name: &str, columns: &[&str]) -> Relation {
    Relation {
        oid,
        schema: schema.to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: (1..)
            .zip(columns)
            .map(|(n, name)| column(n, name))
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

/// The stored queries of two views.
const SHOWN: &str = "SELECT leads.id, leads.name FROM public.leads WHERE (leads.id > 3)";
const PAIRED: &str =
    "SELECT l.id, s.name FROM (public.leads l LEFT JOIN public.shown s ON ((s.id = l.id)))";

fn view(oid: u32, name: &str, query: &str) -> Relation {
    Relation {
        kind: RelationKind::View,
        definition: Some(query.to_owned()),
        ..relation(oid, "public", name, &["id", "name"])
    }
}

fn catalog() -> Catalog {
    Catalog::new(CatalogParts {
        relations: vec![
            relation(1, "public", "leads", &["id", "org_id", "name"]),
            relation(2, "public", "calls", &["id", "org_id", "lead_id"]),
            relation(3, "public", "credits", &["user_id", "org_id", "amount"]),
            relation(4, "public", "plans", &["id", "org_id"]),
            relation(5, "private", "leads", &["id", "org_id"]),
            relation(6, "public", "parts", &["id", "call_id"]),
            view(7, "shown", SHOWN),
            view(8, "paired", PAIRED),
            written_view::view(9, "plain", written_view::PLAIN),
            written_view::view(10, "over_plain", written_view::OUTER),
            written_view::view(11, "paired_leads", written_view::PAIRED_LEADS),
            written_view::view(12, "nested", written_view::NESTED),
            written_view::view(13, "other", written_view::OTHER),
            written_view::view(14, "twice", written_view::TWICE),
            written_view::view(15, "few", written_view::FEW),
            written_view::redirected(16, "ruled"),
        ],
        ..CatalogParts::default()
    })
}

fn key(column: &str, slot: usize) -> Key {
    Key {
        column: column.to_owned(),
        slot,
        value_type: ValueType::Uuid,
        via: None,
    }
}

/// A part's call's lead holds the tenant.
fn through_calls() -> Key {
    let parent = |table: &str, column: &str| Parent {
        schema: "public".to_owned(),
        table: table.to_owned(),
        key: "id".to_owned(),
        column: column.to_owned(),
    };
    Key {
        via: Some(Arc::new(Via {
            column_type: "int4",
            parents: vec![parent("calls", "lead_id"), parent("leads", "org_id")],
        })),
        ..key("call_id", 0)
    }
}

/// What the judge would decide on a relation of that name; names with `cte` are CTEs.
fn decide(schema: &str, name: &str) -> Decision {
    let scoped = match name {
        "leads" | "calls" => vec![key("org_id", 0)],
        "credits" => vec![key("org_id", 0), key("user_id", 1)],
        "parts" => vec![through_calls()],
        "shown" | "paired" => {
            let query = if name == "shown" { SHOWN } else { PAIRED };
            let mut inside = Places::default();
            decisions(&tree(query), &mut inside.decisions);
            return Decision::View {
                schema: "public".to_owned(),
                name: name.to_owned(),
                inside,
            };
        }
        _ if name.contains("cte") => return Decision::Cte,
        _ => Vec::new(),
    };
    Decision::Relation {
        schema: if schema.is_empty() { "public" } else { schema }.to_owned(),
        name: name.to_owned(),
        scoped,
    }
}

fn decisions(node: &Node, found: &mut Vec<(i32, Decision)>) {
    if node.kind == "LockingClause" {
        return;
    }
    if node.kind == "RangeVar" {
        let decision = decide(node.text("schemaname"), node.text("relname"));
        found.push((node.location(), decision));
    }
    for (_, value) in &node.fields {
        decisions_in(value, found);
    }
}

fn decisions_in(value: &Value, found: &mut Vec<(i32, Decision)>) {
    match value {
        Value::Node(node) => decisions(node, found),
        Value::List(items) => items.iter().for_each(|item| decisions_in(item, found)),
        _ => {}
    }
}

fn tree(sql: &str) -> Node {
    tree::of(
        &pg_query::parse(sql, 0)
            .unwrap_or_else(|error| panic!("{sql}: {error}"))
            .protobuf,
    )
    .unwrap()
}

fn findings(original: &Node) -> Findings {
    let mut decided = Vec::new();
    decisions(original, &mut decided);
    Findings {
        verdict: Verdict::Rewrite,
        kind: StatementKind::Select,
        statements: 1,
        hidden: vec![0, 1],
        texts: Vec::new(),
        draws: false,
        random: std::cell::Cell::new(false),
        last_value: false,
        absent: std::cell::Cell::new(false),
        checks: vec![BindCheck {
            parameter: 1,
            slot: 0,
        }],
        effects: Vec::new(),
        steps: Vec::new(),
        calls_users: std::cell::Cell::new(false),
        primary_only: std::cell::Cell::new(false),
        relations: Vec::new(),
        pinned: Vec::new(),
        places: Places {
            decisions: decided,
            ..Places::default()
        },
        rows: None,
        changed: true,
    }
}

/// In the rewritten texts `@leads` stands for the predicate on `leads.org_id`. The client's own
/// parameters are `$1` to `$4`.
fn expand(rewritten: &str) -> String {
    let mut text = rewritten.to_owned();
    for name in ["leads", "calls", "credits", "l", "c", "x"] {
        let predicate = format!("{name}.user_id OPERATOR(pg_catalog.=) $6::pg_catalog.uuid");
        text = text.replace(&format!("@@{name}@"), &predicate);
        let predicate = format!("{name}.org_id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid");
        text = text.replace(&format!("@{name}@"), &predicate);
    }
    text.replace("#org#", "$5::pg_catalog.uuid")
}

fn outcome_with(
    original: &str,
    rewritten: &str,
    change: impl FnOnce(&mut Findings),
) -> Result<Paired, Gap> {
    let before = tree(original);
    let mut findings = findings(&before);
    change(&mut findings);
    let effects = findings.effects.len();
    if findings.steps.is_empty() {
        findings.steps.resize(effects, 0);
    }
    let after = tree(&expand(rewritten));
    let catalog = catalog();
    let views = Views::read(&catalog);
    let claims = Claims {
        findings: &findings,
        own: 4,
        declared: &[],
        catalog: &catalog,
        views: &views,
        values: &ScopeValues::new(vec![Some(ScopeValue::Uuid(uuid::Uuid::nil()))]),
        search_path: &["public".to_owned()],
        temporaries: &Temporaries::default(),
        enforce: true,
        ddl: false,
        lock: false,
        channels: &["jobs".to_owned()],
    };
    walk(&before, &after, claims)
}

fn outcome(original: &str, rewritten: &str) -> Result<Paired, Gap> {
    outcome_with(original, rewritten, |_| {})
}

#[track_caller]
fn proven(original: &str, rewritten: &str) {
    if let Err(gap) = outcome(original, rewritten) {
        panic!("{rewritten}: {gap:?}");
    }
}

#[track_caller]
fn refused(original: &str, rewritten: &str) {
    assert!(outcome(original, rewritten).is_err(), "{rewritten}");
}
