//! THREATS G2: the extended protocol, frame by frame. PostgreSQL itself says what is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::wire::{Message, tags};

const OWN: &str = "a0000000-0000-0000-0000-000000000001";
const FOREIGN: &str = "b0000000-0000-0000-0000-000000000002";

fn binary(uuid: &str) -> Vec<u8> {
    uuid.parse::<uuid::Uuid>().unwrap().as_bytes().to_vec()
}

/// The first error in the messages.
fn error(messages: &[Message]) -> (String, String) {
    let found = messages.iter().find(|message| message.tag == b'E');
    let error = found
        .unwrap_or_else(|| panic!("no error in {}", tags(messages)))
        .error();
    (
        error.code().to_owned(),
        error.reason().unwrap_or_default().to_owned(),
    )
}

#[test]
fn g2_unnamed_statement() {
    Twins::new().same(
        &Frames::new()
            .run("SELECT id, full_name FROM leads WHERE score = $1", &["3"])
            .sync(),
    );
}

#[test]
fn g2_named_statement_lives_on() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("s", "SELECT id FROM leads WHERE score = $1")
            .target(b'D', b'S', "s")
            .sync(),
    );
    for score in ["1", "3", "9"] {
        twins.same(
            &Frames::new()
                .bind("", "s", &[score])
                .target(b'D', b'P', "")
                .execute("", 0)
                .sync(),
        );
    }
    twins.same(&Frames::new().query("SELECT 1"));
    twins.same(&Frames::new().bind("", "s", &["5"]).execute("", 0).sync());
    twins.same(&Frames::new().target(b'C', b'S', "s").sync());
    twins.same(&Frames::new().bind("", "s", &["5"]).execute("", 0).sync());
}

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
fn g2_same_name_parsed_twice() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    twins.same(&Frames::new().parse("s", "SELECT id FROM leads").sync());
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(
        &Frames::new()
            .parse("s", "SELECT 1")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(
        &Frames::new()
            .target(b'C', b'S', "s")
            .parse("s", "SELECT id FROM campaigns")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_unnamed_parsed_again_replaces() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM notes")
            .parse("", "SELECT id FROM campaigns")
            .bind("", "", &[])
            .execute("", 0)
            .sync(),
    );
    twins.same(&Frames::new().bind("", "", &[]).execute("", 0).sync());
    twins.same(&Frames::new().query("SELECT 1"));
    twins.same(&Frames::new().bind("", "", &[]).execute("", 0).sync());
}

#[test]
fn g2_failed_parse_leaves_no_name() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("s", "SELECT nosuch FROM leads").sync());
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(
        &Frames::new()
            .parse("s", "SELECT id FROM notes")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_failed_parse_destroys_the_unnamed_statement() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("", "SELECT id FROM notes").sync());
    twins.same(&Frames::new().parse("", "SELEC").sync());
    twins.same(&Frames::new().bind("", "", &[]).execute("", 0).sync());
}

#[test]
fn g2_denied_parse_leaves_no_name() {
    let mut twins = Twins::new();
    let messages = twins.proxied(
        &Frames::new()
            .parse("s", "SELECT * FROM internal_secrets")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
    assert_eq!(tags(&messages), "EZ");
    let messages = twins.proxied(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    assert_eq!(error(&messages).0, "26000");
    twins.same(
        &Frames::new()
            .parse("s", "SELECT id FROM notes")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_denied_parse_of_a_taken_name_keeps_the_old_statement() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    let messages = twins.proxied(
        &Frames::new()
            .parse("s", "SELECT * FROM internal_secrets")
            .sync(),
    );
    assert_eq!(tags(&messages), "EZ");
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
}

#[test]
fn g2_failing_parse_in_the_middle_of_a_pipeline() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("SELECT id FROM notes", &[])
        .run("SELECT nosuch FROM leads", &[])
        .run("SELECT id FROM campaigns", &[])
        .sync();
    twins.same(&frames);
    twins.same(&Frames::new().run("SELECT count(*) FROM leads", &[]).sync());
}

#[test]
fn g2_several_syncs_in_one_write() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("SELECT id FROM notes", &[])
        .sync()
        .run("SELECT 1/0", &[])
        .sync()
        .run("SELECT id FROM campaigns", &[])
        .sync()
        .sync()
        .query("SELECT count(*) FROM leads")
        .run("SELECT 3", &[])
        .sync();
    twins.same(&frames);
}

#[test]
fn g2_denial_does_not_overtake_replies_the_server_owes() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("SELECT count(*) FROM leads, calls", &[])
        .run("SELECT * FROM internal_secrets", &[])
        .run("SELECT 1", &[])
        .sync()
        .run("SELECT 2", &[])
        .sync();
    let messages = twins.proxied(&frames);
    assert_eq!(tags(&messages), "12TDCEZ12TDCZ");
    assert_eq!(
        error(&messages),
        ("42501".to_owned(), "unlisted_relation".to_owned())
    );
}

