//! DDL beside the proxy: it is noticed, and until then nothing new is let through.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_schema::Fingerprint;
use pgwarden_tests::fixture::{ROLE, script, superuser};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::proxy;
use pgwarden_tests::watched::{NEVER, OFTEN, World, ask, server, until};
use pgwarden_tests::wire::Message;

#[test]
fn a_new_table_is_denied_until_it_is_known() {
    let mut world = World::new(NEVER);
    let mut client = world.session();
    let sql = "SELECT count(*) FROM fresh";
    assert_eq!(ask(&mut client, sql), "unknown_relation");
    world.ddl("CREATE TABLE fresh AS SELECT * FROM leads");
    // The denial itself has the catalogue looked at.
    let mut seen = Vec::new();
    until(
        || {
            let answer = ask(&mut client, sql);
            seen.push(answer.clone());
            answer
        },
        |answer| answer == "1",
    );
    assert!(
        seen.iter().all(|it| it == "unknown_relation" || it == "1"),
        "{seen:?}"
    );
}

#[test]
fn a_table_replaced_by_a_view_is_denied_once_the_interval_is_over() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    world.ddl(
        "BEGIN; DROP TABLE places; CREATE VIEW places AS SELECT id, 'x' AS name FROM leads; COMMIT",
    );
    until(
        || ask(&mut client, "SELECT name FROM places"),
        |it| it == "opaque_relation",
    );
}

#[test]
fn a_scoped_table_does_not_become_everybodys() {
    for change in [
        "ALTER TABLE leads RENAME org_id TO organisation",
        "ALTER TABLE leads DROP COLUMN org_id",
        "ALTER TABLE leads ALTER org_id TYPE text",
        "ALTER TABLE leads SET SCHEMA hidden; SET search_path = hidden, public",
        "DROP TABLE leads; CREATE TABLE leads AS SELECT id, note FROM calls",
    ] {
        let mut world = World::new(OFTEN);
        let mut client = world.session();
        assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
        world.ddl(change);
        let sql = match change.contains("hidden") {
            true => "SELECT note FROM hidden.leads",
            false => "SELECT note FROM leads",
        };
        until(
            || ask(&mut client, sql),
            |it| it == "unfit_relation" || it == "unlisted_relation",
        );
        // Nor by a further change.
        let changes = world.changes();
        world.ddl("CREATE TABLE another (id int)");
        until(|| world.changes(), |it| *it > changes);
        let denied = ask(&mut client, sql);
        assert!(
            denied == "unfit_relation" || denied == "unlisted_relation",
            "{change}: {denied}"
        );
    }
}

#[test]
fn a_listed_table_that_fits_no_more_is_denied_and_the_rest_goes_on() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    assert_eq!(ask(&mut client, "SELECT note FROM calls"), "a");
    world.ddl("ALTER TABLE calls RENAME org_id TO organisation");
    let sql = "SELECT note FROM calls";
    until(|| ask(&mut client, sql), |it| it == "unfit_relation");
    world.ddl("CREATE TABLE fresh AS SELECT * FROM leads");
    let fresh = "SELECT note FROM fresh";
    until(|| ask(&mut client, fresh), |it| it == "a");
    world.ddl("ALTER TABLE calls RENAME organisation TO org_id");
    until(|| ask(&mut client, sql), |it| it == "a");
}

#[test]
fn a_table_that_shadows_another_is_noticed() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    client.query("SET search_path = app, later, public").ok();
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    world.ddl("CREATE VIEW app.places AS SELECT 'x' AS name FROM leads");
    until(
        || ask(&mut client, "SELECT name FROM places"),
        |it| it == "opaque_relation",
    );
    world.ddl("DROP VIEW app.places");
    until(
        || ask(&mut client, "SELECT name FROM places"),
        |it| it == "harbour",
    );
    // A schema that the path names may come later, and be granted later still.
    let changes = world.changes();
    world.ddl("CREATE SCHEMA later; CREATE VIEW later.places AS SELECT 'x' AS name FROM leads");
    until(|| world.changes(), |it| *it > changes);
    world.ddl("GRANT USAGE ON SCHEMA later TO PUBLIC");
    until(
        || ask(&mut client, "SELECT name FROM places"),
        |it| it == "opaque_relation",
    );
}

