//! MERGE and PREPARE, broken on purpose.

use super::{outcome_with, proven, refused};

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
        "WHEN MATCHED THEN DELETE RETURNING l.*",
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
    refused(client, sent);
    let unchecked = outcome_with(client, sent, |findings| findings.checks.clear());
    assert!(unchecked.is_err());
    let filled = outcome_with(
        "PREPARE p AS INSERT INTO leads (id) VALUES ($1)",
        "PREPARE p AS INSERT INTO public.leads (id, org_id) VALUES ($1, #org#)",
        |findings| findings.checks.clear(),
    );
    assert!(filled.is_ok(), "{filled:?}");
}
