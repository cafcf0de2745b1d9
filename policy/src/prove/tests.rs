//! The proof against rewritten statements that are broken on purpose.

mod cursor;
mod ddl;
mod held;
mod insert_select;
mod joined;
mod lock;
mod merge;
mod temporary;
mod via;
mod view;
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
        checks: vec![BindCheck {
            parameter: 1,
            slot: 0,
        }],
        effects: Vec::new(),
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

#[test]
fn a_predicate_in_where_guards() {
    let client = "SELECT * FROM leads WHERE id = 1";
    proven(
        client,
        "SELECT * FROM public.leads WHERE @leads@ AND id = 1",
    );
    proven(
        client,
        "SELECT * FROM public.leads WHERE @leads@ AND (id = 1)",
    );
    proven(
        "SELECT * FROM leads",
        "SELECT * FROM public.leads WHERE @leads@",
    );
    proven(
        "SELECT * FROM leads l",
        "SELECT * FROM public.leads l WHERE @l@",
    );
    proven(
        "SELECT * FROM leads WHERE a AND b OR c",
        "SELECT * FROM public.leads WHERE @leads@ AND (a AND b OR c)",
    );
    proven(
        "SELECT * FROM leads WHERE a AND b",
        "SELECT * FROM public.leads WHERE @leads@ AND (a AND b)",
    );
}

#[test]
fn a_missing_or_wrong_predicate_does_not() {
    let client = "SELECT * FROM leads WHERE id = 1";
    for broken in [
        "SELECT * FROM public.leads WHERE id = 1",
        "SELECT * FROM public.leads WHERE @leads@ OR id = 1",
        "SELECT * FROM public.leads WHERE NOT @leads@ AND id = 1",
        "SELECT * FROM public.leads WHERE @calls@ AND id = 1",
        "SELECT * FROM public.leads WHERE @leads@",
        "SELECT * FROM public.leads WHERE @leads@ AND id = 2",
        "SELECT * FROM public.leads WHERE @leads@ AND id = 1 AND id = 1",
        "SELECT * FROM public.leads WHERE org_id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id = $5::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(public.=) $5::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.<>) $5::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $5::uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $5::public.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $5::pg_catalog.text AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid[] AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $5 AND id = 1",
        // Another slot, a slot that there isn't, and a parameter of the client's.
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $6::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $7::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND id = 1",
        "SELECT * FROM public.leads WHERE leads.id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid AND id = 1",
        // Another relation, or none of ours.
        "SELECT * FROM leads WHERE @leads@ AND id = 1",
        "SELECT * FROM private.leads WHERE @leads@ AND id = 1",
        "SELECT * FROM public.calls WHERE @calls@ AND id = 1",
        "SELECT * FROM ONLY public.leads WHERE @leads@ AND id = 1",
        "SELECT id FROM public.leads WHERE @leads@ AND id = 1",
        "SELECT * FROM public.leads WHERE @leads@ AND id = 1 LIMIT 1",
        "SELECT * FROM public.leads, public.calls WHERE @leads@ AND id = 1",
        "SELECT * FROM public.leads HAVING @leads@ AND id = 1",
    ] {
        refused(client, broken);
    }
    refused("SELECT 1; SELECT 2", "SELECT 1");
    refused("SELECT 1", "SELECT 1; SELECT 2");
}

#[test]
fn every_key_must_be_compared() {
    let client = "SELECT * FROM credits";
    proven(
        client,
        "SELECT * FROM public.credits WHERE @credits@ AND @@credits@",
    );
    refused(client, "SELECT * FROM public.credits WHERE @credits@");
    refused(
        client,
        "SELECT * FROM public.credits WHERE @credits@ AND @credits@",
    );
    proven(
        client,
        "SELECT * FROM (public.credits JOIN (SELECT) AS pgwarden_1 ON @credits@ AND @@credits@)",
    );
    refused(
        client,
        "SELECT * FROM (public.credits JOIN (SELECT) AS pgwarden_1 ON @credits@)",
    );
}