/// Its query was judged when it was made: nothing else would keep a table that has become a tenant's from it.
#[test]
fn a_temporary_view_is_read_by_what_it_was_judged_by() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    let make = "CREATE TEMP VIEW v AS SELECT name FROM places";
    let read = "SELECT name FROM v";
    ask(&mut client, make);
    assert_eq!(ask(&mut client, read), "harbour");
    world.ddl("ALTER TABLE places ADD org_id uuid DEFAULT gen_random_uuid()");
    until(|| ask(&mut client, read), |it| it == "unlisted_relation");
    // What a rollback brings back is no newer.
    ask(&mut client, "BEGIN; DROP VIEW v");
    ask(&mut client, "ROLLBACK");
    assert_eq!(ask(&mut client, read), "unlisted_relation");
    assert_eq!(
        ask(&mut client, "SELECT name FROM pg_temp.v"),
        "unlisted_relation"
    );
    ask(
        &mut client,
        "CREATE OR REPLACE TEMP VIEW v AS SELECT name FROM places",
    );
    assert_eq!(ask(&mut client, read), "unlisted_relation");
    ask(&mut client, "DROP VIEW v");
    ask(
        &mut client,
        "CREATE TEMP VIEW v AS SELECT count(*) FROM leads",
    );
    let own = ask(&mut client, "SELECT count(*) FROM leads");
    assert_eq!(ask(&mut client, "TABLE v"), own);
}

#[test]
fn a_transaction_goes_on_when_the_catalogue_changes() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    client.query("BEGIN").ok();
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    let changes = world.changes();
    world.ddl("CREATE TABLE fresh AS SELECT * FROM calls");
    until(|| world.changes(), |it| *it > changes);
    assert_eq!(ask(&mut client, "SELECT 1; SELECT note FROM fresh"), "1");
    client.query("ROLLBACK").ok();
    assert_eq!(ask(&mut client, "SELECT note FROM fresh"), "a");
}

/// The first row, or the error of an exchange.
fn executed(messages: &[Message]) -> String {
    let error = messages.iter().find(|it| it.tag == b'E');
    if let Some(error) = error {
        let error = error.error();
        return error.reason().unwrap_or(error.code()).to_owned();
    }
    let rows = messages.iter().filter(|it| it.tag == b'D').count();
    format!("{rows} rows")
}

#[test]
fn statements_prepared_before_go_by_the_new_catalogue() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    for (name, sql) in [
        ("places", "SELECT name FROM places"),
        ("leads", "SELECT note FROM leads"),
        ("star", "SELECT * FROM leads"),
    ] {
        let prepared = Frames::new().parse(name, sql).sync().exchange(&mut client);
        assert_eq!(executed(&prepared), "0 rows");
    }
    let mut run = |name: &str| {
        let frames = Frames::new().bind("", name, &[]).execute("", 0).sync();
        executed(&frames.exchange(&mut client))
    };
    assert_eq!(
        (run("places"), run("leads")),
        ("1 rows".into(), "1 rows".into())
    );
    world.ddl("DROP TABLE places; CREATE VIEW places AS SELECT 'x' AS name FROM calls");
    until(|| run("places"), |it| it == "opaque_relation");
    // The same table again: the server plans anew, and the rewritten text is still right.
    let changes = world.changes();
    world.ddl("DROP TABLE leads; CREATE TABLE leads AS SELECT * FROM calls");
    until(|| world.changes(), |it| *it > changes);
    until(|| run("leads"), |it| it == "1 rows");
    // The server's own words, by which drivers know that they must prepare again.
    assert_eq!(run("star"), "1 rows");
    world.ddl("ALTER TABLE leads ADD more int");
    until(|| run("star"), |it| it == "0A000");
    world.ddl("ALTER TABLE leads RENAME org_id TO organisation");
    until(|| run("leads"), |it| it == "unfit_relation");
}

#[test]
fn ddl_through_the_proxy_is_noticed_when_its_transaction_ends() {
    let world = World::new(NEVER);
    let mut admin = world.break_glass();
    let changes = world.changes();
    admin.query("BEGIN").ok();
    admin.query("CREATE TABLE fresh (id int)").ok();
    admin.query("COMMIT").ok();
    until(|| world.changes(), |it| *it > changes);
}

#[test]
fn an_error_of_the_server_hints_at_a_change() {
    let mut world = World::new(NEVER);
    let mut client = world.session();
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    let changes = world.changes();
    world.ddl("ALTER TABLE places RENAME name TO title");
    assert_eq!(ask(&mut client, "SELECT name FROM places"), "42703");
    until(|| world.changes(), |it| *it > changes);
    assert_eq!(ask(&mut client, "SELECT title FROM places"), "harbour");
}

