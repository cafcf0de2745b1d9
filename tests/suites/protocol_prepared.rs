//! THREATS G2 and H: statements and cursors that SQL names, beside those of the protocol. PostgreSQL
//! itself says what is right; what differs must be a refusal.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::{Tenant, script, server, superuser};
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::pooled::Pooled;
use pgwarden_tests::wire::{Client, Message};

/// The SQLSTATE of the first error.
fn sqlstate(messages: &[Message]) -> String {
    let found = messages.iter().find(|message| message.tag == b'E');
    found.map_or(String::new(), |error| error.error().code().to_owned())
}

fn query(sql: &str) -> Frames {
    Frames::new().query(sql)
}

#[test]
fn g2_prepare_in_a_pipeline() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .run(
                "PREPARE p(int) AS SELECT id FROM leads WHERE score > $1",
                &[],
            )
            .run("EXECUTE p(2)", &[])
            .run("DEALLOCATE p", &[])
            .run("PREPARE p AS SELECT id FROM notes", &[])
            .run("EXECUTE p", &[])
            .sync(),
    );
    twins.same(&query("EXECUTE p"));
    twins.same(&Frames::new().run("EXECUTE p", &[]).sync());
}

#[test]
fn g2_an_error_in_the_pipeline_takes_back_what_follows() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .run("PREPARE a AS SELECT 1", &[])
            .run("SELECT 1/0", &[])
            .run("PREPARE b AS SELECT 2", &[])
            .run("DEALLOCATE a", &[])
            .sync(),
    );
    for sql in [
        "EXECUTE a",
        "EXECUTE b",
        "PREPARE b AS SELECT 3",
        "EXECUTE b",
    ] {
        twins.same(&query(sql));
    }
}

#[test]
fn g2_both_kinds_share_their_names() {
    let mut twins = Twins::new();
    twins.same(&query("PREPARE s AS SELECT id FROM notes"));
    // 42P05
    twins.same(&Frames::new().parse("s", "SELECT 1").sync());
    twins.same(&query("EXECUTE s"));
    twins.same(&Frames::new().target(b'C', b'S', "s").sync());
    twins.same(&query("EXECUTE s"));
    twins.same(&Frames::new().parse("s", "SELECT id FROM leads").sync());
    twins.same(&query("PREPARE s AS SELECT 1"));
    twins.same(&Frames::new().bind("", "s", &[]).execute("", 0).sync());
    twins.same(&query("DEALLOCATE s"));
    twins.same(&query("PREPARE s AS SELECT id FROM campaigns"));
    twins.same(&query("EXECUTE s"));
    twins.same(&query("DEALLOCATE ALL"));
    twins.same(&Frames::new().parse("s", "SELECT id FROM leads").sync());
}

#[test]
fn g2_each_kind_is_run_by_its_own_means() {
    let mut twins = Twins::new();
    twins.proxied(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    assert_eq!(sqlstate(&twins.proxied(&query("EXECUTE s"))), "0A000");
    twins.proxied(&query("PREPARE p AS SELECT id FROM notes"));
    let bind = Frames::new().bind("", "p", &[]).execute("", 0).sync();
    assert_eq!(sqlstate(&twins.proxied(&bind)), "0A000");
    let describe = Frames::new().target(b'D', b'S', "p").sync();
    assert_eq!(sqlstate(&twins.proxied(&describe)), "0A000");
}

#[test]
fn g2_names_on_the_server_are_not_the_clients() {
    let mut twins = Twins::new();
    twins.proxied(&Frames::new().parse("s", "SELECT id FROM notes").sync());
    for sql in ["EXECUTE pgwarden_1", "DEALLOCATE pgwarden_1"] {
        assert_eq!(sqlstate(&twins.proxied(&query(sql))), "0A000", "{sql}");
    }
    let bind = Frames::new().bind("", "s", &[]).execute("", 0).sync();
    assert_eq!(sqlstate(&twins.proxied(&bind)), "");
}

#[test]
fn g2_execute_after_another_search_path_is_judged_again() {
    let mut twins = Twins::new();
    twins.proxied(&query("PREPARE p AS SELECT count(*) FROM leads"));
    twins.proxied(&query("SET search_path = pg_catalog"));
    assert_eq!(sqlstate(&twins.proxied(&query("EXECUTE p"))), "42P01");
}

#[test]
fn g2_cursors_in_a_pipeline() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .run("BEGIN", &[])
            .run(
                "DECLARE c CURSOR FOR SELECT id FROM leads WHERE score > $1 ORDER BY id",
                &["0"],
            )
            .run("FETCH FORWARD 1 FROM \"c\"", &[])
            .run("MOVE 1 IN c", &[])
            .run("FETCH ALL IN c", &[])
            .run("CLOSE c", &[])
            .run("COMMIT", &[])
            .sync(),
    );
}

