//! Words that the grammar has and an older server does not.

use std::sync::Arc;

use crate::catalog::{Catalog, Function, FunctionKind};
use crate::deny::Denial;
use crate::engine::Limits;
use crate::{DenyReason, Engine, Protocol, Request, Scratch, SessionFacts, testing};

fn judged(version: u32, sql: &str) -> Result<String, Denial> {
    judged_beside(version, None, sql)
}

fn judged_beside(version: u32, function: Option<Function>, sql: &str) -> Result<String, Denial> {
    let mut parts = testing::catalog().parts().clone();
    parts.server_version_num = version;
    parts.functions.extend(function);
    let engine = Engine::new(
        Arc::new(testing::policy()),
        Arc::new(Catalog::new(parts)),
        Limits::default(),
    );
    let engine = engine.expect("the policy fits");
    let request = Request {
        text: sql,
        protocol: Protocol::Simple,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &testing::values(),
    };
    let mut scratch = Scratch::default();
    let cleared = engine.judge(request, &mut scratch)?;
    Ok(cleared.text().to_owned())
}

#[test]
fn to_an_older_server_they_are_functions_of_anybody() {
    for sql in [
        "SELECT system_user",
        "SELECT json_scalar(1)",
        "SELECT json('1')",
        "SELECT json_serialize('1')",
        "SELECT json_exists('1', '$')",
        "SELECT json_value('1', '$')",
        "SELECT json_query('1', '$')",
        "SELECT json_array(1)",
        "SELECT json_arrayagg(id) FROM plans",
    ] {
        let denial = judged(150_000, sql).expect_err(sql);
        assert_eq!(denial.reason, DenyReason::UnsupportedConstruct, "{sql}");
        assert!(judged(170_000, sql).is_ok(), "{sql}");
    }
}

#[test]
fn a_functions_name_is_looked_up_where_it_is_no_word() {
    let function = Function {
        schema: "public".to_owned(),
        name: "json_object".to_owned(),
        kind: FunctionKind::Function,
        language: "sql".to_owned(),
        extension: None,
        leakproof: false,
        security_definer: false,
        volatility: 's',
        arguments: vec![23],
        defaults: 0,
        variadic: false,
        returns_set: false,
    };
    let judged = |version| judged_beside(version, Some(function.clone()), "SELECT json_object(1)");
    let denial = judged(150_000).expect_err("it may be meant");
    assert_eq!(denial.reason, DenyReason::FunctionDenied);
    assert!(judged(160_000).is_ok());
}

#[test]
fn a_filter_of_a_json_aggregate_reads_too() {
    let sql = "SELECT l.id FROM leads l WHERE (SELECT json_arrayagg(p.id) \
               FILTER (WHERE 1 / (l.amount - 7) > p.id) FROM plans p) IS NULL";
    let text = judged(160_000, sql).expect("it can be judged");
    assert!(text.contains("CASE WHEN l.org_id"), "{text}");
}

#[test]
fn the_least_integer_is_an_integer() {
    let sql = "SELECT id FROM leads WHERE amount = -2147483648";
    assert!(judged(150_000, sql).is_ok());
    let other = judged(150_000, "SELECT id FROM leads WHERE amount = -2147483649");
    assert!(other.expect("it is a bigint").contains("2147483649"));
    let hexadecimal = judged(160_000, "SELECT id FROM leads WHERE amount = 0x1F");
    assert!(hexadecimal.expect("it is a number").contains("31"));
}

#[test]
fn numerals_that_an_older_server_reads_as_a_number_and_a_label_are_refused() {
    for numeral in [
        "0x1F",
        "0X1f",
        "0o17",
        "0b11",
        "1_000",
        "1_0.5",
        "1.5_5",
        "1e1_0",
        "0x1ffffffffff",
    ] {
        let sql = format!("SELECT {numeral}");
        for version in [130_000, 150_018] {
            let denial = judged(version, &sql).expect_err(&sql);
            assert_eq!(denial.reason, DenyReason::UnsupportedConstruct, "{sql}");
        }
        assert!(judged(160_000, &sql).is_ok(), "{sql}");
    }
    for sql in [
        "SELECT 1000, 1.5, 1e3, 1E-3, .5, 5., 99999999999999999999",
        "SELECT '1_000', 0 AS x1f, id AS a_0x1f FROM leads",
    ] {
        assert!(judged(130_000, sql).is_ok(), "{sql}");
    }
}

#[test]
fn what_ended_behind_an_operator_is_refused_where_it_may_end_there() {
    let with = |condition: &str| {
        format!("SELECT {condition} FROM (SELECT 1 AS between, 2 AS escape, 3 AS set) AS it")
    };
    // To PostgreSQL 13 the first is `(5 !) NOT BETWEEN -1 AND true`, here `5 ! (NOT between - 1) AND true`.
    for condition in [
        "5 ! NOT between - 1 AND true",
        "5 ! between - 1 AND true",
        "5 OPERATOR(pg_catalog.!) /* */ between - 1 AND true",
        "5 ! like (1)",
        "'a' LIKE 5 ! escape - 1",
        "5 ! set",
    ] {
        let denial = judged(130_000, &with(condition)).expect_err(condition);
        assert_eq!(
            denial.reason,
            DenyReason::UnsupportedConstruct,
            "{condition}"
        );
        let hint = "Quote the name, or set parentheses.";
        assert_eq!(denial.hint.as_deref(), Some(hint), "{condition}");
        let newer = judged(140_000, &with(condition)).err();
        assert!(newer.is_none_or(|it| it.hint.as_deref() != Some(hint)));
    }
    for condition in [
        "5 # 3 BETWEEN 1 AND 9",
        "abs(5) NOT BETWEEN 1 AND 9",
        "'a' || 'b' LIKE 'a' ESCAPE '!'",
        "(1 # 2) NOT BETWEEN 1 AND 9",
    ] {
        assert!(judged(130_000, &with(condition)).is_ok(), "{condition}");
    }
}
