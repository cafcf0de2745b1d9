//! COPY of a table, out and in.

use super::{outcome_with, proven, refused};

#[test]
fn a_copied_table_becomes_a_query_over_its_own_rows() {
    let copy = |query: &str| format!("COPY ({query}) TO STDOUT");
    let all = "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@";
    proven("COPY leads TO STDOUT", &copy(all));
    proven(
        "COPY leads (name, id) TO STDOUT",
        &copy("SELECT name, id FROM ONLY public.leads WHERE @leads@"),
    );
    for wrong in [
        "SELECT id, org_id, name FROM ONLY public.leads",
        "SELECT id, org_id, name FROM public.leads WHERE @leads@",
        "SELECT org_id, id, name FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, lower(name) FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, name AS id FROM ONLY public.leads WHERE @leads@",
        "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@ OR true",
        "SELECT id, org_id, name FROM ONLY public.leads WHERE @leads@ LIMIT 1",
        "SELECT id, org_id, name FROM ONLY public.leads, public.calls WHERE @leads@",
        "SELECT id, org_id, name FROM ONLY private.leads WHERE @leads@",
        "SELECT DISTINCT id, org_id, name FROM ONLY public.leads WHERE @leads@",
    ] {
        refused("COPY leads TO STDOUT", &copy(wrong));
    }
    refused(
        "COPY leads TO STDOUT (FORMAT csv)",
        &format!("COPY ({all}) TO STDOUT (FORMAT binary)"),
    );
    refused("COPY leads FROM STDIN", &copy(all));
    refused("COPY leads FROM STDIN", "COPY public.leads FROM STDIN");
}

#[test]
fn copied_rows_are_checked_where_the_keys_stand() {
    use crate::copy::{Fill, Format, KeyColumn, Rows, Style};
    let rows = |column: usize, columns: usize, delimiter: u8| Rows {
        table: "public.leads".to_owned(),
        format: Format::Text(Style {
            delimiter,
            quote: b'"',
            null: (*b"\\N").into(),
            header: false,
        }),
        columns,
        keys: vec![KeyColumn { column, slot: 0 }],
        fills: Vec::new(),
    };
    let filled = |columns: usize, slots: &[usize]| Rows {
        keys: Vec::new(),
        fills: slots
            .iter()
            .map(|slot| Fill {
                slot: *slot,
                type_oid: 2950,
            })
            .collect(),
        ..rows(0, columns, b'|')
    };
    let try_with = |client: &str, list: &str, rows: Rows| {
        let there = format!("COPY public.leads ({list}) FROM STDIN (DELIMITER '|')");
        outcome_with(client, &there, |findings| findings.rows = Some(rows)).is_ok()
    };
    let client = "COPY leads FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "id, org_id, name", rows(1, 3, b'|')));
    assert!(!try_with(client, "id, org_id, name", rows(0, 3, b'|')));
    assert!(!try_with(client, "id, org_id, name", rows(1, 3, b',')));
    assert!(!try_with(client, "id, org_id, name", rows(1, 2, b'|')));
    assert!(!try_with(client, "org_id, id, name", rows(1, 3, b'|')));
    assert!(!try_with(client, "id, name", rows(1, 2, b'|')));
    let client = "COPY leads (name, org_id) FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "name, org_id", rows(1, 2, b'|')));
    let client = "COPY leads (org_id, org_id) FROM STDIN (DELIMITER '|')";
    assert!(!try_with(client, "org_id, org_id", rows(1, 2, b'|')));
    let client = "COPY leads (name, id) FROM STDIN (DELIMITER '|')";
    assert!(try_with(client, "name, id, org_id", filled(2, &[0])));
    assert!(!try_with(client, "name, id, org_id", filled(2, &[1])));
    assert!(!try_with(client, "name, id, org_id", filled(3, &[0])));
    assert!(!try_with(client, "name, id, org_id", filled(2, &[])));
    assert!(!try_with(client, "name, org_id, id", filled(2, &[0])));
    assert!(!try_with(client, "name, id", filled(2, &[0])));
    assert!(!try_with(
        client,
        "name, id, org_id, org_id",
        filled(2, &[0, 0])
    ));
    let client = "COPY leads (org_id, id) FROM STDIN (DELIMITER '|')";
    assert!(!try_with(client, "org_id, id, org_id", filled(2, &[0])));
}
