//! Views: the stored query in their place, guarded, and nothing else.

use super::{outcome_with, proven, refused};

#[test]
fn a_guarded_query_stands_for_a_view() {
    proven(
        "SELECT * FROM shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown",
    );
    proven(
        "SELECT * FROM public.shown AS s (a) WHERE a = 1",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3 OFFSET 0) AS s (a) WHERE a = 1",
    );
    proven(
        "WITH cte AS (SELECT 1) SELECT * FROM cte, paired p",
        "WITH cte AS (SELECT 1) SELECT * FROM cte, (SELECT l.id, s.name FROM public.leads l LEFT JOIN \
         (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS s ON s.id = l.id WHERE @l@) AS p",
    );
}

#[test]
fn an_unguarded_or_other_query_does_not() {
    let client = "SELECT * FROM shown";
    for broken in [
        // The view itself, and its query without a guard or with one that guards nothing.
        "SELECT * FROM public.shown",
        "SELECT * FROM shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE leads.id > 3) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @calls@ AND leads.id > 3) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ OR leads.id > 3) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE leads.id > 3) AS shown WHERE shown.org_id OPERATOR(pg_catalog.=) #org#",
        // Another query.
        "SELECT * FROM (SELECT leads.id, leads.org_id FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 4) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM private.leads WHERE @leads@ AND leads.id > 3) AS shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM leads WHERE @leads@ AND leads.id > 3) AS shown",
        // Another name, another place.
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS seen",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown (a, b)",
        "SELECT * FROM LATERAL (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown",
    ] {
        refused(client, broken);
    }
    refused(
        "SELECT * FROM leads",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS leads",
    );
    refused(
        "SELECT * FROM ONLY shown",
        "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown",
    );
    refused(
        "WITH shown AS (SELECT 1) SELECT * FROM shown",
        "WITH shown AS (SELECT 1) SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3) AS shown",
    );
}

#[test]
fn a_view_under_a_view_is_guarded_too() {
    for inner in [
        "public.shown s",
        "(SELECT leads.id, leads.name FROM public.leads WHERE leads.id > 3) AS s",
    ] {
        refused(
            "SELECT * FROM paired",
            &format!(
                "SELECT * FROM (SELECT l.id, s.name FROM public.leads l LEFT JOIN {inner} ON s.id = l.id WHERE @l@) AS paired"
            ),
        );
    }
}

#[test]
fn a_guard_of_the_query_around_is_none_inside() {
    refused(
        "SELECT * FROM leads, shown",
        "SELECT * FROM public.leads, (SELECT leads.id, leads.name FROM public.leads WHERE leads.id > 3) AS shown WHERE @leads@ AND @leads@",
    );
}

#[test]
fn a_view_that_is_claimed_to_be_a_fence_is_one() {
    let after = |fence: &str| {
        format!(
            "SELECT * FROM (SELECT leads.id, leads.name FROM public.leads WHERE @leads@ AND leads.id > 3{fence}) AS shown"
        )
    };
    let proves = |fence: &str, at: i32| {
        let claim = |findings: &mut super::Findings| findings.places.fenced_views.push(at);
        outcome_with("SELECT * FROM shown", &after(fence), claim).is_ok()
    };
    assert!(proves(" OFFSET 0", 14));
    assert!(!proves("", 14));
    assert!(!proves(" OFFSET 0", 15));
}
