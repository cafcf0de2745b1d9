//! THREATS D7: COPY of scoped tables, byte for byte what PostgreSQL writes under row level security.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::session;

fn same(twins: &mut Twins, sql: &str) {
    let messages = twins.same(&Frames::new().query(sql));
    assert!(messages.iter().any(|it| it.tag == b'd'), "no rows: {sql}");
    twins.same(&Frames::new().run(sql, &[]).sync());
}

#[test]
fn d7_copy_to_in_every_format() {
    let mut twins = Twins::new();
    for options in [
        "",
        "(FORMAT text, DELIMITER '|', NULL 'none')",
        "(FORMAT csv, HEADER, QUOTE '''', ESCAPE '#', FORCE_QUOTE *)",
        "(FORMAT csv, HEADER true, FORCE_QUOTE (full_name, org_id), NULL '-')",
        "(FORMAT binary)",
        "BINARY",
        "WITH CSV HEADER",
        "WITH DELIMITER AS '^'",
    ] {
        same(&mut twins, &format!("COPY leads TO STDOUT {options}"));
    }
}

#[test]
fn d7_copy_to_of_every_kind_of_table() {
    let mut twins = Twins::new();
    for table in [
        "leads (phone, id)",
        "public.calls",
        "\"Order Items\"",
        "\"Order Items\" (\"select\", org_id)",
        "organizations",
        "user_credits",
        "events_2026",
        "notes",
        "notes_old",
        "payments",
        "cold_call_logs (cost, id)",
    ] {
        same(
            &mut twins,
            &format!("COPY {table} TO STDOUT (FORMAT csv, HEADER)"),
        );
    }
}

/// The generated column is left out, as everywhere but under row level security of older servers.
#[test]
fn d7_copy_to_leaves_generated_columns_out() {
    let mut twins = Twins::new();
    let all = Frames::new().query("COPY cold_call_logs TO STDOUT");
    let stored = Frames::new().query("COPY cold_call_logs (id, org_id, note, cost) TO STDOUT");
    let (all, stored) = (twins.proxied(&all), twins.proxied(&stored));
    let body = |messages: &[pgwarden_tests::wire::Message]| -> Vec<Vec<u8>> {
        messages.iter().map(|it| it.body.clone()).collect()
    };
    assert_eq!(body(&all), body(&stored));
}

#[test]
fn d7_copy_to_among_other_statements() {
    let mut twins = Twins::new();
    for sql in [
        "BEGIN; COPY leads (id) TO STDOUT; SELECT 1/0; COMMIT",
        "ROLLBACK",
        "SELECT 1; COPY leads (id) TO STDOUT; COPY calls (id) TO STDOUT",
        "COPY leads (nope) TO STDOUT",
    ] {
        twins.same(&Frames::new().query(sql));
    }
    twins.same(
        &Frames::new()
            .run("COPY leads (id) TO STDOUT", &[])
            .run("SELECT count(*) FROM leads", &[])
            .sync(),
    );
}

/// What a COPY FROM is sent, in one frame and cut into single bytes.
fn copy_in(sql: &str, data: &[u8], cut: bool) -> Frames {
    let mut frames = Frames::new().query(sql);
    for piece in data.chunks(if cut { 1 } else { data.len().max(1) }) {
        frames = frames.raw(b'd', piece);
    }
    frames.raw(b'c', b"")
}

const A: &str = "a0000000-0000-0000-0000-000000000001";
const B: &str = "b0000000-0000-0000-0000-000000000002";
const STORED: &str = "SELECT * FROM coupons ORDER BY code";

fn loads(twins: &mut Twins, options: &str, data: &[u8]) {
    for cut in [false, true] {
        twins.proxied(&Frames::new().query("BEGIN"));
        let sql = format!("COPY coupons (code, org_id, percent) FROM STDIN {options}");
        let messages = twins.proxied(&copy_in(&sql, data, cut));
        assert!(
            messages.iter().any(|it| it.tag == b'C'),
            "refused: {:?} {:?}",
            data.escape_ascii().to_string(),
            pgwarden_tests::frames::shown(&messages)
        );
        let mine = twins.proxied(&Frames::new().query(STORED));
        twins.proxied(&Frames::new().query("ROLLBACK"));
        assert!(mine.iter().filter(|it| it.tag == b'D').count() > 2);
    }
}

