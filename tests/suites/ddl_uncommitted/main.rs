//! DDL inside of a transaction, through the proxy: what the transaction has made is known to it, as it
//! would be to the server, and to nobody else.
//!
//! `public.migrate` stands for whatever changes the catalogue unseen: it runs any text as its owner.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod old_snapshot;

use pgwarden_tests::fixture::script;
use pgwarden_tests::watched::{NEVER, OFTEN, POLICY, World, ask, outcome, until};
use pgwarden_tests::wire::{Client, Reply, bind_body, execute_body, parse_body};

type Send = fn(&mut Client, &str) -> Reply;

const PROTOCOLS: [Send; 2] = [
    |client, sql| client.query(sql),
    |client, sql| client.extended(sql, &[]),
];

const MIGRATE: &str = "
    GRANT CREATE ON SCHEMA app TO PUBLIC;
    CREATE PROCEDURE public.migrate(sql text) LANGUAGE plpgsql SECURITY DEFINER
      AS $$ BEGIN EXECUTE sql; END $$;
    CREATE VIEW place_names AS SELECT name FROM places;
    GRANT ALL ON place_names TO PUBLIC";

fn world(interval: &str) -> World {
    let policy = POLICY.replace(
        "unlisted = \"read\"",
        "unlisted = \"write\"\n    ddl = \"unscoped\"\n    [functions]\n    allow = [\"public.migrate\"]\n    \
         [settings]\n    allow = [\"statement_timeout\", \"lock_timeout\", \"search_path\"]",
    );
    World::prepared(interval, &policy, MIGRATE)
}

/// Whether the text runs.
#[track_caller]
fn all_ok(client: &mut Client, send: Send, statements: &[&str]) {
    for sql in statements {
        let reply = send(client, sql);
        assert!(reply.error.is_none(), "{sql}: {:?}", reply.error);
    }
}

#[test]
fn c_a_transaction_uses_what_it_makes() {
    let world = world(NEVER);
    let (mut client, mut other) = (world.session(), world.session());
    for send in PROTOCOLS {
        for end in ["ROLLBACK", "COMMIT"] {
            all_ok(
                &mut client,
                send,
                &[
                    "BEGIN",
                    "CREATE TABLE app.stock (id int PRIMARY KEY, note text)",
                    "INSERT INTO app.stock VALUES (1, 'x')",
                    "CREATE INDEX stock_by_note ON app.stock (lower(note))",
                    "ALTER TABLE app.stock ADD COLUMN shelf text DEFAULT 'top'",
                    "UPDATE app.stock SET shelf = 'low' WHERE shelf = 'top'",
                    "ALTER TABLE app.stock RENAME TO boxes",
                    "INSERT INTO app.boxes (id) VALUES (2)",
                    "DROP TABLE app.boxes",
                    "CREATE TYPE app.size AS ENUM ('small', 'large')",
                    "CREATE TABLE app.boxes (id int, size app.size)",
                    "INSERT INTO app.boxes VALUES (3, 'large')",
                ],
            );
            let size = send(&mut client, "SELECT size FROM app.boxes").ok();
            assert_eq!(size.value().as_deref(), Some("large"));
            // Nobody else knows of it.
            let unknown = send(&mut other, "SELECT FROM app.boxes");
            assert_eq!(unknown.denied(), Some("unknown_relation"));
            send(&mut client, end).ok();
            let after = outcome(&send(&mut client, "SELECT id FROM app.boxes"));
            let wanted = if end == "COMMIT" {
                "3"
            } else {
                "unknown_relation"
            };
            assert_eq!(after, wanted, "after {end}");
        }
        all_ok(&mut client, send, &["DROP TABLE app.boxes"]);
        client
            .query("CALL public.migrate('DROP TYPE app.size')")
            .ok();
    }
}

/// `DROP TABLE IF EXISTS` is about the table that is there, however new it is: not about none.
#[test]
fn c_what_is_dropped_if_it_exists_is_what_is_there() {
    let world = world(NEVER);
    let (mut client, mut other) = (world.session(), world.session());
    for send in PROTOCOLS {
        all_ok(&mut client, send, &["SET search_path = app", "BEGIN"]);
        for _ in 0..3 {
            all_ok(
                &mut client,
                send,
                &[
                    "DROP TABLE IF EXISTS crates",
                    "CREATE TABLE crates (id int)",
                    "INSERT INTO crates VALUES (1)",
                    "DROP TABLE IF EXISTS crates",
                    "CREATE TABLE crates (name text)",
                    "INSERT INTO crates VALUES ('x')",
                ],
            );
        }
        all_ok(&mut client, send, &["COMMIT"]);
        // Another connection's, which the catalogue need not show yet.
        all_ok(
            &mut other,
            send,
            &[
                "SET search_path = app",
                "DROP TABLE IF EXISTS crates",
                "CREATE TABLE crates (id int)",
                "DROP TABLE IF EXISTS crates",
                "DROP TABLE IF EXISTS crates",
            ],
        );
        assert_eq!(
            send(&mut client, "SELECT FROM crates").denied(),
            Some("unknown_relation")
        );
    }
}

