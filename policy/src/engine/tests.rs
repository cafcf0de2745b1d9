//! The way around the judge, with a judge whose answers are known: it scopes `leads` at the top of
//! a SELECT, and compares constants with `leads.org_id` where the client writes `org_id = …`.

use pg_query::protobuf::{self as pg, ParseResult};
use pg_query::{Node, NodeEnum};

use super::*;
use crate::catalog::{CatalogParts, Column, Relation, RelationKind};
use crate::deny::DenyReason;
use crate::judge::{Decision, Findings, Key};
use crate::plan::{StatementKind, Verdict};
use crate::rules::{
    Access, Ddl, Defaults, ErrorDetail, FunctionRules, MissingFilter, MissingValue, Mode,
    RequireRls, SecondReader, TenantRule,
};
use crate::tenant::ScopeValue;

const MINE: uuid::Uuid = uuid::uuid!("a0000000-0000-0000-0000-000000000001");
const OTHER: uuid::Uuid = uuid::uuid!("b0000000-0000-0000-0000-000000000002");

fn node(inner: NodeEnum) -> Node {
    Node { node: Some(inner) }
}

fn name(text: &str) -> Node {
    node(NodeEnum::String(pg::String {
        sval: text.to_owned(),
    }))
}

fn predicate(parameter: i32) -> Node {
    let column = pg::ColumnRef {
        fields: vec![name("leads"), name("org_id")],
        location: -1,
    };
    let value = pg::TypeCast {
        arg: Some(Box::new(node(NodeEnum::ParamRef(pg::ParamRef {
            number: parameter,
            location: -1,
        })))),
        type_name: Some(pg::TypeName {
            names: vec![name("pg_catalog"), name("uuid")],
            typemod: -1,
            location: -1,
            ..pg::TypeName::default()
        }),
        location: -1,
    };
    node(NodeEnum::AExpr(Box::new(pg::AExpr {
        kind: pg::AExprKind::AexprOp as i32,
        name: vec![name("pg_catalog"), name("=")],
        lexpr: Some(Box::new(node(NodeEnum::ColumnRef(column)))),
        rexpr: Some(Box::new(node(NodeEnum::TypeCast(Box::new(value))))),
        location: -1,
        ..pg::AExpr::default()
    })))
}

/// The constant of `org_id = <constant>`, if the condition is just that.
fn compared(condition: &Node) -> Option<(i32, String)> {
    let Some(NodeEnum::AExpr(expression)) = &condition.node else {
        return None;
    };
    let Some(NodeEnum::ColumnRef(column)) = &expression.lexpr.as_ref()?.node else {
        return None;
    };
    let Some(NodeEnum::AConst(constant)) = &expression.rexpr.as_ref()?.node else {
        return None;
    };
    let Some(pg::a_const::Val::Sval(text)) = &constant.val else {
        return None;
    };
    let last = column.fields.last()?;
    (last == &name("org_id")).then(|| (constant.location, text.sval.clone()))
}