fn refuses(twins: &mut Twins, options: &str, data: &[u8]) {
    let before = twins.same(&Frames::new().query(STORED));
    for cut in [false, true] {
        let sql = format!("COPY coupons (code, org_id, percent) FROM STDIN {options}");
        let messages = twins.proxied(&copy_in(&sql, data, cut));
        let error = messages.iter().find(|it| it.tag == b'E');
        let error = error
            .unwrap_or_else(|| panic!("passed: {}", data.escape_ascii()))
            .error();
        assert_eq!(error.code(), "42501", "{}", data.escape_ascii());
        let after = twins.same(&Frames::new().query(STORED));
        assert_eq!(
            pgwarden_tests::frames::shown(&before),
            pgwarden_tests::frames::shown(&after)
        );
    }
}

#[test]
fn d7_copy_from_stores_own_rows() {
    let mut twins = Twins::new();
    let upper = A.to_uppercase();
    loads(
        &mut twins,
        "",
        format!("n1\t{A}\t5\nn\\t2\t{{{upper}}}\t\\N\n").as_bytes(),
    );
    loads(
        &mut twins,
        "(FORMAT csv, HEADER)",
        format!("a,b,c\r\n\"x\n1\",\"{A}\",5\r\ny,{A},\r\n").as_bytes(),
    );
    loads(
        &mut twins,
        "(DELIMITER '|', NULL '-')",
        format!("n1|{A}|5\nn2|{A}|-").as_bytes(),
    );
}

#[test]
fn d7_copy_from_refuses_foreign_rows() {
    let mut twins = Twins::new();
    for data in [
        format!("n1\t{B}\t5\n"),
        format!("n1\t{A}\t5\nn2\t{B}\t5\n"),
        "n1\t\\N\t5\n".to_owned(),
        format!("n1\t\\x61{}\t5\n", &A[1..]),
        format!("n1\t{A}\t5\n\\.\nn2\t{B}\t5\n"),
        format!("n1\\\t{A}\t{B}\t5\n"),
        format!("n1\t{A}\t5\rn2\t{B}\t5\r"),
    ] {
        refuses(&mut twins, "", data.as_bytes());
    }
    refuses(
        &mut twins,
        "(FORMAT csv)",
        format!("\"n1,{A},5\n\",{B},5\n").as_bytes(),
    );
    refuses(
        &mut twins,
        "(DELIMITER '-')",
        format!("n1-{A}-5\n").as_bytes(),
    );
    refuses(
        &mut twins,
        &format!("(NULL '{A}')"),
        format!("n1\t{A}\t5\n").as_bytes(),
    );
    refuses(
        &mut twins,
        "(FORMAT binary)",
        b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\0\x03\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",
    );
}

/// WHERE leaves rows out of those that were checked.
#[test]
fn d7_copy_from_with_a_condition() {
    let mut twins = Twins::new();
    let both = format!("n1\t{A}\t5\nn2\t{A}\t50\n");
    let filled = "n1\t5\nn2\t50\n";
    let mine = "org_id = auth_org_id()";
    for (sql, data, stored) in [
        (
            "(code, org_id, percent) FROM STDIN WHERE percent > 5",
            &*both,
            "COPY 1",
        ),
        (
            "(code, percent) FROM STDIN WHERE percent > 5",
            filled,
            "COPY 1",
        ),
        (
            &format!("(code, percent) FROM STDIN WHERE {mine}"),
            filled,
            "COPY 2",
        ),
        (
            "(code, org_id, percent) FROM STDIN WHERE false",
            &*both,
            "COPY 0",
        ),
    ] {
        twins.proxied(&Frames::new().query("BEGIN"));
        let messages = twins.proxied(&copy_in(
            &format!("COPY coupons {sql}"),
            data.as_bytes(),
            true,
        ));
        let tag = messages
            .iter()
            .find(|it| it.tag == b'C')
            .map(|it| it.body.clone());
        let shown = pgwarden_tests::frames::shown(&messages);
        assert_eq!(
            tag.as_deref(),
            Some(format!("{stored}\0").as_bytes()),
            "{shown:?}"
        );
        twins.proxied(&Frames::new().query("ROLLBACK"));
    }
    // Not even a row that WHERE would leave out may be another tenant's.
    refuses(
        &mut twins,
        "WHERE percent > 5",
        format!("n1\t{B}\t1\n").as_bytes(),
    );
}

/// libpq sends Sync right behind Execute and once more behind the rows.
#[test]
fn d7_copy_from_in_the_extended_protocol() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    for (tenant, code) in [(A, ""), (B, "42501"), (A, "23505")] {
        let row = format!("n1\t{tenant}\t5\n");
        let sql = "COPY coupons (code, org_id, percent) FROM STDIN";
        let reply = client.extended_with(sql, row.as_bytes());
        assert_eq!((reply.code(), reply.status), (code, b'I'));
        assert_eq!(client.query("SELECT 1").value().as_deref(), Some("1"));
    }
    arena.restore();
}

