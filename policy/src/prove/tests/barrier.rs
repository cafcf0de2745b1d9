//! Barriers and fences, recognised exactly.

use super::{proven, refused};

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

/// What the client's condition needs may be asked for beside its barrier, and nothing else.
#[test]
fn only_what_is_needed_is_asked_for() {
    let client = |condition: &str| {
        format!("SELECT 1 FROM plans p FULL JOIN leads l ON true WHERE {condition}")
    };
    let sent = |test: &str, condition: &str| {
        format!(
            "SELECT 1 FROM public.plans p FULL JOIN (public.leads l JOIN (SELECT) AS pgwarden_1 ON @l@) ON true WHERE {test} AND CASE WHEN @l@ THEN {condition} ELSE false END"
        )
    };
    let strict = "1 / l.score > 0";
    proven(
        &client(strict),
        &sent("l.score IS DISTINCT FROM NULL", strict),
    );
    refused(
        &client(strict),
        &sent("l.name IS DISTINCT FROM NULL", strict),
    );
    refused(&client(strict), &sent("l.score IS DISTINCT FROM 7", strict));
    refused(
        &client(strict),
        &sent("l.score IS NOT DISTINCT FROM NULL", strict),
    );
    refused(
        &client(strict),
        &sent("score IS DISTINCT FROM NULL", strict),
    );
    let lax = "coalesce(1 / l.score, 1) > 0";
    refused(&client(lax), &sent("l.score IS DISTINCT FROM NULL", lax));
}