#[test]
fn g2_denial_after_a_write_in_the_same_pipeline_undoes_the_write() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("UPDATE notes SET txt = 'changed'", &[])
        .run("SELECT * FROM internal_secrets", &[])
        .sync();
    let messages = twins.proxied(&frames);
    assert_eq!(tags(&messages), "12nCEZ");
    assert_eq!(messages.last().unwrap().body, b"I");
    twins.same(&Frames::new().query("SELECT id, txt FROM notes"));
}

#[test]
fn g2_denied_bind_after_a_write_undoes_the_write() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("UPDATE notes SET txt = 'changed'", &[])
        .run(
            "INSERT INTO notes (id, org_id) VALUES (901, $1)",
            &[FOREIGN],
        )
        .run("SELECT 1", &[])
        .sync();
    let messages = twins.proxied(&frames);
    assert_eq!(
        error(&messages),
        ("42501".to_owned(), "foreign_tenant_value".to_owned())
    );
    assert_eq!(messages.last().unwrap().body, b"I");
    twins.same(&Frames::new().query("SELECT id, txt FROM notes"));
}

#[test]
fn g2_denial_in_a_transaction_block() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().query("BEGIN"));
    twins.same(&Frames::new().query("UPDATE notes SET txt = 'changed'"));
    let messages = twins.proxied(
        &Frames::new()
            .run("SELECT * FROM internal_secrets", &[])
            .sync(),
    );
    assert_eq!(tags(&messages), "EZ");
    assert_eq!(messages.last().unwrap().body, b"E");
    twins.direct.query("SELECT 1/0");
    twins.same(&Frames::new().run("SELECT id FROM notes", &[]).sync());
    twins.same(&Frames::new().query("SELECT id FROM notes"));
    twins.same(&Frames::new().query("COMMIT"));
    twins.same(&Frames::new().query("SELECT id, txt FROM notes"));
}

#[test]
fn g2_prepared_before_the_transaction_failed() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("s", "SELECT id FROM notes")
            .parse("r", "ROLLBACK")
            .sync(),
    );
    twins.same(&Frames::new().query("BEGIN"));
    twins.same(&Frames::new().query("SELECT 1/0"));
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(&Frames::new().bind("", "r", &[]).execute("", 0).sync());
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
}

#[test]
fn g2_bind_without_parse_and_execute_without_bind() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().bind("", "nosuch", &[]).execute("", 0).sync());
    twins.same(&Frames::new().execute("nosuch", 0).sync());
    twins.same(&Frames::new().target(b'D', b'S', "nosuch").sync());
    twins.same(&Frames::new().target(b'D', b'P', "nosuch").sync());
    twins.same(
        &Frames::new()
            .target(b'C', b'S', "nosuch")
            .target(b'C', b'P', "nosuch")
            .sync(),
    );
    twins.same(&Frames::new().raw(b'D', b"X\0").sync());
    twins.same(&Frames::new().query("SELECT 1"));
}

#[test]
fn g2_the_proxys_own_statement_names_are_not_the_clients() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    for number in 0..4 {
        twins.same(
            &Frames::new()
                .bind("", &format!("pgwarden_{number}"), &[])
                .execute("", 0)
                .sync(),
        );
    }
    twins.same(
        &Frames::new()
            .target(b'C', b'S', "pgwarden_1")
            .target(b'C', b'S', "pgwarden_0")
            .sync(),
    );
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(
        &Frames::new()
            .parse("pgwarden_1", "SELECT 5")
            .bind("", "pgwarden_1", &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_flush_without_sync() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("SELECT count(*) FROM leads", &[])
        .raw(b'H', b"");
    for client in [&mut twins.proxied, &mut twins.direct] {
        frames.exchange(client);
        let mut seen = String::new();
        while !seen.ends_with('C') {
            seen.push(client.read().unwrap().tag as char);
        }
        assert_eq!(seen, "12TDC");
    }
    twins.same(&Frames::new().run("SELECT id FROM notes", &[]).sync());
}

#[test]
fn g2_denial_then_flush_answers_at_once() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .run("SELECT * FROM internal_secrets", &[])
        .raw(b'H', b"");
    twins.proxied(&frames);
    assert_eq!(twins.proxied.read().unwrap().tag, b'E');
    let messages = twins.proxied(&Frames::new().run("SELECT 1", &[]).sync());
    assert_eq!(tags(&messages), "Z", "everything up to Sync is skipped");
}