#[test]
fn a_guard_join_is_recognised_exactly() {
    let client = "SELECT * FROM plans p LEFT JOIN leads l ON l.id = p.id";
    let with = |item: &str| format!("SELECT * FROM public.plans p LEFT JOIN {item} ON l.id = p.id");
    proven(
        client,
        &with("(public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@)"),
    );
    for broken in [
        "(public.leads l LEFT JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l JOIN (SELECT) AS pgwarden_1 ON true)",
        "(public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@ OR true)",
        "(public.leads l JOIN (SELECT 1) AS pgwarden_1 ON @l@)",
        "(public.leads l JOIN (SELECT FROM plans) AS pgwarden_1 ON @l@)",
        "(public.leads l JOIN (SELECT) AS other ON @l@)",
        "(public.leads l JOIN LATERAL (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l CROSS JOIN (SELECT) AS pgwarden_1)",
        "(public.leads x JOIN (SELECT) AS pgwarden_1 ON @x@)",
        "(public.leads l JOIN (SELECT) AS pgwarden_1 ON @c@)",
        "((SELECT) AS pgwarden_1 JOIN public.leads l ON @l@)",
        "public.leads l",
    ] {
        refused(client, &with(broken));
    }
}

#[test]
fn a_guard_join_may_hold_a_sample() {
    let client = "SELECT * FROM plans p LEFT JOIN leads l TABLESAMPLE SYSTEM (50) ON l.id = p.id";
    let with = |item: &str| format!("SELECT * FROM public.plans p LEFT JOIN {item} ON l.id = p.id");
    proven(
        client,
        &with("(public.leads l TABLESAMPLE SYSTEM (50) JOIN (SELECT) AS pgwarden_1 ON @l@)"),
    );
    for broken in [
        "(public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l TABLESAMPLE SYSTEM (90) JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l TABLESAMPLE BERNOULLI (50) JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l TABLESAMPLE SYSTEM (50) REPEATABLE (1) JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "(public.leads l TABLESAMPLE SYSTEM (50) JOIN (SELECT) AS pgwarden_1 ON true)",
        "(public.calls l TABLESAMPLE SYSTEM (50) JOIN (SELECT) AS pgwarden_1 ON @l@)",
        "public.leads l TABLESAMPLE SYSTEM (50)",
    ] {
        refused(client, &with(broken));
    }
}

#[test]
fn where_guards_only_what_the_joins_preserve() {
    let cases = [
        ("leads l JOIN calls c ON true", true, true),
        ("leads l CROSS JOIN calls c", true, true),
        ("leads l LEFT JOIN calls c ON true", true, false),
        ("leads l RIGHT JOIN calls c ON true", false, true),
        ("leads l FULL JOIN calls c ON true", false, false),
        (
            "(leads l LEFT JOIN plans p ON true) RIGHT JOIN calls c ON true",
            false,
            true,
        ),
        (
            "plans p LEFT JOIN (leads l JOIN calls c ON true) ON true",
            false,
            false,
        ),
        ("(leads l JOIN plans p ON true) AS j, calls c", false, true),
    ];
    for (from, left, right) in cases {
        let client = format!("SELECT 1 FROM {from}");
        for (guard_l, guard_c) in [(true, true), (true, false), (false, true)] {
            // One in WHERE, the other by a join of its own.
            let mut from = from.replace("plans p", "public.plans p");
            from = match guard_l {
                true => from.replace("leads l", "public.leads l"),
                false => from.replace(
                    "leads l",
                    "(public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@)",
                ),
            };
            from = match guard_c {
                true => from.replace("calls c", "public.calls c"),
                false => from.replace(
                    "calls c",
                    "(public.calls c JOIN (SELECT) AS pgwarden_2 ON @c@)",
                ),
            };
            let predicates: Vec<_> = [(guard_l, "@l@"), (guard_c, "@c@")]
                .into_iter()
                .filter_map(|(there, predicate)| there.then_some(predicate))
                .collect();
            let rewritten = format!("SELECT 1 FROM {from} WHERE {}", predicates.join(" AND "));
            let holds = (!guard_l || left) && (!guard_c || right);
            assert_eq!(outcome(&client, &rewritten).is_ok(), holds, "{rewritten}");
        }
    }
}