#[test]
fn g2_fetch_of_a_portal_that_reads() {
    let mut twins = Twins::new();
    let begun = Frames::new()
        .query("BEGIN")
        .parse("s", "SELECT id FROM leads WHERE score > $1 ORDER BY id")
        .bind("c", "s", &["0"])
        .execute("c", 2);
    twins.same(&begun.sync());
    twins.same(&query("MOVE 3 IN c"));
    twins.same(&Frames::new().execute("c", 1).sync());
    twins.same(&Frames::new().run("FETCH 2 FROM c", &[]).sync());
    twins.same(&query("COMMIT"));
    twins.same(&query("FETCH 1 FROM c"));
}

#[test]
fn g2_fetch_of_a_portal_could_change_settings_unseen() {
    let mut twins = Twins::new();
    let portal = Frames::new()
        .query("BEGIN")
        .parse("s", "SELECT set_config('search_path', 'hidden', false)")
        .bind("c", "s", &[])
        .sync();
    twins.proxied(&portal);
    for sql in ["FETCH ALL FROM c", "BEGIN; MOVE ALL IN c"] {
        assert_eq!(sqlstate(&twins.proxied(&query(sql))), "0A000", "{sql}");
        twins.proxied(&query("ROLLBACK"));
        twins.proxied(&portal_again());
    }
    let fetch = Frames::new().run("FETCH ALL FROM c", &[]).sync();
    assert_eq!(sqlstate(&twins.proxied(&fetch)), "0A000");
}

fn portal_again() -> Frames {
    Frames::new().query("BEGIN").bind("c", "s", &[]).sync()
}

#[test]
fn g2_close_takes_a_portal_of_the_protocol() {
    let mut twins = Twins::new();
    twins.same(
        &Frames::new()
            .query("BEGIN")
            .parse("s", "SELECT id FROM notes ORDER BY id")
            .bind("c", "s", &[])
            .execute("c", 1)
            .sync(),
    );
    for sql in [
        "CLOSE c",
        "DECLARE c CURSOR FOR SELECT id FROM campaigns ORDER BY id",
        "FETCH 2 FROM c",
        "COMMIT",
    ] {
        twins.same(&query(sql));
    }
}

#[test]
fn g2_a_close_that_fails_leaves_the_portal() {
    let mut twins = Twins::new();
    let messages = twins.proxied(
        &Frames::new()
            .query("BEGIN")
            .parse("s", "SELECT set_config('search_path', 'hidden', false)")
            .bind("c", "s", &[])
            .sync()
            .query("SAVEPOINT one")
            .query("SELECT 1/0")
            .query("CLOSE c")
            .query("ROLLBACK TO one")
            .query("FETCH ALL FROM c"),
    );
    let errors = messages.iter().filter(|message| message.tag == b'E');
    let codes: Vec<_> = errors.map(|e| e.error().code().to_owned()).collect();
    assert_eq!(codes, ["22012", "25P02", "0A000"]);
}

#[test]
fn g2_errors_of_prepare_have_their_place_in_the_clients_text() {
    let mut twins = Twins::new();
    for sql in [
        "PREPARE p AS SELECT id, full_name FROM leads WHERE score = 1 AND status = 'no such'",
        "PREPARE p AS SELECT /* ä */ count(*) FROM leads WHERE length(full_name, 1, 2) > 0",
    ] {
        let messages = twins.same(&query(sql));
        assert_ne!(sqlstate(&messages), "");
    }
}

