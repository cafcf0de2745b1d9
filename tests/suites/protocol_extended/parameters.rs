//! Parameters: the client's own, their types and formats, and the hidden ones behind them.

use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::wire::tags;

use super::{FOREIGN, OWN, binary, error};

#[test]
fn g2_describe_shows_the_clients_own_parameters_only() {
    let mut twins = Twins::new();
    for sql in [
        "SELECT * FROM leads",
        "SELECT * FROM leads WHERE score = $1",
        "SELECT l.id, c.name FROM leads l LEFT JOIN campaigns c ON c.id = $2 AND c.name = $1",
        "INSERT INTO notes (id, txt) VALUES ($1, $2) RETURNING id",
        "UPDATE notes SET txt = $1, org_id = $2 WHERE id = $3",
        "SELECT $1::text",
        "SET statement_timeout = 4000",
        "",
    ] {
        twins.same(&Frames::new().parse("", sql).target(b'D', b'S', "").sync());
    }
}

#[test]
fn g2_declared_types() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse_typed("", "SELECT id FROM leads WHERE score = $1", &[20])
            .target(b'D', b'S', "")
            .bind("", "", &["3"])
            .execute("", 0)
            .sync(),
    );
    // More declared types than the text uses: they count as parameters.
    twins.same(
        &Frames::new()
            .parse_typed("", "SELECT id FROM leads WHERE score = $1", &[23, 25])
            .target(b'D', b'S', "")
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse_typed("", "SELECT id FROM leads WHERE score = $1", &[23, 25])
            .bind("", "", &["3", "x"])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse_typed("", "SELECT id FROM leads", &[25])
            .bind("", "", &["x"])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_surplus_values_never_take_the_hidden_parameters_place() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().run("SELECT id FROM leads", &[FOREIGN]).sync());
    twins.same(
        &Frames::new()
            .run("SELECT id FROM leads WHERE score = $1", &["3", FOREIGN])
            .sync(),
    );
    twins.same(
        &Frames::new()
            .run("SELECT id FROM leads WHERE score = $1", &[])
            .sync(),
    );
    twins.same(
        &Frames::new()
            .run(
                "SELECT id FROM leads WHERE score = $1",
                &["3", FOREIGN, FOREIGN],
            )
            .sync(),
    );
}

#[test]
fn g2_naming_the_hidden_parameter() {
    // $2 would be ours if it were not the client's.
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE score = $1 OR org_id = $2")
            .target(b'D', b'S', "")
            .bind("", "", &["3", FOREIGN])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE org_id = $3")
            .target(b'D', b'S', "")
            .sync(),
    );
}

