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