#[test]
fn a_predicate_belongs_to_its_own_query() {
    let client = "SELECT 1 FROM plans WHERE EXISTS (SELECT 1 FROM leads)";
    proven(
        client,
        "SELECT 1 FROM public.plans WHERE EXISTS (SELECT 1 FROM public.leads WHERE @leads@)",
    );
    refused(
        client,
        "SELECT 1 FROM public.plans WHERE EXISTS (SELECT 1 FROM public.leads)",
    );
    refused(
        client,
        "SELECT 1 FROM public.plans WHERE @leads@ AND EXISTS (SELECT 1 FROM public.leads)",
    );
    let client = "SELECT 1 FROM leads WHERE EXISTS (SELECT 1 FROM leads)";
    refused(
        client,
        "SELECT 1 FROM public.leads WHERE EXISTS (SELECT 1 FROM public.leads WHERE @leads@)",
    );
    for (client, rewritten) in [
        (
            "SELECT (SELECT max(id) FROM leads) FROM plans ORDER BY (SELECT 1 FROM calls) LIMIT (SELECT 1 FROM leads)",
            "SELECT (SELECT max(id) FROM public.leads WHERE @leads@) FROM public.plans ORDER BY (SELECT 1 FROM public.calls WHERE @calls@) LIMIT (SELECT 1 FROM public.leads WHERE @leads@)",
        ),
        (
            "SELECT 1 FROM leads UNION ALL SELECT 1 FROM calls",
            "SELECT 1 FROM public.leads WHERE @leads@ UNION ALL SELECT 1 FROM public.calls WHERE @calls@",
        ),
        (
            "SELECT 1 FROM (SELECT * FROM leads) s, LATERAL (SELECT 1 FROM calls) t",
            "SELECT 1 FROM (SELECT * FROM public.leads WHERE @leads@) s, LATERAL (SELECT 1 FROM public.calls WHERE @calls@) t",
        ),
    ] {
        proven(client, rewritten);
        // Without any one of its predicates it is no proof.
        let parts: Vec<_> = rewritten.split(" WHERE @").collect();
        for without in 1..parts.len() {
            let mut broken = parts[0].to_owned();
            for (at, part) in parts.iter().enumerate().skip(1) {
                let rest = part.split_once('@').map_or("", |(_, rest)| rest);
                broken.push_str(&if at == without {
                    rest.to_owned()
                } else {
                    format!(" WHERE @{part}")
                });
            }
            refused(client, &broken);
        }
    }
}

#[test]
fn column_aliases_may_rename_the_key() {
    let client = "SELECT * FROM leads AS l(a, b)";
    proven(
        client,
        "SELECT * FROM public.leads AS l(a, b) WHERE l.b OPERATOR(pg_catalog.=) $5::pg_catalog.uuid",
    );
    refused(client, "SELECT * FROM public.leads AS l(a, b) WHERE @l@");
    // The name of the key given to another column.
    let client = "SELECT * FROM leads AS l(org_id, b)";
    refused(
        client,
        "SELECT * FROM public.leads AS l(org_id, b) WHERE @l@",
    );
    proven(
        "SELECT * FROM leads AS l(a)",
        "SELECT * FROM public.leads AS l(a) WHERE @l@",
    );
}