#[test]
fn g2_bad_bind_messages() {
    let mut twins = Twins::new();
    let two = [Some(b"3".as_slice()), Some(b"4".as_slice())];
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE score IN ($1, $2)")
            .bind_with("", "", &[0, 0, 0], &two, &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE score IN ($1, $2)")
            .bind_with("", "", &[], &two, &[0, 1, 0])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE score IN ($1, $2)")
            .bind_with("", "", &[7], &two, &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE score IN ($1, $2)")
            .bind_with("", "", &[0, 0], &two, &[9])
            .execute("", 0)
            .sync(),
    );
    twins.same(&Frames::new().query("SELECT count(*) FROM leads"));
}

#[test]
fn g2_truncated_bind_is_a_protocol_error() {
    let mut twins = Twins::new();
    for body in [
        &b"\0\0\0\x01"[..],
        b"\0\0\0\0\0\x05",
        b"\0\0\0\0\0\x01\0\0\0\x09ab",
        b"\0\0\0\0\0\x01\xff\xff\xff\xfe\0\0",
        b"\0\0\0\0\0\x01\x7f\xff\xff\xff",
        b"x",
    ] {
        let messages = twins.proxied(
            &Frames::new()
                .parse("", "SELECT id FROM leads WHERE score = $1")
                .raw(b'B', body)
                .sync(),
        );
        assert_eq!(error(&messages).0, "08P01", "{body:?}");
        if messages.last().is_none_or(|last| last.tag != b'Z') {
            // Ending the connection is as good; the rest needs a new one.
            return;
        }
    }
    twins.same(&Frames::new().query("SELECT count(*) FROM leads"));
}

#[test]
fn g2_binary_parameters_and_results() {
    let mut twins = Twins::new();
    let three = 3_i32.to_be_bytes();
    twins.same(
        &Frames::new()
            .parse(
                "",
                "SELECT id, score, full_name, created_at FROM leads WHERE score = $1",
            )
            .bind_with("", "", &[1], &[Some(&three)], &[1])
            .target(b'D', b'P', "")
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id, score FROM leads WHERE score = $1")
            .bind_with("", "", &[1], &[Some(&three)], &[1, 0])
            .target(b'D', b'P', "")
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse(
                "",
                "SELECT id FROM leads WHERE score = $1 AND full_name = $2",
            )
            .bind_with("", "", &[1, 0], &[Some(&three), Some(b"Lead 3")], &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM leads WHERE org_id = $1")
            .bind_with("", "", &[1], &[Some(&binary(FOREIGN))], &[1])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn d2_tenant_value_in_both_formats() {
    let mut twins = Twins::new();
    let insert = "INSERT INTO notes (id, org_id, txt) VALUES (901, $1, 'x') RETURNING org_id";
    let own = binary(OWN);
    twins.same(
        &Frames::new()
            .parse("", insert)
            .bind_with("", "", &[1], &[Some(&own)], &[1])
            .execute("", 0)
            .sync(),
    );
    twins.same(&Frames::new().query("DELETE FROM notes WHERE id = 901"));
    for text in [OWN, "A0000000-0000-0000-0000-000000000001"] {
        twins.same(
            &Frames::new()
                .parse("", insert)
                .bind("", "", &[text])
                .execute("", 0)
                .sync(),
        );
        twins.same(&Frames::new().query("DELETE FROM notes WHERE id = 901"));
    }
    let foreign = binary(FOREIGN);
    for (format, value) in [
        (0_u16, FOREIGN.as_bytes()),
        (1, foreign.as_slice()),
        (1, &own[..15]),
        (0, b"x"),
        (0, b""),
        (1, OWN.as_bytes()),
    ] {
        let messages = twins.proxied(
            &Frames::new()
                .parse("", insert)
                .bind_with("", "", &[format], &[Some(value)], &[])
                .execute("", 0)
                .sync(),
        );
        let (code, _) = error(&messages);
        assert!(
            ["42501", "22P02", "22P03", "08P01"].contains(&code.as_str()),
            "{format} {value:?}: {code}"
        );
    }
    let messages = twins.proxied(
        &Frames::new()
            .parse("", insert)
            .bind_with("", "", &[], &[None], &[])
            .execute("", 0)
            .sync(),
    );
    assert_eq!(error(&messages).0, "42501");
}

#[test]
fn g2_very_many_parameters() {
    let mut twins = Twins::new();
    for count in [1000, 65_534, 65_535] {
        let list: Vec<_> = (1..=count).map(|at| format!("${at}")).collect();
        let sql = format!("SELECT id FROM leads WHERE score IN ({})", list.join(","));
        let values = vec!["3"; count];
        let frames = Frames::new().run(&sql, &values).sync();
        let ours = twins.proxied(&frames);
        if ours.iter().any(|message| message.tag == b'E') {
            let (code, _) = error(&ours);
            assert!(
                count > 60_000
                    && ["54000", "54001", "54011", "0A000", "42501"].contains(&code.as_str()),
                "{count}: {code}"
            );
        } else {
            let theirs = frames.exchange(&mut twins.direct);
            assert_eq!(tags(&ours), tags(&theirs), "{count}");
        }
    }
    twins.same(&Frames::new().query("SELECT count(*) FROM leads"));
}