/// As psqlODBC drops what it has prepared, inside of a transaction.
#[test]
fn g2_deallocate_among_savepoints() {
    let mut twins = Twins::new();
    let prepare = Frames::new().parse("p", "SELECT $1::int").sync();
    let run = Frames::new().bind("", "p", &["7"]).execute("", 0).sync();
    let drops = query("SAVEPOINT s;DEALLOCATE \"p\";RELEASE s");
    for _ in 0..3 {
        twins.same(&query("BEGIN;SELECT id FROM leads WHERE false"));
        for _ in 0..2 {
            twins.same(&prepare);
            twins.same(&run);
            twins.same(&drops);
            let gone = twins.same(&query("SAVEPOINT s"));
            assert_eq!(sqlstate(&gone), "");
            let gone = twins.same(&run);
            assert_eq!(sqlstate(&gone), "26000");
            twins.same(&query("ROLLBACK TO s"));
            twins.same(&query("RELEASE s"));
        }
        twins.same(&prepare);
        let failed = twins.same(&query("RELEASE nobody; DEALLOCATE p; SAVEPOINT t"));
        assert_eq!(sqlstate(&failed), "3B001");
        twins.same(&query("ROLLBACK"));
        // It was not reached.
        twins.same(&run);
        twins.same(&query("DEALLOCATE p"));
        twins.same(&query("SELECT count(*) FROM leads"));
    }
    // Nothing else is taken apart.
    twins.same(&prepare);
    twins.same(&query("BEGIN"));
    let refused = twins.proxied(&query("DEALLOCATE p; SELECT 1"));
    assert_eq!(sqlstate(&refused), "0A000");
}

/// What was done before an error stays done: PREPARE and DEALLOCATE are no part of a transaction.
#[test]
fn g2_names_in_a_message_of_several_statements() {
    let mut twins = Twins::new();
    for sql in [
        "PREPARE a AS SELECT id FROM leads ORDER BY id; EXECUTE a; SELECT 1/0; DEALLOCATE a",
        "EXECUTE a",
        "PREPARE b AS SELECT 1; PREPARE c AS SELECT 1/0; EXECUTE c; PREPARE d AS SELECT 1",
        "EXECUTE b; EXECUTE a",
        "PREPARE c AS SELECT 2",
        "DEALLOCATE c; PREPARE d AS SELECT id FROM notes ORDER BY id; EXECUTE d",
        "DEALLOCATE d; PREPARE d AS SELECT id FROM campaigns ORDER BY id; PREPARE a AS SELECT 1; EXECUTE d",
        "EXECUTE d",
        "EXECUTE a",
        "BEGIN; DEALLOCATE a; DEALLOCATE b; SELECT 1/0",
        "EXECUTE b",
        "EXECUTE nobody; PREPARE b AS SELECT 3",
        "ROLLBACK; PREPARE b AS SELECT 3",
        "EXECUTE b",
        "EXECUTE a",
        "DEALLOCATE ALL; PREPARE a AS SELECT 4; SELECT 1/0",
        "EXECUTE a",
        "EXECUTE d",
    ] {
        twins.same(&query(sql));
    }
    // A pipeline behind it sees what became of it.
    let half = query("PREPARE e AS SELECT 5; SELECT 1/0; PREPARE f AS SELECT 6");
    twins.same(
        &half
            .query("EXECUTE e")
            .query("EXECUTE f")
            .query("DEALLOCATE e"),
    );
}

/// In a message the session's names are the client's, whoever had the server connection before.
#[test]
fn names_in_a_message_are_the_sessions_own() {
    let pooled = Pooled::with(1, |settings| settings.pool.mode = PoolMode::Transaction);
    let (mut a, mut b) = (pooled.session(Tenant::A), pooled.session(Tenant::B));
    let whole = query("PREPARE p AS SELECT id FROM leads; EXECUTE p; DEALLOCATE p");
    for _ in 0..2 {
        for client in [&mut a, &mut b] {
            assert_eq!(sqlstate(&whole.exchange(client)), "");
            for sql in ["EXECUTE p", "SELECT 1; EXECUTE p", "SELECT 1; DEALLOCATE p"] {
                assert_eq!(sqlstate(&query(sql).exchange(client)), "26000", "{sql}");
            }
        }
    }
}