#[test]
fn g2_suspended_portals() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().query("BEGIN"));
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM notes ORDER BY id")
            .bind("p", "", &[])
            .execute("p", 2)
            .sync(),
    );
    twins.same(&Frames::new().execute("p", 3).sync());
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM campaigns")
            .bind("q", "", &[])
            .execute("q", 1)
            .execute("p", 1)
            .sync(),
    );
    twins.same(&Frames::new().execute("p", 0).execute("p", 0).sync());
    twins.same(&Frames::new().target(b'C', b'P', "q").execute("q", 1).sync());
    twins.same(&Frames::new().query("ROLLBACK"));
    twins.same(&Frames::new().execute("p", 0).sync());
}

#[test]
fn g2_portal_ends_with_its_transaction() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM notes")
            .bind("p", "", &[])
            .execute("p", 2)
            .sync(),
    );
    twins.same(&Frames::new().execute("p", 2).sync());
}

#[test]
fn g2_portal_bound_twice() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().query("BEGIN"));
    twins.same(
        &Frames::new()
            .parse("", "SELECT id FROM notes")
            .bind("p", "", &[])
            .bind("p", "", &[])
            .sync(),
    );
    twins.same(&Frames::new().query("ROLLBACK"));
}

#[test]
fn g2_limited_execute_of_a_write() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().query("BEGIN"));
    twins.same(
        &Frames::new()
            .parse("", "UPDATE notes SET txt = 'x' RETURNING id")
            .bind("", "", &[])
            .execute("", 1)
            .sync(),
    );
    twins.same(&Frames::new().query("ROLLBACK"));
}

#[test]
fn g2_empty_statement() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().run("", &[]).sync());
    twins.same(&Frames::new().run("-- nothing", &[]).sync());
    twins.same(&Frames::new().query(""));
    twins.same(&Frames::new().query(" ; ; "));
}

#[test]
fn g2_deallocate_and_discard() {
    let mut twins = Twins::new();
    let prepare = Frames::new()
        .parse("s", "SELECT id FROM notes")
        .parse("t", "SELECT id FROM campaigns")
        .sync();
    let use_both = Frames::new()
        .bind("", "s", &[])
        .execute("", 0)
        .sync()
        .bind("", "t", &[])
        .execute("", 0)
        .sync();
    for sql in [
        "DEALLOCATE s",
        "DEALLOCATE ALL",
        "DISCARD ALL",
        "DEALLOCATE PREPARE t",
        "RESET ALL",
        "DEALLOCATE nosuch",
    ] {
        twins.same(&Frames::new().query("DEALLOCATE ALL"));
        twins.same(&prepare);
        let ours = twins.proxied(&Frames::new().query(sql));
        let theirs = Frames::new().query(sql).exchange(&mut twins.direct);
        assert_eq!(
            tags(&ours).replace('S', ""),
            tags(&theirs).replace('S', ""),
            "{sql}"
        );
        // The oracle's claims are a plain setting, which these take away.
        pgwarden_tests::fixture::set_claims(&mut twins.direct, &Tenant::A.claims());
        twins.same(&use_both);
    }
}

#[test]
fn g2_deallocate_in_the_extended_protocol() {
    let mut twins = Twins::new();
    twins.same(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    twins.same(&Frames::new().run("DEALLOCATE s", &[]).sync());
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(
        &Frames::new()
            .parse("s", "SELECT id FROM leads")
            .bind("", "s", &[])
            .execute("", 0)
            .sync(),
    );
}

#[test]
fn g2_names_are_counted_after_an_error_in_the_pipeline() {
    // The Parse after the error never happens: its name must be free afterwards.
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("a", "SELECT 1")
            .run("SELECT 1/0", &[])
            .parse("b", "SELECT 2")
            .target(b'C', b'S', "a")
            .sync(),
    );
    twins.same(&Frames::new().bind("", "a", &[]).execute("", 0).sync());
    twins.same(&Frames::new().bind("", "b", &[]).execute("", 0).sync());
    twins.same(
        &Frames::new()
            .parse("b", "SELECT 3")
            .bind("", "b", &[])
            .execute("", 0)
            .sync(),
    );
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

#[test]
fn g2_error_positions_are_the_clients() {
    let mut twins = Twins::new();
    for sql in [
        "SELECT nosuch FROM leads",
        "SELECT l.id FROM leads l LEFT JOIN campaigns c ON c.id = l.campaign_id WHERE c.nosuch = 1",
        "SELECT id FROM leads WHERE full_name = 'ä' AND nosuch(1) = 2 AND missing = 3",
        "INSERT INTO notes (id, txt, nosuch) VALUES (1, 'x', 3)",
        "UPDATE notes SET txt = 'ö', nosuch = 3",
        "SELECT id FROM leads WHERE score = 'x'",
        "SELECT id FROM leads GROUP BY score",
        "SELECT id,, score FROM leads",
    ] {
        let ours = twins.proxied(&Frames::new().query(sql));
        if ours[0].error().reason().is_none() {
            twins.same(&Frames::new().query(sql));
            twins.same(&Frames::new().run(sql, &[]).sync());
        }
    }
}