#[test]
fn c_a_rollback_to_a_savepoint_is_seen() {
    let world = world(NEVER);
    let mut client = world.session();
    for send in PROTOCOLS {
        all_ok(
            &mut client,
            send,
            &[
                "BEGIN",
                "CREATE TABLE app.kept (id int)",
                "SAVEPOINT s",
                "CREATE TABLE app.undone (id int)",
                "INSERT INTO app.undone VALUES (1)",
                "ROLLBACK TO s",
                "INSERT INTO app.kept VALUES (1)",
            ],
        );
        let undone = send(&mut client, "INSERT INTO app.undone VALUES (2)");
        assert_eq!(undone.denied(), Some("unknown_relation"));
        assert_eq!(outcome(&send(&mut client, "SELECT FROM app.kept")), "25P02");
        all_ok(
            &mut client,
            send,
            &[
                "ROLLBACK TO s",
                "CREATE TABLE app.undone (name text)",
                "INSERT INTO app.undone VALUES ('x')",
                "RELEASE s",
                "INSERT INTO app.undone (name) VALUES ('y')",
                "ROLLBACK",
            ],
        );
    }
}

/// What a table's name stands for changes under it, unseen by the verdict that lets it happen.
#[test]
fn c_names_that_come_to_mean_something_else_are_judged_by_what_they_mean() {
    let world = world(NEVER);
    for (change, sql, wanted) in [
        (
            "DROP VIEW place_names; DROP TABLE places; CREATE VIEW places AS SELECT id, note AS name FROM leads",
            "SELECT name FROM places",
            "opaque_relation",
        ),
        (
            "ALTER TABLE leads RENAME TO kept; ALTER TABLE places RENAME TO leads",
            "SELECT * FROM leads",
            "unfit_relation",
        ),
        (
            "ALTER TABLE places RENAME TO moved; ALTER TABLE leads RENAME TO places",
            "SELECT count(*) FROM places",
            "1",
        ),
        (
            "CREATE TABLE fresh AS SELECT * FROM leads",
            "SELECT count(*) FROM fresh",
            "1",
        ),
        (
            "ALTER TABLE leads DROP COLUMN org_id",
            "SELECT note FROM leads",
            "unfit_relation",
        ),
        (
            "ALTER TABLE places ADD COLUMN org_id uuid",
            "SELECT count(*) FROM places",
            "0",
        ),
        (
            "CREATE VIEW app.places AS SELECT note AS name FROM public.leads",
            "SELECT name FROM places",
            "opaque_relation",
        ),
        (
            "CREATE SCHEMA later; GRANT USAGE ON SCHEMA later TO PUBLIC; \
             CREATE VIEW later.places AS SELECT note AS name FROM public.leads",
            "SELECT name FROM places",
            "unlisted_relation|opaque_relation",
        ),
        (
            "CREATE FUNCTION app.round(int) RETURNS text LANGUAGE sql \
             AS 'SELECT note FROM public.leads WHERE id = 2'",
            "SELECT round(id) FROM places",
            "function_denied",
        ),
        (
            "CREATE FUNCTION app.tell(text, int) RETURNS text LANGUAGE sql \
             AS 'SELECT note FROM public.leads WHERE id = 2'; \
             CREATE OPERATOR app.|| (LEFTARG = text, RIGHTARG = int, FUNCTION = app.tell)",
            "SELECT name || id FROM places",
            "unknown_operator",
        ),
    ] {
        for send in PROTOCOLS {
            let client = &mut world.session();
            let path = "SET search_path = later, app, public";
            all_ok(
                client,
                send,
                &[path, "BEGIN", "SELECT round(id), name || id FROM places"],
            );
            assert_eq!(outcome(&send(client, "SELECT note FROM leads")), "a");
            all_ok(client, send, &["SAVEPOINT s"]);
            let change = change.replace('\'', "''");
            all_ok(client, send, &[&format!("CALL public.migrate('{change}')")]);
            let found = outcome(&send(client, sql));
            assert!(
                wanted.split('|').any(|it| it == found),
                "{change}: {sql}: {found}"
            );
            // Undone, everything is what it was.
            all_ok(client, send, &["ROLLBACK TO s"]);
            assert_eq!(outcome(&send(client, "SELECT name FROM places")), "harbour");
            assert_eq!(outcome(&send(client, "SELECT note FROM leads")), "a");
            all_ok(client, send, &["ROLLBACK"]);
            assert_eq!(outcome(&send(client, "SELECT name FROM places")), "harbour");
        }
    }
}

