//! Relations that are reached through a parent.

use super::{proven, refused};

const CLIENT: &str = "SELECT id FROM parts WHERE id > 1";

/// `{}` stands for what the predicate says.
fn read(predicate: &str) -> String {
    format!("SELECT id FROM public.parts WHERE {predicate} AND id > 1")
}

/// The predicate on the client's relation of that name.
fn leads_from(name: &str) -> String {
    format!(
        "EXISTS (SELECT FROM public.calls AS pgwarden_parent_1 \
         WHERE pgwarden_parent_1.id OPERATOR(pg_catalog.=) {name}.call_id \
         AND EXISTS (SELECT FROM public.leads AS pgwarden_parent_2 \
         WHERE pgwarden_parent_2.id OPERATOR(pg_catalog.=) pgwarden_parent_1.lead_id \
         AND pgwarden_parent_2.org_id OPERATOR(pg_catalog.=) $5::pg_catalog.uuid))"
    )
}

/// Refuses each change of what is proven.
fn refuses_changes(client: &str, whole: &str, changes: &[(&str, &str)]) {
    proven(client, whole);
    for (from, to) in changes {
        assert!(whole.contains(from), "{from}");
        refused(client, &whole.replace(from, to));
        refused(client, &whole.replacen(from, to, 1));
    }
}

#[test]
fn an_exists_guards_only_as_the_key_says() {
    refuses_changes(
        CLIENT,
        &read(&leads_from("parts")),
        &[
            ("EXISTS", "NOT EXISTS"),
            ("public.calls", "public.plans"),
            ("public.leads", "private.leads"),
            ("public.leads", "leads"),
            ("public.calls", "ONLY public.calls"),
            ("pgwarden_parent_1.id", "pgwarden_parent_1.org_id"),
            ("pgwarden_parent_2.id", "pgwarden_parent_1.id"),
            ("parts.call_id", "parts.id"),
            ("parts.call_id", "call_id"),
            ("parts.call_id", "pgwarden_parent_1.call_id"),
            ("pgwarden_parent_1.lead_id", "pgwarden_parent_2.lead_id"),
            ("pgwarden_parent_2.org_id", "pgwarden_parent_1.org_id"),
            ("OPERATOR(pg_catalog.=)", "="),
            ("OPERATOR(pg_catalog.=)", "OPERATOR(pg_catalog.<>)"),
            ("$5", "$4"),
            ("$5", "$6"),
            ("::pg_catalog.uuid", "::pg_catalog.text"),
            ("::pg_catalog.uuid", ""),
            ("lead_id AND", "lead_id OR"),
            ("pgwarden_parent_2", "pgwarden_parent_1"),
            ("pgwarden_parent_1", "p"),
            (
                "SELECT FROM public.leads",
                "SELECT FROM public.plans, public.leads",
            ),
            ("$5::pg_catalog.uuid", "$5::pg_catalog.uuid OR true"),
        ],
    );
    refused(CLIENT, &read("true"));
    refused(CLIENT, "SELECT id FROM public.parts WHERE id > 1");
}

#[test]
fn an_exists_guards_in_joins_and_barriers() {
    let way = leads_from("parts");
    proven(
        "SELECT 1 FROM plans LEFT JOIN parts ON true",
        &format!(
            "SELECT 1 FROM public.plans LEFT JOIN (public.parts JOIN (SELECT) AS pgwarden_1 ON {way}) ON true"
        ),
    );
    refused(
        "SELECT 1 FROM plans LEFT JOIN parts ON true",
        &format!("SELECT 1 FROM public.plans LEFT JOIN public.parts ON true WHERE {way}"),
    );
    let client = "SELECT id FROM parts WHERE 1 / id > 1";
    let barrier = |when: &str| {
        format!(
            "SELECT id FROM public.parts WHERE {way} AND CASE WHEN {when} THEN 1 / id > 1 ELSE false END"
        )
    };
    proven(client, &barrier(&way));
    refused(client, &barrier("true"));
    refused(client, &barrier(&leads_from("other")));
}

fn checked(value: &str) -> String {
    let way = leads_from("pgwarden_value").replace("pgwarden_value.call_id", "pgwarden_value.v");
    format!(
        "(SELECT CASE WHEN {way} THEN pgwarden_value.v ELSE \
         ('pgwarden: no' || pg_catalog.left(pg_catalog.num_nulls(pgwarden_value.v)::pg_catalog.text, 0))\
         ::pg_catalog.bool::pg_catalog.text::pg_catalog.int4 END \
         FROM (SELECT {value}::pg_catalog.int4 OFFSET 0) AS pgwarden_value (v))"
    )
}

#[test]
fn a_written_reference_is_checked() {
    let value = checked("7");
    refuses_changes(
        "INSERT INTO parts (id, call_id) VALUES (1, 7)",
        &format!("INSERT INTO public.parts (id, call_id) VALUES (1, {value})"),
        &[
            (value.as_str(), "7"),
            ("THEN pgwarden_value.v ELSE", "THEN 8 ELSE"),
            ("SELECT 7::", "SELECT 8::"),
            ("OFFSET 0", ""),
            ("OFFSET 0", "OFFSET 1"),
            ("'pgwarden: no'", "'true'"),
            ("pg_catalog.num_nulls(pgwarden_value.v)", "pgwarden_value.v"),
            ("::pg_catalog.bool", ""),
            ("::pg_catalog.int4 END", "::pg_catalog.int8 END"),
            ("CASE WHEN EXISTS", "CASE WHEN NOT EXISTS"),
            ("public.calls", "public.plans"),
        ],
    );
    let set = |value: &str| {
        format!(
            "UPDATE public.parts SET call_id = {value} WHERE {}",
            leads_from("parts")
        )
    };
    proven("UPDATE parts SET call_id = 7", &set(&value));
    refused("UPDATE parts SET call_id = 7", &set("7"));
    refused("UPDATE parts SET call_id = 8", &set(&value));
    let select = |value: &str| {
        format!("INSERT INTO public.parts (id, call_id) SELECT id, {value} FROM public.plans")
    };
    let client = "INSERT INTO parts (id, call_id) SELECT id, plans.id FROM plans";
    proven(client, &select(&checked("plans.id")));
    refused(client, &select("plans.id"));
}

#[test]
fn a_reference_is_not_left_open() {
    for open in [
        "INSERT INTO parts (id) VALUES (1)",
        "INSERT INTO parts VALUES (1)",
        "INSERT INTO parts DEFAULT VALUES",
        "INSERT INTO parts (id, call_id) VALUES (1, DEFAULT)",
        "INSERT INTO parts (id) SELECT id FROM plans",
        "INSERT INTO parts SELECT id FROM plans",
        "INSERT INTO parts SELECT * FROM plans",
        "INSERT INTO parts (id, call_id) SELECT 1, 2 UNION SELECT 3, 4",
    ] {
        let qualified = open
            .replace("plans", "public.plans")
            .replace("INTO parts", "INTO public.parts");
        refused(open, &qualified);
    }
}
