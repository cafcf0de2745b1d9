//! The same under REPEATABLE READ and SERIALIZABLE, whose snapshot is older than the names that the server looks up.

use pgwarden_tests::fixture::ROLE;
use pgwarden_tests::watched::{NEVER, OFTEN, World, ask, until};

use super::{PROTOCOLS, all_ok, world};

const OLD_SNAPSHOTS: [&str; 2] = [
    "BEGIN ISOLATION LEVEL REPEATABLE READ",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
];

#[test]
fn c_an_old_snapshot_shows_what_its_transaction_makes() {
    let world = world(NEVER);
    let mut client = world.session();
    for (begin, send) in OLD_SNAPSHOTS.into_iter().zip(PROTOCOLS) {
        all_ok(
            &mut client,
            send,
            &[
                begin,
                "SELECT name FROM places",
                "CREATE TABLE app.stock (id int)",
                "INSERT INTO app.stock VALUES (1)",
                "ALTER TABLE app.stock ADD COLUMN shelf text",
                "INSERT INTO app.stock (shelf) VALUES ('x')",
            ],
        );
        assert_eq!(ask(&mut client, "SELECT count(shelf) FROM app.stock"), "1");
        client.query("ROLLBACK").ok();
        let gone = ask(&mut client, "SELECT count(*) FROM app.stock");
        assert_eq!(gone, "unknown_relation");
    }
    assert_eq!(ask(&mut client, &format!("SELECT '{ROLE}'")), ROLE);
}

#[test]
fn c_an_old_snapshot_tells_nothing_once_others_have_changed_the_catalogue() {
    let mut world = world(OFTEN);
    let mut client = world.session();
    let replace = |world: &mut World, kind: &str, query: &str| {
        let changes = world.changes();
        world.ddl(&format!(
            "DROP {kind} places CASCADE; CREATE {query}; GRANT ALL ON places TO PUBLIC"
        ));
        until(|| world.changes(), |it| *it > changes);
    };
    for begin in OLD_SNAPSHOTS {
        client.query(begin).ok();
        assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
        client.query("COMMIT").ok();
        client.query(begin).ok();
        client.query("SELECT 1").ok();
        // The server looks names up as of now: the table is a view now, whatever the snapshot shows.
        replace(
            &mut world,
            "TABLE",
            "VIEW places AS SELECT note AS name FROM leads",
        );
        client.query("CREATE TABLE app.stock (id int)").ok();
        client.query("SAVEPOINT s").ok();
        let unknown = ask(&mut client, "INSERT INTO app.stock VALUES (1)");
        assert_eq!(unknown, "unknown_relation");
        client.query("ROLLBACK TO s").ok();
        let shown = ask(&mut client, "SELECT max(name) FROM places");
        assert_ne!(shown, "b-secret", "{begin}");
        client.query("ROLLBACK").ok();
        replace(
            &mut world,
            "VIEW",
            "TABLE places AS SELECT 'harbour'::text AS name",
        );
    }
}

#[test]
fn c_an_old_snapshot_that_was_read_is_forgotten_when_others_change_the_catalogue() {
    let mut world = world(OFTEN);
    let mut client = world.session();
    for begin in OLD_SNAPSHOTS {
        client.query(begin).ok();
        client.query("CREATE TABLE app.stock (id int)").ok();
        client.query("INSERT INTO app.stock VALUES (1)").ok();
        let changes = world.changes();
        world.ddl("CREATE TABLE fresh AS SELECT * FROM leads");
        until(|| world.changes(), |it| *it > changes);
        // Its rows are younger than the snapshot.
        assert_eq!(ask(&mut client, "SELECT count(*) FROM fresh"), "0");
        let unknown = ask(&mut client, "INSERT INTO app.stock VALUES (2)");
        assert_eq!(unknown, "unknown_relation");
        client.query("ROLLBACK").ok();
        let changes = world.changes();
        world.ddl("DROP TABLE fresh");
        until(|| world.changes(), |it| *it > changes);
    }
}