#[test]
fn g_a_pipeline_behind_ddl_waits_for_it() {
    let world = world(NEVER);
    let mut client = world.session();
    let begin: [&[&str]; 2] = [&[], &["BEGIN"]];
    for before in begin {
        let before: Vec<&str> = before.to_vec();
        let made = [
            "CREATE TABLE app.stock (id int)",
            "INSERT INTO app.stock VALUES (7)",
            "SELECT id FROM app.stock",
        ];
        let replies = pipeline(&mut client, &[&before[..], &made[..]].concat());
        assert!(replies.error.is_none(), "{:?}", replies.error);
        let last = replies.results.last().unwrap();
        assert_eq!(last.rows, [[Some(b"7".to_vec())]]);
        client.query("DROP TABLE app.stock").ok();
        client.query("ROLLBACK");
        let replaced = [
            "SELECT name FROM places",
            "CALL public.migrate('DROP VIEW place_names; DROP TABLE places; \
             CREATE VIEW places AS SELECT note AS name FROM leads')",
            "SELECT name AS n FROM places",
        ];
        let replies = pipeline(&mut client, &[&before[..], &replaced[..]].concat());
        assert_eq!(replies.denied(), Some("opaque_relation"));
        client.query("ROLLBACK");
        assert_eq!(ask(&mut client, "SELECT name FROM places"), "harbour");
    }
    // Two Queries at once, too.
    client.send_query("CREATE TABLE app.stock (id int)");
    client.send_query("INSERT INTO app.stock VALUES (7)");
    client.reply().ok();
    client.reply().ok();
    client.query("DROP TABLE app.stock").ok();
}

/// Sends all in one pipeline.
fn pipeline(client: &mut Client, statements: &[&str]) -> Reply {
    for sql in statements {
        client.send(b'P', &parse_body("", sql, &[]));
        client.send(b'B', &bind_body("", "", &[], &[], &[]));
        client.send(b'E', &execute_body("", 0));
    }
    client.send(b'S', &[]);
    client.reply()
}

#[test]
fn g_a_statement_that_was_prepared_before_is_judged_again() {
    let world = world(NEVER);
    let mut client = world.session();
    let run = |client: &mut Client| {
        client.send(b'B', &bind_body("", "s", &[], &[], &[]));
        client.send(b'E', &execute_body("", 0));
        client.send(b'S', &[]);
        outcome(&client.reply())
    };
    client.send(b'P', &parse_body("s", "SELECT name FROM places", &[]));
    assert_eq!(run(&mut client), "harbour");
    client.query("BEGIN").ok();
    assert_eq!(run(&mut client), "harbour");
    client
        .query(
            "CALL public.migrate('DROP VIEW place_names; DROP TABLE places; \
             CREATE VIEW places AS SELECT note AS name FROM leads')",
        )
        .ok();
    assert_eq!(run(&mut client), "opaque_relation");
    client.query("ROLLBACK").ok();
    assert_eq!(run(&mut client), "harbour");
}

#[test]
fn f_the_clients_settings_are_kept_and_change_nothing() {
    let world = world(NEVER);
    let mut client = world.session();
    for (set, lasts) in [("SET LOCAL", false), ("SET", true)] {
        client.query("RESET ALL").ok();
        let (path, time) = (ask(&mut client, "SHOW search_path"), "0");
        client.query("BEGIN").ok();
        client
            .query(&format!("{set} search_path = app, public"))
            .ok();
        client
            .query(&format!("{set} statement_timeout = '50s'"))
            .ok();
        client.query("CREATE TABLE app.stock (id int)").ok();
        client.query("INSERT INTO stock VALUES (1)").ok();
        client.query("SAVEPOINT s").ok();
        client.query("CREATE TABLE app.more (id int)").ok();
        client.query("INSERT INTO more VALUES (1)").ok();
        let inside = "app, public";
        assert_eq!(ask(&mut client, "SHOW search_path"), inside);
        assert_eq!(ask(&mut client, "SHOW statement_timeout"), "50s");
        client.query("ROLLBACK TO s").ok();
        assert_eq!(ask(&mut client, "SHOW search_path"), inside);
        client.query("INSERT INTO stock VALUES (2)").ok();
        assert_eq!(ask(&mut client, "SHOW statement_timeout"), "50s");
        client.query("COMMIT").ok();
        let wanted = if lasts {
            (inside, "50s")
        } else {
            (&*path, time)
        };
        assert_eq!(
            ask(&mut client, "SHOW search_path"),
            wanted.0,
            "after {set}"
        );
        assert_eq!(
            ask(&mut client, "SHOW statement_timeout"),
            wanted.1,
            "after {set}"
        );
        client.query("DROP TABLE app.stock").ok();
    }
}

