//! Barriers and fences that the judge claimed, left out on purpose.

use super::super::{Decision, Findings};
use super::outcome_with;
use crate::judge::Held;

#[test]
fn what_the_judge_says_is_held_back_must_be() {
    let client = "SELECT * FROM leads l JOIN calls c ON true WHERE l.name::int > 3";
    let held = |findings: &mut Findings| {
        findings.places.held.push(Held {
            at: 49,
            by: vec![14],
        });
    };
    let rewritten = |condition: &str| {
        format!(
            "SELECT * FROM public.leads l JOIN public.calls c ON true WHERE @l@ AND @c@ AND {condition}"
        )
    };
    let barrier = |when: &str| {
        rewritten(&format!(
            "CASE WHEN {when} THEN l.name::int > 3 ELSE false END"
        ))
    };
    assert!(outcome_with(client, &barrier("@l@"), held).is_ok());
    assert!(outcome_with(client, &barrier("@l@ AND @c@"), held).is_ok());
    assert!(outcome_with(client, &barrier("@c@"), held).is_err());
    assert!(outcome_with(client, &rewritten("l.name::int > 3"), held).is_err());
    assert!(outcome_with(client, &rewritten("l.name::int > 3"), |_| {}).is_ok());
    let elsewhere = |findings: &mut Findings| {
        findings.places.held.push(Held {
            at: 7,
            by: vec![14],
        });
    };
    assert!(outcome_with(client, &barrier("@l@"), elsewhere).is_err());
}

#[test]
fn what_the_judge_says_is_a_fence_must_be() {
    let client = "SELECT * FROM (SELECT name FROM leads) s WHERE s.name::int > 3";
    let fenced = |findings: &mut Findings| findings.places.fences.push(22);
    let rewritten = |fence: &str| {
        format!(
            "SELECT * FROM (SELECT name FROM public.leads WHERE @leads@ {fence}) s WHERE s.name::int > 3"
        )
    };
    assert!(outcome_with(client, &rewritten("OFFSET 0"), fenced).is_ok());
    assert!(outcome_with(client, &rewritten(""), fenced).is_err());
    let client = "WITH s AS (SELECT name FROM leads) SELECT * FROM s WHERE s.name::int > 3";
    let fenced = |findings: &mut Findings| findings.places.fences.push(18);
    let rewritten = |how: &str, fence: &str| {
        format!(
            "WITH s AS {how} (SELECT name FROM public.leads WHERE @leads@ {fence}) SELECT * FROM s WHERE s.name::int > 3"
        )
    };
    let cte = |how: &str, fence: &str| {
        outcome_with(client, &rewritten(how, fence), |findings| {
            fenced(findings);
            let s = findings
                .places
                .decisions
                .iter_mut()
                .find(|(at, _)| *at > 40);
            s.unwrap().1 = Decision::Cte;
        })
    };
    assert!(cte("", "OFFSET 0").is_ok());
    assert!(cte("", "").is_err());
    assert!(cte("", "OFFSET 1").is_err());
    assert!(cte("MATERIALIZED", "").is_err());
    assert!(cte("NOT MATERIALIZED", "OFFSET 0").is_err());
}