#[test]
fn a_cte_is_one_only_in_scope() {
    proven(
        "WITH cte AS (SELECT * FROM leads) SELECT * FROM cte",
        "WITH cte AS (SELECT * FROM public.leads WHERE @leads@) SELECT * FROM cte",
    );
    proven(
        "WITH cte AS (SELECT * FROM leads) SELECT * FROM cte",
        "WITH cte AS MATERIALIZED (SELECT * FROM public.leads WHERE @leads@) SELECT * FROM cte",
    );
    let same = |sql: &str| outcome(sql, sql).map(drop);
    assert_eq!(
        same("WITH RECURSIVE cte AS (SELECT 1 UNION SELECT 1 FROM cte) SELECT 1"),
        Ok(())
    );
    assert_eq!(
        same("WITH cte AS (SELECT 1), cte2 AS (SELECT 1 FROM cte) SELECT 1 FROM cte2"),
        Ok(())
    );
    for table in [
        "SELECT * FROM cte",
        "WITH cte AS (SELECT 1 FROM cte) SELECT 1",
        "WITH cte AS (SELECT 1 FROM cte2), cte2 AS (SELECT 1) SELECT 1",
        "SELECT 1 FROM (WITH cte AS (SELECT 1) SELECT 1 FROM cte) s, cte",
    ] {
        assert_eq!(
            same(table),
            Err(Gap("a relation was taken for a CTE")),
            "{table}"
        );
    }
    assert_eq!(
        same("WITH cte AS (SELECT 1) SELECT 1 FROM public.cte"),
        Err(Gap("a relation was taken for a CTE"))
    );
    // A name that the judge takes for the table although a CTE hides it.
    let hidden = "WITH leads AS (SELECT 1) SELECT 1 FROM leads";
    refused(
        hidden,
        "WITH leads AS (SELECT 1) SELECT 1 FROM public.leads WHERE @leads@",
    );
}

#[test]
fn every_relation_needs_one_decision() {
    let client = "SELECT * FROM plans";
    let rewritten = "SELECT * FROM public.plans";
    assert!(outcome(client, rewritten).is_ok());
    let forgotten = outcome_with(client, rewritten, |findings| {
        findings.places.decisions.clear()
    });
    assert_eq!(forgotten.unwrap_err(), Gap("a relation was not decided on"));
    let twice = outcome_with(client, rewritten, |findings| {
        findings
            .places
            .decisions
            .push((14, decide("private", "plans")));
    });
    assert!(twice.is_err());
    let elsewhere = outcome_with(client, "SELECT * FROM private.plans", |findings| {
        findings.places.decisions = vec![(14, decide("private", "plans"))];
    });
    assert_eq!(
        elsewhere.unwrap_err(),
        Gap("a relation is in another schema")
    );
    refused("TRUNCATE leads", "TRUNCATE public.leads");
    refused("COPY leads TO STDOUT", "COPY public.leads TO STDOUT");
    proven("COPY plans TO STDOUT", "COPY public.plans TO STDOUT");
}

#[test]
fn a_copied_table_becomes_a_query_over_its_own_rows() {
    let copy = |query: &str| format!("COPY ({query}) TO STDOUT");
    let all = "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@";
    proven("COPY leads TO STDOUT", &copy(all));
    proven(
        "COPY leads (name, id) TO STDOUT",
        &copy("SELECT name, id FROM ONLY public.leads WHERE @leads@"),
    );
    for wrong in [
        "SELECT id, org_id, name FROM ONLY public.leads",
        "SELECT id, org_id, name FROM public.leads WHERE @leads@",
        "SELECT org_id, id, name FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, lower(name) FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, name AS id FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@ OR true",
        "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@ LIMIT 1",
        "SELECT id, org_id, name FROM ONLY public.leads, public.calls WHERE @leads@",
        "SELECT id, org_id, name FROM ONLY private.leads WHERE @leads@",
        "SELECT DISTINCT id, org_id, name FROM ONLY public.leads WHERE @leads@",
    ] {
        refused("COPY leads TO STDOUT", &copy(wrong));
    }
    refused(
        "COPY leads TO STDOUT (FORMAT csv)",
        &format!("COPY ({all}) TO STDOUT (FORMAT binary)"),
    );
    refused("COPY leads FROM STDIN", &copy(all));
    refused("COPY leads FROM STDIN", "COPY public.leads FROM STDIN");
}