fn known_judge(
    _: &Bound,
    request: &Request<'_>,
    parameters: u16,
    tree: &mut ParseResult,
) -> Result<Findings, Denial> {
    let mut findings = Findings {
        verdict: Verdict::Pass,
        kind: StatementKind::Select,
        statements: tree.stmts.len(),
        hidden: Vec::new(),
        checks: Vec::new(),
        texts: Vec::new(),
        draws: false,
        random: std::cell::Cell::new(false),
        last_value: false,
        absent: std::cell::Cell::new(false),
        effects: Vec::new(),
        steps: Vec::new(),
        calls_users: std::cell::Cell::new(false),
        primary_only: std::cell::Cell::new(false),
        relations: Vec::new(),
        pinned: Vec::new(),
        places: crate::judge::Places::default(),
        rows: None,
        changed: false,
    };
    for statement in &mut tree.stmts {
        let inner = statement.stmt.as_mut().and_then(|stmt| stmt.node.as_mut());
        let Some(NodeEnum::SelectStmt(select)) = inner else {
            return Err(Denial::new(
                DenyReason::UnsupportedStatement,
                "not a SELECT",
            ));
        };
        if let Some((at, text)) = select.where_clause.as_deref().and_then(compared) {
            findings.pinned.push(at);
            let own = request.values.get(0).unwrap();
            if !own.matches_text(text.as_bytes()) {
                return Err(Denial::new(DenyReason::ForeignTenantValue, "not yours"));
            }
        }
        let Some(NodeEnum::RangeVar(range)) =
            select.from_clause.first_mut().and_then(|n| n.node.as_mut())
        else {
            continue;
        };
        let scoped = range.relname == "leads";
        findings.places.decisions.push((
            range.location,
            Decision::Relation {
                schema: "public".to_owned(),
                name: range.relname.clone(),
                scoped: match scoped {
                    true => vec![Key {
                        column: "org_id".to_owned(),
                        slot: 0,
                        value_type: ValueType::Uuid,
                        via: None,
                    }],
                    false => Vec::new(),
                },
            },
        ));
        if !scoped {
            continue;
        }
        range.schemaname = "public".to_owned();
        let mut conjuncts = vec![predicate(i32::from(parameters) + 1)];
        conjuncts.extend(select.where_clause.take().map(|condition| *condition));
        select.where_clause = Some(Box::new(match conjuncts.len() {
            1 => conjuncts.remove(0),
            _ => node(NodeEnum::BoolExpr(Box::new(pg::BoolExpr {
                boolop: pg::BoolExprType::AndExpr as i32,
                args: conjuncts,
                location: -1,
                ..pg::BoolExpr::default()
            }))),
        }));
        findings.hidden = vec![0];
        findings.changed = true;
        findings.verdict = Verdict::Rewrite;
    }
    Ok(findings)
}