#[test]
fn a_catalogue_that_cannot_be_read_stays_in_use_and_grows_old() {
    let mut world = World::new(OFTEN);
    let mut client = world.session();
    let database = world.running.proxy().databases().remove(0);
    script(
        &mut superuser(server().address(), "postgres"),
        &format!("ALTER DATABASE {} CONNECTION LIMIT 0", world.name),
    );
    world.ddl(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = 'pgwarden' AND datname = current_database()",
    );
    until(|| database.is_fresh(), |fresh| !fresh);
    let failed = "pgwarden_catalog_checks_total{outcome=\"failed\"}";
    until(|| world.metric(failed), |count| *count >= 1.0);
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    until(
        || world.metric("pgwarden_catalog_age_seconds "),
        |age| *age > 0.5,
    );
    script(
        &mut superuser(server().address(), "postgres"),
        &format!("ALTER DATABASE {} CONNECTION LIMIT -1", world.name),
    );
    world.ddl("CREATE TABLE fresh AS SELECT * FROM leads");
    until(
        || ask(&mut client, "SELECT note FROM fresh"),
        |it| it == "a",
    );
    until(|| database.is_fresh(), |fresh| *fresh);
}

/// The fingerprint as of now.
fn fingerprint(client: &tokio_postgres::Client) -> Fingerprint {
    let read = pgwarden_schema::read_changed(client, None);
    let read = proxy::runtime().block_on(read).unwrap();
    read.unwrap().fingerprint
}

#[test]
fn every_ddl_shows_in_the_fingerprint_and_nothing_else_does() {
    let mut world = World::new(NEVER);
    let url = format!(
        "host=127.0.0.1 port={} user={ROLE} dbname={}",
        server().address().port(),
        world.name
    );
    let client = proxy::runtime().block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client
    });
    let mut last = fingerprint(&client);
    for ddl in [
        "CREATE TABLE t (id int, org_id uuid, n int DEFAULT 1)",
        "ALTER TABLE t ADD c text",
        "ALTER TABLE t RENAME c TO d",
        "ALTER TABLE t DROP d",
        "ALTER TABLE t ALTER id TYPE bigint USING 1",
        "ALTER TABLE t ALTER id TYPE int",
        "ALTER TABLE t ALTER n DROP DEFAULT",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE t FORCE ROW LEVEL SECURITY",
        "CREATE POLICY p ON t USING (true)",
        "ALTER POLICY p ON t USING (false)",
        "DROP POLICY p ON t",
        "CREATE TABLE parted (id int, org_id uuid, n int) PARTITION BY LIST (id)",
        "CREATE TABLE part (id int, org_id uuid, n int)",
        "ALTER TABLE parted ATTACH PARTITION part FOR VALUES IN (1)",
        "ALTER TABLE parted DETACH PARTITION part",
        "ALTER TABLE part INHERIT t",
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE OR REPLACE VIEW v AS SELECT id FROM t WHERE id > 1",
        "ALTER VIEW v SET (security_barrier)",
        "CREATE FUNCTION f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION f(int) LEAKPROOF",
        "ALTER FUNCTION f(int) STABLE",
        "CREATE OR REPLACE FUNCTION f(int) RETURNS int LANGUAGE plpgsql STABLE LEAKPROOF AS 'BEGIN RETURN 1; END'",
        "CREATE OPERATOR === (leftarg = int, rightarg = int, function = int4eq)",
        "CREATE DOMAIN d AS int",
        "ALTER DOMAIN d ADD CHECK (f(VALUE) > 0)",
        "CREATE CAST (text AS int) WITH INOUT AS ASSIGNMENT",
        "ALTER TABLE t SET SCHEMA hidden",
        "CREATE SCHEMA more",
        "REVOKE USAGE ON SCHEMA hidden FROM PUBLIC",
        "DROP TABLE part",
    ] {
        let before = fingerprint(&client);
        assert_eq!(before, last, "nothing has changed before {ddl}");
        world.ddl(ddl);
        last = fingerprint(&client);
        assert_ne!(before, last, "{ddl}");
    }
    let mut other = superuser(server().address(), &world.name);
    for harmless in [
        "INSERT INTO leads SELECT id + 10, org_id, note FROM leads",
        "VACUUM leads",
        "ANALYZE leads",
        "CREATE TEMPORARY TABLE passing (id serial PRIMARY KEY, c text DEFAULT 'x' CHECK (c <> ''))",
        "CREATE TEMPORARY VIEW passing_view AS SELECT 1",
        "SELECT nextval('pg_temp.passing_id_seq')",
        "DROP TABLE passing",
    ] {
        script(&mut other, harmless);
        assert_eq!(fingerprint(&client), last, "{harmless}");
    }
}
