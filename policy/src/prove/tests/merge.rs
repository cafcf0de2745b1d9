//! MERGE and PREPARE, broken on purpose.

use super::super::{Findings, Gap};
use super::{outcome_with, proven, refused};
use crate::plan::Effect;

#[test]
fn the_target_is_guarded_in_on_and_the_source_where_it_stands() {
    let client = "MERGE INTO leads l USING plans p ON l.id = p.id WHEN MATCHED THEN DELETE";
    let rest = "WHEN MATCHED THEN DELETE";
    proven(
        client,
        &format!("MERGE INTO public.leads l USING public.plans p ON @l@ AND l.id = p.id {rest}"),
    );
    for on in [
        "l.id = p.id",
        "@l@",
        "@l@ OR l.id = p.id",
        "@c@ AND l.id = p.id",
        "l.id = p.id AND @l@",
    ] {
        refused(
            client,
            &format!("MERGE INTO public.leads l USING public.plans p ON {on} {rest}"),
        );
    }
    let client = "MERGE INTO plans p USING calls c ON p.id = c.id WHEN NOT MATCHED THEN DO NOTHING";
    let rest = "WHEN NOT MATCHED THEN DO NOTHING";
    proven(
        client,
        &format!(
            "MERGE INTO public.plans p USING (public.calls c JOIN (SELECT) pgwarden_1 ON @c@) ON p.id = c.id {rest}"
        ),
    );
    // Hidden in ON, a row of the source is not matched.
    refused(
        client,
        &format!("MERGE INTO public.plans p USING public.calls c ON @c@ AND p.id = c.id {rest}"),
    );
    refused(
        client,
        &format!("MERGE INTO public.plans p USING public.calls c ON p.id = c.id {rest}"),
    );
}

#[test]
fn a_leaky_condition_of_on_stands_behind_a_barrier() {
    let client = "MERGE INTO leads l USING plans p ON l.id::int = p.id WHEN MATCHED THEN DELETE";
    let merge = "MERGE INTO public.leads l USING public.plans p ON @l@ AND";
    let rest = "WHEN MATCHED THEN DELETE";
    proven(
        client,
        &format!("{merge} CASE WHEN @l@ THEN l.id::int = p.id ELSE false END {rest}"),
    );
    refused(
        client,
        &format!("{merge} CASE WHEN @c@ THEN l.id::int = p.id ELSE false END {rest}"),
    );
    refused(
        client,
        &format!("{merge} CASE WHEN @l@ THEN l.id::int = p.id ELSE true END {rest}"),
    );
}

#[test]
fn merged_rows_are_the_sessions_own() {
    let merge = "MERGE INTO leads l USING plans p ON l.id = p.id WHEN NOT MATCHED THEN INSERT";
    let ours = "MERGE INTO public.leads l USING public.plans p ON @l@ AND l.id = p.id WHEN NOT MATCHED THEN INSERT";
    for (before, after) in [
        ("(id) VALUES (p.id)", "(id, org_id) VALUES (p.id, #org#)"),
        ("VALUES (p.id)", "(id, org_id) VALUES (p.id, #org#)"),
        ("VALUES (p.id, DEFAULT)", "VALUES (p.id, #org#)"),
        ("DEFAULT VALUES", "(org_id) VALUES (#org#)"),
        (
            "(id, org_id) VALUES (p.id, $1)",
            "(id, org_id) VALUES (p.id, $1)",
        ),
    ] {
        proven(&format!("{merge} {before}"), &format!("{ours} {after}"));
    }
    for (before, after) in [
        ("(id) VALUES (p.id)", "(id) VALUES (p.id)"),
        ("VALUES (p.id)", "VALUES (p.id)"),
        ("VALUES (p.id)", "VALUES (p.id, #org#)"),
        ("VALUES (p.id)", "(org_id, id) VALUES (p.id, #org#)"),
        (
            "(id) VALUES (p.id)",
            "(id, org_id) VALUES (p.id, $6::pg_catalog.uuid)",
        ),
        ("(id) VALUES (p.id)", "(id, org_id) VALUES (#org#, p.id)"),
        (
            "(id, org_id) VALUES (p.id, $2)",
            "(id, org_id) VALUES (p.id, $2)",
        ),
        (
            "(id, org_id) VALUES (p.id, p.org_id)",
            "(id, org_id) VALUES (p.id, p.org_id)",
        ),
        (
            "(id, org_id) VALUES (p.id, DEFAULT)",
            "(id, org_id) VALUES (p.id, DEFAULT)",
        ),
        ("DEFAULT VALUES", "DEFAULT VALUES"),
    ] {
        refused(&format!("{merge} {before}"), &format!("{ours} {after}"));
    }
}