#[test]
fn copied_rows_are_checked_where_the_keys_stand() {
    use crate::copy::{Fill, Format, KeyColumn, Rows, Style};
    let rows = |column: usize, columns: usize, delimiter: u8| Rows {
        table: "public.leads".to_owned(),
        format: Format::Text(Style {
            delimiter,
            quote: b'"',
            null: (*b"\\N").into(),
            header: false,
        }),
        columns,
        keys: vec![KeyColumn { column, slot: 0 }],
        fills: Vec::new(),
    };
    let filled = |columns: usize, slots: &[usize]| Rows {
        keys: Vec::new(),
        fills: slots
            .iter()
            .map(|slot| Fill {
                slot: *slot,
                type_oid: 2950,
            })
            .collect(),
        ..rows(0, columns, b'|')
    };
    let try_with = |client: &str, list: &str, rows: Rows| {
        let there = format!("COPY public.leads ({list}) FROM STDIN (DELIMITER '|')");
        outcome_with(client, &there, |findings| findings.rows = Some(rows)).is_ok()
    };
    let client = "COPY leads FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "id, org_id, name", rows(1, 3, b'|')));
    assert!(!try_with(client, "id, org_id, name", rows(0, 3, b'|')));
    assert!(!try_with(client, "id, org_id, name", rows(1, 3, b',')));
    assert!(!try_with(client, "id, org_id, name", rows(1, 2, b'|')));
    assert!(!try_with(client, "org_id, id, name", rows(1, 3, b'|')));
    assert!(!try_with(client, "id, name", rows(1, 2, b'|')));
    let client = "COPY leads (name, org_id) FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "name, org_id", rows(1, 2, b'|')));
    let client = "COPY leads (org_id, org_id) FROM STDIN (DELIMITER '|')";
    assert!(!try_with(client, "org_id, org_id", rows(1, 2, b'|')));
    let client = "COPY leads (name, id) FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "name, id, org_id", filled(2, &[0])));
    assert!(!try_with(client, "name, id, org_id", filled(2, &[1])));
    assert!(!try_with(client, "name, id, org_id", filled(3, &[0])));
    assert!(!try_with(client, "name, id, org_id", filled(2, &[])));
    assert!(!try_with(client, "name, org_id, id", filled(2, &[0])));
    assert!(!try_with(client, "name, id", filled(2, &[0])));
    assert!(!try_with(
        client,
        "name, id, org_id, org_id",
        filled(2, &[0, 0])
    ));
    let client = "COPY leads (org_id, id) FROM STDIN (DELIMITER '|')";
    assert!(!try_with(client, "org_id, id, org_id", filled(2, &[0])));
}

