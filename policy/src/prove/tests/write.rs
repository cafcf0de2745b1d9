//! INSERT, UPDATE and DELETE: what is written is the session's own.

use super::{outcome, outcome_with, proven, refused};

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