#[test]
fn a_key_of_a_guarded_source_may_be_written() {
    let client = "MERGE INTO leads l USING calls c ON l.id = c.id WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (c.id, c.org_id)";
    let insert = "WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (c.id, c.org_id)";
    proven(
        client,
        &format!(
            "MERGE INTO public.leads l USING (public.calls c JOIN (SELECT) pgwarden_1 ON @c@) ON @l@ AND l.id = c.id {insert}"
        ),
    );
    // NULL where an outer join made the row up.
    refused(
        "MERGE INTO leads l USING (plans p LEFT JOIN calls c ON true) ON l.id = c.id WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (c.id, c.org_id)",
        &format!(
            "MERGE INTO public.leads l USING (public.plans p LEFT JOIN (public.calls c JOIN (SELECT) pgwarden_1 ON @c@) ON true) ON @l@ AND l.id = c.id {insert}"
        ),
    );
}

#[test]
fn no_row_is_moved_and_none_comes_out_of_a_full_join() {
    for rest in [
        "WHEN MATCHED THEN UPDATE SET org_id = p.org_id",
        "WHEN MATCHED THEN UPDATE SET (id, org_id) = (1, $2)",
        "WHEN NOT MATCHED BY SOURCE THEN DELETE",
    ] {
        refused(
            &format!("MERGE INTO leads l USING plans p ON l.id = p.id {rest}"),
            &format!(
                "MERGE INTO public.leads l USING public.plans p ON @l@ AND l.id = p.id {rest}"
            ),
        );
    }
}

#[test]
fn nobody_checks_what_execute_binds() {
    let client = "PREPARE p AS INSERT INTO leads (org_id) VALUES ($1)";
    let sent = "PREPARE p AS INSERT INTO public.leads (org_id) VALUES ($1)";
    let named = |findings: &mut Findings| findings.effects.push(Effect::Prepare("p".to_owned()));
    let checked = outcome_with(client, sent, named);
    assert_eq!(checked.err(), Some(Gap("PREPARE relies on a Bind")));
    let unchecked = outcome_with(client, sent, |findings| {
        named(findings);
        findings.checks.clear();
    });
    assert!(
        unchecked.is_err_and(|Gap(why)| why != "a name of a prepared statement is told wrongly")
    );
    let filled = outcome_with(
        "PREPARE p AS INSERT INTO leads (id) VALUES ($1)",
        "PREPARE p AS INSERT INTO public.leads (id, org_id) VALUES ($1, #org#)",
        |findings| {
            named(findings);
            findings.checks.clear();
        },
    );
    assert!(filled.is_ok(), "{filled:?}");
}

#[test]
fn a_row_that_no_source_matches_is_admitted_by_its_own_condition() {
    let head = "USING plans p ON l.id = p.id WHEN NOT MATCHED BY SOURCE";
    let head_there = "USING public.plans p ON @l@ AND l.id = p.id WHEN NOT MATCHED BY SOURCE";
    let check = |own: &str, sent: &str, good: bool| {
        let client = format!("MERGE INTO leads l {head}{own} THEN DELETE RETURNING l.*");
        let there =
            format!("MERGE INTO public.leads l {head_there}{sent} THEN DELETE RETURNING l.*");
        match good {
            true => proven(&client, &there),
            false => refused(&client, &there),
        }
    };
    check("", " AND @l@", true);
    let barrier = " AND CASE WHEN @l@ THEN l.id::int > 3 ELSE false END";
    check(" AND l.id::int > 3", barrier, true);
    for sent in [
        "",
        " AND true",
        " AND @c@",
        " AND (@l@ OR true)",
        " AND NOT @l@",
    ] {
        check("", sent, false);
    }
    for sent in [
        " AND l.id::int > 3",
        " AND @l@",
        " AND @l@ AND l.id::int > 3",
        " AND CASE WHEN @l@ THEN l.id::int > 3 ELSE true END",
        " AND CASE WHEN @c@ THEN l.id::int > 3 ELSE false END",
        " AND CASE WHEN true THEN l.id::int > 3 ELSE false END",
    ] {
        check(" AND l.id::int > 3", sent, false);
    }
}

#[test]
fn a_computed_key_is_checked_when_the_row_is_made() {
    let checked = |value: &str| {
        format!(
            "CASE WHEN CASE WHEN {value} OPERATOR(pg_catalog.=) #org# THEN true ELSE ('pgwarden: x' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.clock_timestamp()::pg_catalog.text, 0))::pg_catalog.bool END THEN #org# END"
        )
    };
    let client = "UPDATE leads SET org_id = name::uuid WHERE id = 1";
    let sent =
        |value: &str| format!("UPDATE public.leads SET org_id = {value} WHERE @leads@ AND id = 1");
    proven(client, &sent(&checked("name::uuid")));
    refused(client, &sent("name::uuid"));
    refused(client, &sent(&checked("id::uuid")));
    let client = "MERGE INTO leads l USING plans p ON l.id = p.id WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (p.id, p.org_id)";
    let sent = |value: &str| {
        format!(
            "MERGE INTO public.leads l USING public.plans p ON @l@ AND l.id = p.id WHEN NOT MATCHED THEN INSERT (id, org_id) VALUES (p.id, {value})"
        )
    };
    proven(client, &sent(&checked("p.org_id")));
    refused(client, &sent("p.org_id"));
}