#[test]
fn barriers_and_fences_are_recognised() {
    let client = "SELECT * FROM leads WHERE f(name) AND id = 1";
    let barrier =
        |case: &str| format!("SELECT * FROM public.leads WHERE @leads@ AND {case} AND id = 1");
    proven(
        client,
        &barrier("CASE WHEN @leads@ THEN f(name) ELSE false END"),
    );
    refused(
        client,
        &barrier("CASE WHEN @leads@ THEN g(name) ELSE false END"),
    );
    refused(
        client,
        &barrier("CASE WHEN @leads@ THEN f(name) ELSE true END"),
    );
    refused(client, &barrier("CASE WHEN @leads@ THEN f(name) END"));
    refused(
        client,
        &barrier("CASE WHEN @calls@ THEN f(name) ELSE false END"),
    );
    refused(
        client,
        &barrier("CASE WHEN true THEN f(name) ELSE false END"),
    );
    proven(
        client,
        "SELECT * FROM public.leads WHERE @leads@ AND CASE WHEN @leads@ THEN f(name) AND id = 1 ELSE false END",
    );
    // A barrier is no guard.
    refused(
        client,
        "SELECT * FROM public.leads WHERE CASE WHEN @leads@ THEN f(name) ELSE false END AND id = 1",
    );
    let client = "SELECT * FROM leads WHERE CASE WHEN a THEN b ELSE c END";
    proven(
        client,
        "SELECT * FROM public.leads WHERE @leads@ AND CASE WHEN a THEN b ELSE c END",
    );
    proven(
        client,
        "SELECT * FROM public.leads WHERE @leads@ AND CASE WHEN @leads@ THEN CASE WHEN a THEN b ELSE c END ELSE false END",
    );
    // The client's own CASE with the form of a barrier.
    proven(
        "SELECT * FROM leads WHERE CASE WHEN a THEN b ELSE false END",
        "SELECT * FROM public.leads WHERE @leads@ AND CASE WHEN a THEN b ELSE false END",
    );
    proven(
        "SELECT * FROM leads l JOIN plans p ON f(l.name)",
        "SELECT * FROM public.leads l JOIN public.plans p ON CASE WHEN @l@ THEN f(l.name) ELSE false END WHERE @l@",
    );
    let client = "SELECT 1 FROM (SELECT * FROM leads) s";
    proven(
        client,
        "SELECT 1 FROM (SELECT * FROM public.leads WHERE @leads@ OFFSET 0) s",
    );
    refused(
        client,
        "SELECT 1 FROM (SELECT * FROM public.leads WHERE @leads@ OFFSET 1) s",
    );
    refused(
        client,
        "SELECT 1 FROM (SELECT * FROM public.leads WHERE @leads@ LIMIT 1 OFFSET 0) s",
    );
    refused("SELECT 1 OFFSET 1", "SELECT 1 OFFSET 0");
    proven("SELECT 1 LIMIT 5", "SELECT 1 LIMIT 5 OFFSET 0");
}

#[test]
fn locks_name_aliases() {
    proven(
        "SELECT * FROM leads l FOR UPDATE OF l",
        "SELECT * FROM public.leads l WHERE @l@ FOR UPDATE OF l",
    );
}

#[test]
fn updates_and_deletes_are_guarded_and_move_no_row() {
    proven(
        "UPDATE leads SET name = 'x' FROM calls c WHERE c.id = 1",
        "UPDATE public.leads SET name = 'x' FROM public.calls c WHERE @leads@ AND @c@ AND c.id = 1",
    );
    refused(
        "UPDATE leads SET name = 'x'",
        "UPDATE public.leads SET name = 'x'",
    );
    refused(
        "UPDATE leads SET name = 'x' FROM calls c",
        "UPDATE public.leads SET name = 'x' FROM public.calls c WHERE @leads@",
    );
    refused(
        "UPDATE leads SET name = 'x'",
        "UPDATE public.leads SET name = 'y' WHERE @leads@",
    );
    proven(
        "UPDATE leads SET org_id = $1",
        "UPDATE public.leads SET org_id = $1 WHERE @leads@",
    );
    for value in [
        "$2",
        "DEFAULT",
        "NULL",
        "'x'",
        "gen_random_uuid()",
        "$1::pg_catalog.bpchar(3)",
        "name",
    ] {
        refused(
            &format!("UPDATE leads SET org_id = {value}"),
            &format!("UPDATE public.leads SET org_id = {value} WHERE @leads@"),
        );
    }
    refused(
        "UPDATE leads SET (name, org_id) = (SELECT 1, 2)",
        "UPDATE public.leads SET (name, org_id) = (SELECT 1, 2) WHERE @leads@",
    );
    let literal = |value: &str, pinned: bool| {
        let client = format!("UPDATE leads SET org_id = '{value}'");
        let rewritten = format!("UPDATE public.leads SET org_id = '{value}' WHERE @leads@");
        let pinned: &[i32] = if pinned { &[26] } else { &[] };
        outcome_with(&client, &rewritten, |findings| {
            findings.pinned = pinned.to_vec()
        })
        .is_ok()
    };
    let own = "00000000-0000-0000-0000-000000000000";
    assert!(literal(own, true));
    assert!(!literal(own, false));
    assert!(!literal("00000000-0000-0000-0000-000000000001", true));
    proven(
        "DELETE FROM leads l USING calls c WHERE a",
        "DELETE FROM public.leads l USING public.calls c WHERE @l@ AND @c@ AND a",
    );
    refused("DELETE FROM leads", "DELETE FROM public.leads");
}

