//! Several messages before the answers: order, errors and denials in the middle, Flush and Sync.

use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::wire::tags;

use super::{FOREIGN, error};

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

/// Drivers show where a relation stands that is not there.
#[test]
fn g2_positions_of_what_does_not_exist_are_the_servers() {
    let mut twins = Twins::new();
    for sql in [
        "SELECT 'ä' FROM  nosuch",
        "SELECT 1 FROM leads l JOIN public.nosuch n ON true",
        "SELECT (SELECT count(*) FROM ONLY nosuch) FROM leads",
        "WITH x AS (SELECT 1) SELECT * FROM x, (TABLE nosuch) AS y",
        "INSERT INTO nosuch VALUES (1)",
        "UPDATE nosuch SET a = 1",
        "DELETE FROM notes USING nosuch",
        "DELETE FROM nosuch",
    ] {
        twins.same(&Frames::new().query(sql));
        twins.same(&Frames::new().run(sql, &[]).sync());
    }
}

/// A Parse that the server skips leaves the unnamed statement that was there before: what a Bind behind the Sync
/// is checked against must be what it meets.
#[test]
fn g2_skipped_parse_leaves_no_bind_to_the_statement_before() {
    let mut twins = Twins::new();
    // Something is under way already, so the server tells these errors, and the proxy learns of them late.
    let begun = || {
        Frames::new()
            .parse("one", "SELECT 1")
            .bind("o", "one", &[])
            .execute("o", 0)
    };
    let fails = [
        begun().parse("f", "SELECT 1 / 0").bind("", "f", &[]),
        begun().bind("", "nosuch", &[]),
        begun().execute("nosuch", 0),
        begun().parse("x", "SELECT * FROM internal_secrets"),
    ];
    for fail in fails {
        let close = Frames::new()
            .target(b'C', b'S', "one")
            .target(b'C', b'S', "f");
        twins.proxied(&close.parse("", "SELECT full_name FROM leads").sync());
        let frames = fail
            .parse("", "SELECT $1::uuid")
            .sync()
            .bind("", "", &[FOREIGN])
            .target(b'D', b'P', "")
            .execute("", 0)
            .sync();
        // Another tenant's rows would end the test by themselves.
        twins.proxied(&frames);
    }
}

/// What a skipped Parse leaves as it was must not take the place of what a later one has made.
#[test]
fn g2_skipped_parse_takes_no_later_one_back() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .parse("", "SELECT $1::uuid")
        .sync()
        .parse("one", "SELECT 1")
        .bind("o", "one", &[])
        .parse("f", "SELECT 1 / 0")
        .bind("", "f", &[])
        .parse("", "SELECT 3")
        .sync()
        .parse("", "SELECT full_name FROM leads")
        .sync();
    twins.proxied(&frames);
    let frames = Frames::new()
        .bind("", "", &[FOREIGN])
        .target(b'D', b'P', "")
        .execute("", 0)
        .sync();
    assert_eq!(tags(&twins.proxied(&frames)), "EZ");
}

/// A COPY may come right behind other statements, before their answers.
#[test]
fn g2_copy_behind_statements_that_are_under_way() {
    let mut twins = Twins::new();
    for before in [
        "SELECT count(*) FROM leads",
        "SELECT 1 / count(*) FROM leads WHERE false",
    ] {
        let frames = Frames::new()
            .query(before)
            .query("COPY holidays (day) FROM STDIN")
            .raw(b'd', b"2031-01-01\n")
            .raw(b'c', b"")
            .query("DELETE FROM holidays WHERE day = '2031-01-01'");
        twins.same(&frames);
        let frames = Frames::new()
            .run(before, &[])
            .sync()
            .run("COPY holidays (day) FROM STDIN", &[])
            .raw(b'd', b"2031-01-01\n")
            .raw(b'c', b"")
            .sync()
            .query("DELETE FROM holidays WHERE day = '2031-01-01'");
        twins.same(&frames);
    }
}

/// The server skips all up to the Sync, also a Query, and what comes behind that.
#[test]
fn g2_query_in_a_pipeline_that_has_failed_is_skipped() {
    let mut twins = Twins::new();
    let frames = Frames::new()
        .parse("s", "SELECT 1")
        .parse("s", "SELECT 2")
        .query("SELECT count(*) FROM leads");
    twins.proxied.send_bytes(frames.bytes());
    twins.direct.send_bytes(frames.bytes());
    // The error comes before what follows is sent.
    for client in [&mut twins.proxied, &mut twins.direct] {
        let answers = [client.read().unwrap(), client.read().unwrap()];
        assert_eq!(tags(&answers), "1E");
    }
    twins.same(&Frames::new().run("SELECT 3", &[]).sync());
    twins.same(&Frames::new().run("SELECT 4", &[]).sync());
}

/// What a pipeline was to prepare and did not, the next one prepares.
#[test]
fn g2_statement_of_a_pipeline_that_has_failed_is_prepared_by_the_next() {
    let mut twins = Twins::new();
    let read = "SELECT count(*), $1::text FROM leads";
    let frames = Frames::new()
        .parse("", "SELECT 1 / $1::int")
        .bind("", "", &["0"])
        .execute("", 0)
        .run(read, &["a"])
        .sync()
        .run(read, &["b"])
        .sync()
        .run(read, &["c"])
        .sync();
    twins.same(&frames);
}

/// What an error takes back of its pipeline takes nothing of the next one, which is under way.
#[test]
fn g2_portal_behind_a_pipeline_that_has_failed_stays() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .parse("n", "SELECT id FROM leads WHERE id = $1")
            .sync(),
    );
    for fails in [
        Frames::new().bind("", "nosuch", &[]),
        Frames::new().bind("", "n", &["x"]),
        Frames::new()
            .execute("nosuch", 0)
            .bind("", "n", &["3"])
            .target(b'C', b'P', ""),
    ] {
        let frames = fails.sync().bind("", "n", &["1"]);
        for client in [&mut twins.proxied, &mut twins.direct] {
            client.send_bytes(frames.bytes());
            let answers = [client.read().unwrap(), client.read().unwrap()];
            assert_eq!(tags(&answers), "EZ");
        }
        twins.same(&Frames::new().execute("", 0).sync());
    }
}
