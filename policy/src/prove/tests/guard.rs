//! Where a predicate guards a relation, and where it doesn't.

use super::super::Gap;
use super::{decide, expand, outcome, outcome_with, proven, refused};
use crate::scan::LiteralKind;
use crate::template::Constant;

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
        "WITH cte AS (SELECT * FROM public.leads WHERE @leads@ OFFSET 0) SELECT * FROM cte",
    );
    for how in ["MATERIALIZED", "NOT MATERIALIZED"] {
        refused(
            "WITH cte AS (SELECT * FROM leads) SELECT * FROM cte",
            &format!(
                "WITH cte AS {how} (SELECT * FROM public.leads WHERE @leads@) SELECT * FROM cte"
            ),
        );
    }
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