#[test]
fn inserts_write_the_sessions_own_key() {
    let client = "INSERT INTO leads (name) VALUES ('a'), ('b')";
    proven(
        client,
        "INSERT INTO public.leads (name, org_id) VALUES ('a', #org#), ('b', #org#)",
    );
    refused(
        client,
        "INSERT INTO public.leads (name) VALUES ('a'), ('b')",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, org_id) VALUES ('a', #org#), ('b', $1)",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, org_id) VALUES ('a', #org#), ('b', $6::pg_catalog.uuid)",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, id) VALUES ('a', #org#), ('b', #org#)",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, org_id, id) VALUES ('a', #org#, 1), ('b', #org#, 1)",
    );
    proven(
        "INSERT INTO leads DEFAULT VALUES",
        "INSERT INTO public.leads (org_id) VALUES (#org#)",
    );
    refused(
        "INSERT INTO leads DEFAULT VALUES",
        "INSERT INTO public.leads DEFAULT VALUES",
    );
    let client = "INSERT INTO leads (org_id, name) VALUES (DEFAULT, 'a')";
    proven(
        client,
        "INSERT INTO public.leads (org_id, name) VALUES (#org#, 'a')",
    );
    refused(
        client,
        "INSERT INTO public.leads (org_id, name) VALUES (DEFAULT, 'a')",
    );
    let same = |values: &str| {
        let client = format!("INSERT INTO leads (org_id, name) {values}");
        outcome(&client, &client.replace("INTO leads", "INTO public.leads")).is_ok()
    };
    assert!(same("VALUES ($1, 'a')"));
    assert!(same("VALUES ($1::uuid, 'a')"));
    assert!(!same("VALUES ($2, 'a')"));
    assert!(!same("VALUES ('x', 'a')"));
    assert!(!same("VALUES ($1, 'a'), ($2, 'b')"));
    assert!(!same("SELECT org_id, name FROM plans"));
    assert!(!same("TABLE plans"));
    // Without a list the table's columns count.
    proven(
        "INSERT INTO leads VALUES (1, $1)",
        "INSERT INTO public.leads VALUES (1, $1)",
    );
    refused(
        "INSERT INTO leads VALUES ($1, 2)",
        "INSERT INTO public.leads VALUES ($1, 2)",
    );
    proven(
        "INSERT INTO leads VALUES (1)",
        "INSERT INTO public.leads (id, org_id) VALUES (1, #org#)",
    );
    refused(
        "INSERT INTO leads VALUES (1)",
        "INSERT INTO public.leads (name, org_id) VALUES (1, #org#)",
    );
}

