//! The client's own filters under `missing_filter = "reject"`.

use std::sync::Arc;

use crate::deny::DenyReason;
use crate::rules::MissingFilter;
use crate::testing;
use crate::{Engine, Protocol, Request, Scratch, SessionFacts};

/// Whether a statement is refused for its missing filter.
fn refused(sql: &str) -> bool {
    let mut policy = testing::policy();
    policy.defaults.missing_filter = MissingFilter::Reject;
    let engine = Engine::new(
        Arc::new(policy),
        Arc::new(testing::catalog()),
        crate::engine::Limits::default(),
    )
    .expect("the test policy fits");
    let request = Request {
        text: sql,
        protocol: Protocol::Extended,
        declared: &[],
        facts: &SessionFacts::default(),
        values: &testing::values(),
    };
    match engine.judge(request, &mut Scratch::default()) {
        Ok(_) => false,
        Err(denial) if denial.reason == DenyReason::MissingFilter => true,
        Err(denial) => panic!("{sql}: {}", denial.message),
    }
}

#[test]
fn a_parameter_that_bind_checks_is_a_filter() {
    for condition in [
        "org_id = $1",
        "$1 = org_id",
        "org_id = $1::uuid",
        "org_id IN ($1)",
        "org_id = ANY (ARRAY[$1]::uuid[])",
        "(org_id, id) = ($1, $2)",
    ] {
        assert!(
            !refused(&format!("SELECT * FROM leads WHERE {condition}")),
            "{condition}"
        );
    }
}

#[test]
fn what_does_not_imply_the_predicate_is_no_filter() {
    for condition in [
        "org_id IN ($1, $2)",
        "org_id = ALL (ARRAY[$1]::uuid[])",
        "NOT org_id = $1",
        "org_id = $1 OR org_id = $1",
        "(org_id = $1) IS NOT NULL",
        "org_id::text = $1",
        "org_id >= $1",
        "org_id = org_id",
        "NOT EXISTS (SELECT 1 FROM plans WHERE leads.org_id = $1)",
    ] {
        assert!(
            refused(&format!("SELECT * FROM leads WHERE {condition}")),
            "{condition}"
        );
    }
}

#[test]
fn an_outer_join_carries_the_filter_to_its_nullable_side_only() {
    let join = "SELECT * FROM leads l LEFT JOIN calls c ON l.org_id = c.org_id";
    assert!(!refused(&format!("{join} WHERE l.org_id = $1")));
    assert!(refused(&format!("{join} AND c.org_id = $1")));
    assert!(refused(&format!("{join} AND l.org_id = $1")));
}
