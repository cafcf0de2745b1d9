//! Rows that a query gives to INSERT: what stands in the tenant column's place.

use super::{expand, proven, refused};

const RAISES: &str = "('pgwarden: the row to insert belongs to another tenant' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.clock_timestamp()::pg_catalog.text, 0))::pg_catalog.bool";

/// `CASE WHEN CASE WHEN <value> = <own> THEN true ELSE <raises> END THEN <written> END`.
fn check(value: &str, own: &str, admitted: &str, other: &str, written: &str) -> String {
    expand(&format!(
        "CASE WHEN CASE WHEN {value} OPERATOR(pg_catalog.=) {own} THEN {admitted} ELSE {other} END THEN {written} END"
    ))
}

fn checked(value: &str) -> String {
    check(value, "#org#", "true", RAISES, "#org#")
}

#[test]
fn a_computed_tenant_is_checked() {
    for (client, rest) in [
        ("SELECT n, v::uuid", " FROM (VALUES ('a', 'b')) AS t(n, v)"),
        ("VALUES ('a', v::uuid)", ""),
    ] {
        let client = format!("INSERT INTO leads (name, org_id) {client}{rest}");
        let with = |value: &str| {
            let there = client.replace("INTO leads", "INTO public.leads");
            there.replace("v::uuid", value)
        };
        proven(&client, &with(&checked("v::uuid")));
        for broken in [
            "v::uuid".to_owned(),
            // Another value is looked at than the client's.
            checked("n::uuid"),
            checked("#org#"),
            // The check lets everything pass.
            check("v::uuid", "v::uuid", "true", RAISES, "#org#"),
            check("v::uuid", "#org#", "true", "true", "#org#"),
            check("v::uuid", "#org#", "true", "'t'::pg_catalog.bool", "#org#"),
            // What is written is not what was looked at.
            check("v::uuid", "#org#", "true", RAISES, "v::uuid"),
            check("v::uuid", "#org#", "true", RAISES, "$6::pg_catalog.uuid"),
            check("v::uuid", "$6::pg_catalog.uuid", "true", RAISES, "#org#"),
            check("v::uuid", "$1::pg_catalog.uuid", "true", RAISES, "#org#"),
        ] {
            refused(&client, &with(&broken));
        }
    }
}

#[test]
fn a_check_is_where_the_key_is() {
    refused(
        "INSERT INTO leads (name, org_id) SELECT n, v FROM plans",
        &format!(
            "INSERT INTO public.leads (name, org_id) SELECT {}, v FROM public.plans",
            checked("n")
        ),
    );
}

#[test]
fn every_arm_of_a_union_is_checked() {
    let client =
        "INSERT INTO leads (name, org_id) SELECT 'x', v FROM plans UNION SELECT 'y', w FROM plans";
    let with = |first: &str, second: &str| {
        format!(
            "INSERT INTO public.leads (name, org_id) SELECT 'x', {first} FROM public.plans UNION SELECT 'y', {second} FROM public.plans"
        )
    };
    let named = |column: &str| format!("{} AS {column}", checked(column));
    proven(client, &with(&named("v"), &named("w")));
    refused(client, &with(&named("v"), "w"));
    refused(client, &with("v", &named("w")));
    refused(client, &with(&named("v"), &named("v")));
    let except = client.replace("UNION", "EXCEPT");
    refused(
        &except,
        &with(&named("v"), &named("w")).replace("UNION", "EXCEPT"),
    );
}

#[test]
fn a_column_keeps_its_name() {
    let client = "INSERT INTO leads (name, org_id) SELECT n, v FROM plans ORDER BY v";
    let with = |value: &str| {
        format!(
            "INSERT INTO public.leads (name, org_id) SELECT n, {value} FROM public.plans ORDER BY v"
        )
    };
    proven(client, &with(&format!("{} AS v", checked("v"))));
    refused(client, &with(&format!("{} AS n", checked("v"))));
}

#[test]
fn a_star_is_wrapped() {
    let client = "INSERT INTO leads (name, org_id) SELECT * FROM plans";
    let with = |outputs: &str, columns: &str| {
        format!(
            "INSERT INTO public.leads (name, org_id) SELECT {outputs} FROM (SELECT * FROM public.plans) AS pgwarden_source ({columns})"
        )
    };
    let (first, second) = ("pgwarden_source.pgwarden_1", "pgwarden_source.pgwarden_2");
    let both = "pgwarden_1, pgwarden_2";
    let good = format!("{first}, {}", checked(second));
    proven(client, &with(&good, both));
    refused(client, &with(&format!("{first}, {second}"), both));
    refused(client, &with(&format!("{first}, {}", checked(first)), both));
    refused(
        client,
        &with(&format!("{second}, {}", checked(second)), both),
    );
    refused(
        client,
        &with(&format!("{}, {second}", checked(first)), both),
    );
    refused(client, &with(&good, "pgwarden_2, pgwarden_1"));
    refused(client, &with(first, both));
    // A relation under the wrapping is looked at like any other.
    let scoped = client.replace("FROM plans", "FROM calls");
    refused(&scoped, &with(&good, both).replace("plans", "calls"));
    proven(
        &scoped,
        &with(&good, both).replace("public.plans", "public.calls WHERE @calls@"),
    );
}
