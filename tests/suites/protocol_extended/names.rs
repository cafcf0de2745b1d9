//! What a statement's name stands for: parsed again, failed, denied, closed.

use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::wire::tags;

use super::error;

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