/// PREPARE and DEALLOCATE are done when the COMMIT behind them fails, and no answer tells of it: what the session knows
/// of names and what the server has differ then. Nobody runs what somebody else has left there.
#[test]
fn what_a_failed_commit_leaves_is_nobodys() {
    let pooled = Pooled::with(1, |settings| settings.pool.mode = PoolMode::Transaction);
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    let once = "EXCLUDE (txt WITH =) WHERE (id > 900) DEFERRABLE INITIALLY DEFERRED";
    script(
        &mut admin,
        &format!("ALTER TABLE notes ADD CONSTRAINT once {once}"),
    );
    let (mut a, mut b) = (pooled.session(Tenant::A), pooled.session(Tenant::B));
    let fails = |client: &mut Client, rest: &str| {
        let sql = format!("INSERT INTO notes (id, txt) VALUES (901, 'x'), (902, 'x'); {rest}");
        assert_eq!(sqlstate(&query(&sql).exchange(client)), "23P01", "{rest}");
    };
    fails(&mut b, "PREPARE left_here AS SELECT full_name FROM leads");
    assert_eq!(
        sqlstate(&query("PREPARE p AS SELECT 1").exchange(&mut a)),
        ""
    );
    fails(&mut a, "DEALLOCATE p");
    for sql in [
        "PREPARE p AS SELECT 2; EXECUTE left_here",
        "SELECT 1; EXECUTE left_here",
        "DEALLOCATE ALL; EXECUTE left_here",
        "EXECUTE left_here",
    ] {
        assert_eq!(sqlstate(&query(sql).exchange(&mut a)), "26000", "{sql}");
    }
    // Nor does it stand in anybody's way.
    let again = query("PREPARE left_here AS SELECT 3; EXECUTE left_here");
    assert_eq!(sqlstate(&again.exchange(&mut a)), "");
    script(&mut admin, "ALTER TABLE notes DROP CONSTRAINT once");
}

/// The answers of the proxy to the same messages, in both pool modes.
fn both_modes(frames: &[Frames], check: impl Fn(&[Message])) {
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let pooled = Pooled::with(2, |settings| settings.pool.mode = mode);
        let mut client = pooled.session(Tenant::A);
        let answers = frames.iter().map(|it| it.exchange(&mut client));
        check(&answers.last().unwrap_or_default());
    }
}

#[test]
fn what_deallocate_all_has_dropped_does_not_come_back_with_an_error() {
    let make = || Frames::new().parse("s", "SELECT 1").sync();
    let dropped = query("DEALLOCATE ALL; SELECT 1 / 0");
    let mut twins = Twins::new();
    twins.same(&make().and(&dropped).and(&make()));
    both_modes(&[make(), dropped, make()], |answers| {
        assert_eq!(sqlstate(answers), "");
    });
}

#[test]
fn a_parse_behind_a_query_that_fails_its_transaction_fails_too() {
    let known = Frames::new().run("SELECT count(*) FROM leads", &[]).sync();
    let ends = Frames::new().run("ROLLBACK", &[]).sync();
    let begun = || query("BEGIN").query("SELECT 1 / 0");
    let fails = begun().and(&known);
    let leaves = begun().and(&ends);
    let undone = Frames::new().query("ROLLBACK").and(&known).and(&ends);
    both_modes(&[undone.clone(), fails.clone()], |answers| {
        let parsed = answers.iter().any(|it| it.tag == b'1');
        let last = answers.iter().rfind(|it| it.tag == b'E').unwrap();
        assert!(!parsed && last.error().code() == "25P02", "{answers:?}");
    });
    both_modes(&[undone, leaves], |answers| {
        assert_eq!(answers.last().unwrap().body, b"I", "{answers:?}");
    });
    let mut twins = Twins::new();
    twins.same(&fails);
    twins.same(&ends);
}

#[test]
fn a_parse_shows_what_a_write_has_done_that_stopped_at_its_limit() {
    let write = "UPDATE campaigns SET budget = budget + 1 WHERE id < 40 RETURNING id";
    let read = "SELECT sum(budget) FROM campaigns WHERE id < 40";
    let known = Frames::new().run(read, &[]).run(write, &[]).sync();
    let undo = Frames::new().query("ROLLBACK");
    let begin = Frames::new().query("BEGIN");
    let halted = Frames::new().parse("", write).bind("p", "", &[]);
    let halted = halted.execute("p", 1).run(read, &[]).run(write, &[]).sync();
    let sum = |answers: &[Message]| {
        let rows = answers.iter().filter(|it| it.tag == b'D');
        rows.map(|it| it.body.clone()).nth(1).unwrap()
    };
    let mut twins = Twins::new();
    twins.same(&begin);
    let wanted = sum(&twins.same(&halted));
    twins.same(&undo);
    let first = begin.clone().and(&known).and(&undo);
    both_modes(&[first, begin, halted], |answers| {
        assert_eq!(sum(answers), wanted);
    });
}
