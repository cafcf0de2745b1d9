//! THREATS D4: `WHERE CURRENT OF`. PostgreSQL itself says what is right; what is not known to stand at a
//! row of the session's own must be refused.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::frames::{Frames, Twins, shown};

const LOCKS: &str = "DECLARE c CURSOR FOR SELECT id FROM notes ORDER BY id FOR UPDATE";
const WRITES: &str = "UPDATE notes SET txt = 'x' WHERE CURRENT OF c";

fn query(sql: &str) -> Frames {
    Frames::new().query(sql)
}

/// Runs statements one by one, alike on both sides, and then one that must be refused.
fn refused_after(statements: &[&str]) {
    let mut twins = Twins::new();
    for sql in statements {
        twins.same(&query(sql));
    }
    let answer = shown(&twins.proxied(&query(WRITES))).join("\n");
    assert!(answer.contains("E 0A000"), "after {statements:?}: {answer}");
}

#[test]
fn d4_a_cursor_that_locks_is_written_through() {
    let mut twins = Twins::new();
    for sql in [
        "BEGIN",
        LOCKS,
        "SAVEPOINT s",
        "FETCH 1 FROM c",
        WRITES,
        "RELEASE s",
        WRITES,
        "COMMIT",
    ] {
        twins.same(&query(sql));
    }
    let pipeline = Frames::new()
        .run("BEGIN", &[])
        .run(LOCKS, &[])
        .run("FETCH 2 FROM c", &[])
        .run(WRITES, &[])
        .run("COMMIT", &[])
        .sync();
    twins.same(&pipeline);
}

#[test]
fn d4_a_cursor_is_forgotten_with_its_locks_and_its_name() {
    let begin = ["BEGIN", LOCKS, "FETCH 1 FROM c"];
    for forgets in [
        &["SAVEPOINT s", "ROLLBACK TO s"][..],
        &["CLOSE c"],
        &["CLOSE ALL"],
        &["COMMIT"],
        &["ROLLBACK", "BEGIN"],
        &[
            "CLOSE c",
            "DECLARE c CURSOR FOR SELECT id FROM notes",
            "FETCH 1 FROM c",
        ],
        &["CLOSE c; DECLARE c CURSOR FOR SELECT id FROM notes; FETCH 1 FROM c"],
    ] {
        refused_after(&[&begin[..], forgets].concat());
    }
}

#[test]
fn d4_a_cursor_that_locks_less_is_refused() {
    for query in [
        "SELECT id FROM notes FOR KEY SHARE",
        "SELECT n.id FROM notes n JOIN leads l ON l.score = n.id FOR UPDATE",
        "SELECT id FROM (SELECT id FROM notes FOR UPDATE) AS n",
        "SELECT id FROM campaigns FOR UPDATE",
        "SELECT id FROM notes WHERE id IN (SELECT id FROM campaigns FOR KEY SHARE) FOR UPDATE",
    ] {
        let declare = format!("DECLARE c CURSOR FOR {query}");
        refused_after(&["BEGIN", &declare]);
    }
}

#[test]
fn d4_a_portal_of_the_same_name_is_not_the_cursor() {
    let mut twins = Twins::new();
    twins.same(&query("BEGIN"));
    twins.same(&query(LOCKS));
    let replaced = Frames::new()
        .target(b'C', b'P', "c")
        .parse("", "SELECT id FROM notes")
        .bind("c", "", &[])
        .execute("c", 1)
        .sync();
    twins.same(&replaced);
    let answer = shown(&twins.proxied(&query(WRITES))).join("\n");
    assert!(answer.contains("E 0A000"), "{answer}");
}
