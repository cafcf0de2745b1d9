//! Portals: suspended, bound twice, ended with their transaction.

use pgwarden_tests::frames::{Frames, Twins};

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