#[test]
fn inserted_queries_are_guarded_too() {
    let client = "INSERT INTO leads (name) SELECT x FROM calls c";
    proven(
        client,
        "INSERT INTO public.leads (name, org_id) SELECT x, #org# FROM public.calls c WHERE @c@",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, org_id) SELECT x, #org# FROM public.calls c",
    );
    refused(
        client,
        "INSERT INTO public.leads (name, org_id) SELECT x, c.org_id FROM public.calls c WHERE @c@",
    );
    proven(
        "INSERT INTO leads (org_id) SELECT c.org_id FROM calls c",
        "INSERT INTO public.leads (org_id) SELECT c.org_id FROM public.calls c WHERE @c@",
    );
    proven(
        "INSERT INTO leads (org_id) SELECT org_id FROM calls c",
        "INSERT INTO public.leads (org_id) SELECT org_id FROM public.calls c WHERE @c@",
    );
    refused(
        "INSERT INTO leads (org_id) SELECT org_id FROM calls c RIGHT JOIN plans USING (org_id)",
        "INSERT INTO public.leads (org_id) SELECT org_id FROM (public.calls c JOIN (SELECT) AS pgwarden_1 ON @c@) RIGHT JOIN public.plans USING (org_id)",
    );
    refused(
        "INSERT INTO leads (name, org_id) SELECT *, $1 FROM plans",
        "INSERT INTO public.leads (name, org_id) SELECT *, $1 FROM public.plans",
    );
}

#[test]
fn a_conflicting_row_is_guarded() {
    let client = "INSERT INTO leads (org_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = 'x'";
    let with = |rest: &str| {
        format!(
            "INSERT INTO public.leads (org_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = 'x' {rest}"
        )
    };
    let raise = "('pgwarden: conflicting row belongs to another tenant' || pg_catalog.left(pg_catalog.num_nulls(leads.org_id)::pg_catalog.text, 0))::pg_catalog.bool";
    proven(
        client,
        &with(&format!(
            "WHERE CASE WHEN @leads@ THEN true ELSE {raise} END"
        )),
    );
    refused(client, &with(""));
    refused(client, &with("WHERE true"));
    refused(
        client,
        &with(&format!("WHERE CASE WHEN true THEN true ELSE {raise} END")),
    );
    refused(
        client,
        &with("WHERE CASE WHEN @leads@ THEN true ELSE true END"),
    );
    refused(
        client,
        &with("WHERE CASE WHEN @leads@ THEN true ELSE 't'::pg_catalog.bool END"),
    );
    refused(
        client,
        &with(&format!(
            "WHERE CASE WHEN @leads@ THEN false ELSE {raise} END"
        )),
    );
    let client = "INSERT INTO leads (org_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET name = 'x' WHERE a OR b";
    proven(
        client,
        &with(&format!(
            "WHERE CASE WHEN @leads@ THEN a OR b ELSE {raise} END"
        )),
    );
    refused(client, &with("WHERE @leads@ AND (a OR b)"));
    let steal = "INSERT INTO leads (org_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET org_id = excluded.name";
    refused(
        steal,
        &format!(
            "INSERT INTO public.leads (org_id) VALUES ($1) ON CONFLICT (id) DO UPDATE SET org_id = excluded.name WHERE CASE WHEN @leads@ THEN true ELSE {raise} END"
        ),
    );
    let nothing = "INSERT INTO leads (org_id) VALUES ($1) ON CONFLICT DO NOTHING";
    proven(nothing, &nothing.replace("INTO leads", "INTO public.leads"));
}

#[test]
fn places_are_paired() {
    let client = "SELECT name FROM leads WHERE f(name) = 12";
    let rewritten = expand("SELECT name FROM public.leads WHERE @leads@ AND f(name) = 12");
    let paired = outcome(client, &rewritten).unwrap();
    let at = |text: &str, what: &str| i32::try_from(text.rfind(what).unwrap()).unwrap();
    for what in ["f(name)", "12", "name)"] {
        let pair = (at(&rewritten, what), at(client, what));
        assert!(paired.places.contains(&pair), "{what}");
    }
    assert_eq!(
        paired.constants,
        [Constant {
            original: at(client, "12"),
            rewritten: at(&rewritten, "12"),
            kind: LiteralKind::Integer,
        }]
    );
}