fn relation(oid: u32, name: &str) -> Relation {
    let column = |number: i16, name: &str| Column {
        name: name.to_owned(),
        number,
        type_oid: 2950,
        not_null: false,
        generated: false,
        identity: false,
        has_default: false,
        modifier: None,
    };
    Relation {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: RelationKind::Table,
        columns: vec![column(1, "id"), column(2, "org_id")],
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

fn engine(limits: Limits) -> Engine {
    let policy = Policy {
        mode: Mode::Enforce,
        tenant: TenantRule {
            claim: ClaimPath(vec!["org_id".to_owned()]),
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
        revision: String::new(),
    };
    let catalog = Catalog::new(CatalogParts {
        schemas: vec!["public".to_owned()],
        relations: vec![relation(1, "leads"), relation(2, "plans")],
        ..CatalogParts::default()
    });
    let mut engine = Engine::new(Arc::new(policy), Arc::new(catalog), limits).unwrap();
    engine.judge = known_judge;
    engine
}

struct Session {
    facts: SessionFacts,
    values: ScopeValues,
    scratch: Scratch,
}

impl Session {
    fn of(id: uuid::Uuid) -> Self {
        Self {
            facts: SessionFacts::default(),
            values: ScopeValues::new(vec![Some(ScopeValue::Uuid(id))]),
            scratch: Scratch::default(),
        }
    }

    fn judge(&mut self, engine: &Engine, text: &str, protocol: Protocol) -> Result<String, Denial> {
        let request = Request {
            text,
            protocol,
            declared: &[],
            facts: &self.facts,
            values: &self.values,
        };
        let cleared = engine.judge(request, &mut self.scratch)?;
        Ok(cleared.text().to_owned())
    }
}

#[test]
fn a_hit_sends_what_a_miss_would() {
    let cached = engine(Limits::default());
    let uncached = engine(Limits {
        plan_cache_bytes: 0,
        ..Limits::default()
    });
    let shapes = [
        "SELECT id FROM leads WHERE a = {1} AND b = {2}",
        "SELECT id, {2} FROM leads WHERE a IN ({1}, -{1}, - {1}) LIMIT {1}",
        "SELECT -{1}, - - {1}, +{1}, a-{1} FROM leads -- {1} {2}",
        "SELECT {2}::text || {2}, E'x', $$y$$, {1}::int FROM leads",
        "SELECT a::float({1}), b::varchar({1}), interval {2} FROM leads",
        "SELECT {1}, {2}",
        "SELECT \"{1}\" FROM leads WHERE x = U&'\\0041' OR y = b'01' OR z = {2}",
        "SELECT * FROM plans WHERE a = {1}; SELECT * FROM plans WHERE a = {2}",
        "SELECT a[{1}:{1}], (ARRAY[{1}, {1}])[{1}] FROM leads",
        "SELECT CASE {1} WHEN {1} THEN {2} END FROM leads ORDER BY {1} OFFSET {1}",
    ];
    let texts = [
        "'a'",
        "''",
        "'it''s'",
        "E'\\n\\'x'",
        "$q$ $1 $q$",
        "'1 day'",
        "' -- '",
        "'t'",
    ];
    let (mut session, mut fresh) = (Session::of(MINE), Session::of(MINE));
    for protocol in [Protocol::Simple, Protocol::Extended] {
        for shape in shapes {
            for number in [
                "1",
                "7",
                "24",
                "25",
                "2.5",
                "99999999999",
                "99999999999999999999",
                "1e10",
            ] {
                for text in texts {
                    let sql = shape.replace("{1}", number).replace("{2}", text);
                    let hit = session.judge(&cached, &sql, protocol);
                    let miss = fresh.judge(&uncached, &sql, protocol);
                    let same = |sent: &str| {
                        crate::tree::of(&pg_query::parse(sent, 0).unwrap().protobuf).unwrap()
                    };
                    match (hit, miss) {
                        (Ok(hit), Ok(miss)) => {
                            crate::prove::prove_equal(&same(&hit), &same(&miss)).unwrap();
                        }
                        (Err(hit), Err(miss)) => assert_eq!(hit.reason, miss.reason, "{sql}"),
                        (hit, miss) => panic!("{sql}: {hit:?} {miss:?}"),
                    }
                }
            }
        }
    }
    let stats = cached.cache_stats();
    assert!(stats.hits > 3 * stats.misses, "{stats:?}");
    assert_eq!(uncached.cache_stats().hits, 0);
}

#[test]
fn the_tenant_is_a_literal_or_a_hidden_parameter() {
    let engine = engine(Limits::default());
    for id in [MINE, OTHER] {
        let mut session = Session::of(id);
        let simple = session.judge(&engine, "SELECT id FROM leads", Protocol::Simple);
        let simple = simple.unwrap();
        assert!(simple.contains(&format!("'{id}'::")), "{simple}");
        assert!(!simple.contains('$'), "{simple}");
        let extended = session.judge(&engine, "SELECT id FROM leads", Protocol::Extended);
        assert!(extended.unwrap().contains("$1::"));
    }
    // Two shapes, one for each protocol: tenants share them.
    assert_eq!(
        (engine.cache_stats().hits, engine.cache_stats().misses),
        (2, 2)
    );
}

#[test]
fn a_compared_literal_is_judged_for_each_value_and_each_tenant() {
    let engine = engine(Limits::default());
    let (mut mine, mut other) = (Session::of(MINE), Session::of(OTHER));
    let sql = |id: uuid::Uuid| format!("SELECT id FROM leads WHERE org_id = '{id}'");
    for _ in 0..3 {
        for protocol in [Protocol::Simple, Protocol::Extended] {
            assert!(mine.judge(&engine, &sql(MINE), protocol).is_ok());
            assert!(other.judge(&engine, &sql(OTHER), protocol).is_ok());
            assert!(mine.judge(&engine, &sql(OTHER), protocol).is_err());
            assert!(other.judge(&engine, &sql(MINE), protocol).is_err());
        }
    }
}

#[test]
fn pins_that_are_found_later_do_not_mix_variants() {
    let engine = engine(Limits::default());
    let mut session = Session::of(MINE);
    // FLOAT(n) and the name decide on the tree; each new value is a verdict of its own.
    let sql = |a: u8, b: u8| format!("SELECT x::float({a}), y::float({b}) FROM leads");
    for (a, b) in [(1, 30), (30, 1), (1, 1), (30, 30), (1, 30)] {
        let sent = session
            .judge(&engine, &sql(a, b), Protocol::Extended)
            .unwrap();
        let name = |n: u8| if n == 1 { "real" } else { "double precision" };
        let expected = format!("SELECT x::{}, y::{} FROM", name(a), name(b));
        assert!(sent.starts_with(&expected), "{sent}");
    }
}

#[test]
fn the_facts_are_part_of_the_shape() {
    let engine = engine(Limits::default());
    let mut session = Session::of(MINE);
    let sql = "SELECT id FROM leads";
    assert!(session.judge(&engine, sql, Protocol::Simple).is_ok());
    // `leads` is not found there: the same text has another verdict.
    session.facts.search_path = vec!["private".to_owned()];
    assert!(session.judge(&engine, sql, Protocol::Simple).is_err());
    session.facts.search_path = vec!["public".to_owned()];
    assert!(session.judge(&engine, sql, Protocol::Simple).is_ok());
    // A session without a tenant has no value to fill in.
    session.values = ScopeValues::new(vec![None]);
    assert!(session.judge(&engine, sql, Protocol::Simple).is_err());
}

#[test]
fn the_cache_stays_within_its_bytes() {
    let limits = Limits {
        plan_cache_bytes: 256 << 10,
        ..Limits::default()
    };
    let engine = engine(limits);
    let mut session = Session::of(MINE);
    for shape in 0..2_000 {
        let sql = format!("SELECT column_{shape} FROM leads");
        session.judge(&engine, &sql, Protocol::Extended).unwrap();
    }
    let stats = engine.cache_stats();
    assert!(stats.bytes <= 256 << 10, "{stats:?}");
    assert!(stats.evictions > 1_000, "{stats:?}");
}

#[test]
fn positions_come_back_to_the_clients_text() {
    let engine = engine(Limits::default());
    let mut session = Session::of(MINE);
    let text = "SELECT 'é', name FROM leads WHERE E'x\\n' = nme AND y = 12";
    for protocol in [Protocol::Simple, Protocol::Extended] {
        let sent = session.judge(&engine, text, protocol).unwrap();
        let request = Request {
            text,
            protocol,
            declared: &[],
            facts: &session.facts,
            values: &session.values,
        };
        for what in ["'é'", "name", "nme", "12", "E'x\\n'"] {
            let character = |text: &str| {
                let byte = text
                    .find(what)
                    .unwrap_or_else(|| panic!("{what} in {text}"));
                u32::try_from(text[..byte].chars().count() + 1).unwrap()
            };
            let mapped = engine.map_position(&request, &mut session.scratch, character(&sent));
            assert_eq!(mapped, Some(character(text)), "{what} in {sent}");
        }
        let added = u32::try_from(sent.find("leads.org_id").unwrap()).unwrap();
        assert_eq!(
            engine.map_position(&request, &mut session.scratch, added),
            None
        );
    }
}

#[test]
fn texts_out_of_bounds_are_refused() {
    let engine = engine(Limits {
        statement_bytes: 1_000,
        ..Limits::default()
    });
    let mut session = Session::of(MINE);
    let mut refused = |text: &str| {
        let denial = session.judge(&engine, text, Protocol::Simple).unwrap_err();
        (denial.reason, denial.sqlstate)
    };
    let long = format!("SELECT '{}'", "x".repeat(1_000));
    assert_eq!(refused(&long), (DenyReason::TooComplex, "54000"));
    assert_eq!(refused("SELECT 1\0"), (DenyReason::SyntaxError, "22021"));
    assert_eq!(
        refused("SELECT $0"),
        (DenyReason::ParameterMismatch, "42P02")
    );
    let deep = format!("SELECT {}1", "+ ".repeat(200));
    assert_eq!(
        refused(&deep.replace('1', "FROM")).0,
        DenyReason::SyntaxError
    );
}

#[test]
fn a_deep_text_is_refused_before_it_is_parsed() {
    let engine = engine(Limits::default());
    let mut session = Session::of(MINE);
    let deep = format!("SELECT {}1", "NOT ".repeat(1_000));
    let denial = session.judge(&engine, &deep, Protocol::Simple).unwrap_err();
    assert_eq!(
        (denial.reason, denial.sqlstate),
        (DenyReason::TooComplex, "54001")
    );
}

#[test]
fn what_holds_a_clients_text_does_not_show_it() {
    let engine = engine(Limits::default());
    let mut session = Session::of(MINE);
    let request = Request {
        text: "SELECT 'hunter2', name FROM leads",
        protocol: Protocol::Simple,
        declared: &[],
        facts: &session.facts,
        values: &session.values,
    };
    let asked = format!("{request:?}");
    let cleared = engine.judge(request, &mut session.scratch).unwrap();
    assert!(cleared.text().contains("hunter2"));
    let shown = format!("{asked} {cleared:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