/// The rows that a COPY without the tenant column stores are those of one with it.
fn fills(twins: &mut Twins, options: &str, (without, with): (&[u8], &[u8])) {
    let stored = |twins: &mut Twins, columns: &str, data: &[u8], cut: bool| {
        twins.proxied(&Frames::new().query("BEGIN"));
        let sql = format!("COPY coupons ({columns}) FROM STDIN {options}");
        let messages = twins.proxied(&copy_in(&sql, data, cut));
        let shown = pgwarden_tests::frames::shown(&messages);
        let response = messages.iter().find(|it| it.tag == b'G').expect("a COPY");
        assert_eq!(usize::from(response.body[2]), columns.split(',').count());
        assert!(
            messages.iter().any(|it| it.tag == b'C'),
            "refused: {shown:?}"
        );
        let rows = twins.proxied(&Frames::new().query(STORED));
        twins.proxied(&Frames::new().query("ROLLBACK"));
        pgwarden_tests::frames::shown(&rows)
    };
    let wanted = stored(twins, "code, percent, org_id", with, false);
    for cut in [false, true] {
        assert_eq!(
            stored(twins, "code, percent", without, cut),
            wanted,
            "{options}"
        );
    }
}

#[test]
fn d7_copy_from_fills_the_tenant_column() {
    let mut twins = Twins::new();
    let both = |text: &str| {
        let with = text.replace('@', A);
        let without = ["\t@", "|@", ",\"@\"", "-{@}"];
        let without = without
            .iter()
            .fold(text.to_owned(), |text, it| text.replace(it, ""));
        (without.into_bytes(), with.into_bytes())
    };
    for (options, text) in [
        ("", "n1\t5\t@\nn\\t2\t\\N\t@\n\\.\n"),
        ("", "n1\t5\t@\r\nn2\t6\t@"),
        ("(DELIMITER '|', NULL '-')", "n1|5|@\nn2|-|@"),
        (
            "(FORMAT csv, HEADER)",
            "code,percent\n\"x\nn1\",5,\"@\"\ny,,\"@\"\n",
        ),
    ] {
        let (without, with) = both(text);
        fills(&mut twins, options, (&without, &with));
    }
    let field = |bytes: &[u8]| {
        [
            &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..],
            bytes,
        ]
        .concat()
    };
    let header = b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0";
    let (code, percent) = (field(b"n1"), field(&5_u32.to_be_bytes()));
    let own: Vec<u8> = A.bytes().filter(|it| *it != b'-').collect();
    let own: Vec<u8> = own
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    let without = [&header[..], &[0, 2], &code, &percent, &[0xff, 0xff]].concat();
    let with = [
        &header[..],
        &[0, 3],
        &code,
        &percent,
        &field(&own),
        &[0xff, 0xff],
    ]
    .concat();
    fills(&mut twins, "(FORMAT binary)", (&without, &with));
}

/// A row with a column too many or too few fails as it does at the server.
#[test]
fn d7_copy_from_fills_no_row_of_another_width() {
    let mut twins = Twins::new();
    for data in [
        &b"n1\n"[..],
        b"n1\t5\tx\n",
        b"n1\t5\ta0000000-0000-0000-0000-000000000001\n",
    ] {
        let messages = twins.proxied(&copy_in(
            "COPY coupons (code, percent) FROM STDIN",
            data,
            false,
        ));
        let error = messages.iter().find(|it| it.tag == b'E').expect("an error");
        // The value may stand where a column is missing, and be none of its type.
        assert!(matches!(error.error().code(), "22P02" | "22P04"));
    }
}

/// NULL is written as the value that each row would be given.
#[test]
fn d7_copy_from_that_can_fill_no_row_is_an_error_and_not_the_end() {
    let arena = Arena::take();
    let mut client = session(&arena.plain(), Tenant::A);
    let null = Tenant::A.org();
    let sql = format!("COPY payments (amount) FROM STDIN (NULL '{null}')");
    let count = "SELECT count(*) FROM payments";
    let before = client.query(count).ok().value();
    for data in [&b"1\n"[..], b""] {
        let reply = client.query_with(&sql, data);
        assert_eq!(reply.denied(), Some("unproven_tenant_value"), "{reply:?}");
        let reply = client.extended_with(&sql, data);
        assert_eq!(reply.denied(), Some("unproven_tenant_value"), "{reply:?}");
        assert_eq!(client.query(count).ok().value(), before);
    }
}
