//! Joins whose rewriting is broken on purpose: barriers around the sides of a FULL JOIN, and joins that must be fences.

use super::super::Findings;
use super::outcome_with;
use crate::judge::Held;

fn place(text: &str, part: &str) -> i32 {
    i32::try_from(text.find(part).unwrap()).unwrap()
}

#[test]
fn each_side_of_a_full_join_has_its_own_barrier() {
    let client = "SELECT FROM leads l FULL JOIN calls c ON l.name::int = c.id::int";
    let held = |findings: &mut Findings| {
        for (side, of) in [("l.name", "leads"), ("c.id", "calls")] {
            findings.places.held.push(Held {
                at: place(client, side),
                by: vec![place(client, of)],
            });
        }
    };
    let outcome = |condition: &str| {
        let rewritten = format!(
            "SELECT FROM (public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@) FULL JOIN \
             (public.calls c JOIN (SELECT) AS pgwarden_2 ON @c@) ON {condition}"
        );
        outcome_with(client, &rewritten, held).is_ok()
    };
    let left = "CASE WHEN @l@ OR l.tableoid IS NULL THEN l.name::int END";
    let right = "CASE WHEN @c@ OR c.tableoid IS NULL THEN c.id::int END";
    assert!(outcome(&format!("{left} = {right}")));
    for broken in [
        "l.name::int = c.id::int".to_owned(),
        format!("{left} = c.id::int"),
        format!("l.name::int = {right}"),
        format!("{right} = {left}"),
        format!("{left} <> {right}"),
        format!("{left} OPERATOR(public.=) {right}"),
        format!("{left} = {}", right.replace("@c@", "@l@")),
        format!("{left} = {}", right.replace("@c@", "true")),
        format!("{left} = {}", right.replace("c.tableoid", "c.id")),
        format!("{left} = {}", right.replace("IS NULL", "IS NOT NULL")),
        format!("{left} = {}", right.replace("END", "ELSE 1 END")),
        format!("{left} = {}", right.replace("c.id::int", "c.lead_id::int")),
        "CASE WHEN @l@ AND @c@ THEN l.name::int = c.id::int ELSE false END".to_owned(),
    ] {
        assert!(!outcome(&broken), "{broken}");
    }
}

#[test]
fn only_an_equality_has_barriers_around_its_sides() {
    let client = "SELECT FROM leads l WHERE l.name < l.id";
    let rewritten = "SELECT FROM public.leads l WHERE @l@ AND CASE WHEN @l@ THEN l.name END < l.id";
    assert!(outcome_with(client, rewritten, |_| {}).is_err());
}

#[test]
fn a_join_that_must_be_a_fence_is_one() {
    let client = "SELECT FROM (leads l JOIN plans p ON true) AS j (x) WHERE j.name::int > 3";
    let fenced = |findings: &mut Findings| {
        let join = (place(client, "leads"), "j".to_owned());
        findings.places.fenced_joins.push(join);
    };
    let outcome = |item: &str| {
        let rewritten = format!("SELECT FROM {item} WHERE j.name::int > 3");
        outcome_with(client, &rewritten, fenced).is_ok()
    };
    let join = "(public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@) JOIN public.plans p ON true";
    let query = format!("SELECT * FROM {join} OFFSET 0");
    assert!(outcome(&format!("({query}) AS j (x)")));
    for broken in [
        format!("({join}) AS j (x)"),
        format!("(SELECT * FROM {join}) AS j (x)"),
        format!("(SELECT * FROM {join} OFFSET 1) AS j (x)"),
        format!("(SELECT * FROM {join} LIMIT 1 OFFSET 0) AS j (x)"),
        format!("(SELECT DISTINCT * FROM {join} OFFSET 0) AS j (x)"),
        format!("(SELECT l.* FROM {join} OFFSET 0) AS j (x)"),
        format!("(SELECT *, 1 FROM {join} OFFSET 0) AS j (x)"),
        format!("(SELECT * FROM {join} WHERE false OFFSET 0) AS j (x)"),
        format!("(SELECT * FROM {join}, public.plans q OFFSET 0) AS j (x)"),
        format!("(SELECT * FROM ({join}) AS k OFFSET 0) AS j (x)"),
        format!("LATERAL ({query}) AS j (x)"),
        format!("({query}) AS j"),
        format!("({query}) AS k (x)"),
        "(SELECT * FROM public.leads l JOIN public.plans p ON true OFFSET 0) AS j (x)".to_owned(),
    ] {
        assert!(!outcome(&broken), "{broken}");
    }
}

#[test]
fn a_join_without_an_alias_is_no_query() {
    let client = "SELECT FROM plans p JOIN plans q ON true";
    let rewritten =
        "SELECT FROM (SELECT * FROM public.plans p JOIN public.plans q ON true OFFSET 0) AS j";
    assert!(outcome_with(client, rewritten, |_| {}).is_err());
}