#[test]
fn g_a_reading_that_fails_fails_the_transaction_and_nothing_else() {
    let mut world = world(NEVER);
    let mut client = world.session();
    // A view is told only when nobody holds its tables.
    script(
        world.owner(),
        "BEGIN; LOCK TABLE places IN ACCESS EXCLUSIVE MODE",
    );
    for send in PROTOCOLS {
        all_ok(
            &mut client,
            send,
            &[
                "BEGIN",
                "SET LOCAL lock_timeout = '50ms'",
                "CREATE TABLE app.stock (id int)",
            ],
        );
        let failed = send(&mut client, "INSERT INTO app.stock VALUES (1)");
        assert_eq!(failed.code(), "42501", "{:?}", failed.error);
        assert_eq!(
            outcome(&send(&mut client, "SELECT note FROM leads")),
            "25P02"
        );
        all_ok(&mut client, send, &["ROLLBACK", "SELECT note FROM leads"]);
    }
    client.query("SET lock_timeout = '50ms'").ok();
    let made = [
        "CREATE TABLE app.stock (id int)",
        "INSERT INTO app.stock VALUES (7)",
        "SELECT 1",
    ];
    assert_eq!(pipeline(&mut client, &made).code(), "42501");
    assert_eq!(ask(&mut client, "SELECT note FROM leads"), "a");
    script(world.owner(), "ROLLBACK");
    assert!(pipeline(&mut client, &made).error.is_none());
}

#[test]
fn c_a_chain_of_transactions_is_followed() {
    let world = world(NEVER);
    let mut client = world.session();
    for send in PROTOCOLS {
        all_ok(
            &mut client,
            send,
            &[
                "BEGIN",
                "CREATE TABLE app.stock (id int)",
                "INSERT INTO app.stock VALUES (1)",
                "COMMIT AND CHAIN",
                "INSERT INTO app.stock VALUES (2)",
                "CREATE TABLE app.more (id int)",
                "INSERT INTO app.more VALUES (2)",
                "ROLLBACK AND CHAIN",
            ],
        );
        let gone = outcome(&send(&mut client, "SELECT FROM app.more"));
        assert_eq!(gone, "unknown_relation");
        all_ok(&mut client, send, &["ROLLBACK"]);
        assert_eq!(outcome(&send(&mut client, "SELECT id FROM app.stock")), "1");
        all_ok(&mut client, send, &["DROP TABLE app.stock"]);
    }
}

#[test]
fn c_a_procedure_that_makes_nothing_changes_nothing() {
    let world = world(NEVER);
    let mut client = world.session();
    for send in PROTOCOLS {
        all_ok(
            &mut client,
            send,
            &[
                "BEGIN",
                "CALL public.migrate('UPDATE places SET name = upper(name)')",
            ],
        );
        assert_eq!(
            outcome(&send(&mut client, "SELECT name FROM places")),
            "HARBOUR"
        );
        all_ok(
            &mut client,
            send,
            &[
                "SELECT note FROM leads",
                "CALL public.migrate('CREATE TABLE fresh AS SELECT * FROM leads')",
            ],
        );
        assert_eq!(outcome(&send(&mut client, "SELECT note FROM fresh")), "a");
        all_ok(&mut client, send, &["ROLLBACK"]);
    }
}

#[test]
fn c_several_statements_at_once_do_not_outlive_the_transaction() {
    let world = world(NEVER);
    let mut client = world.session();
    for end in ["ROLLBACK", "COMMIT", "ROLLBACK TO s"] {
        client.query("BEGIN").ok();
        client.query("SAVEPOINT s").ok();
        client.query("CREATE TABLE app.stock (id int)").ok();
        let both = "INSERT INTO app.stock VALUES (1); SELECT count(*) FROM app.stock";
        client.query(both).ok();
        let across = client.query(&format!("SELECT 1; {end}; SELECT id FROM app.stock"));
        assert_eq!(across.denied(), Some("unsupported_statement"), "{end}");
        client.query("ROLLBACK").ok();
    }
}

#[test]
fn c_ddl_of_others_is_seen_inside_too() {
    let mut world = world(OFTEN);
    let mut client = world.session();
    client.query("BEGIN").ok();
    client.query("CREATE TABLE app.stock (id int)").ok();
    client.query("INSERT INTO app.stock VALUES (1)").ok();
    let changes = world.changes();
    world.ddl("CREATE TABLE fresh AS SELECT * FROM leads");
    until(|| world.changes(), |it| *it > changes);
    assert_eq!(ask(&mut client, "SELECT count(*) FROM fresh"), "1");
    client.query("INSERT INTO app.stock VALUES (2)").ok();
    client.query("ROLLBACK").ok();
}
