//! The files of migration tools, as they are written, with `ddl = "unscoped"`: each passes in one message and statement by
//! statement, and makes what PostgreSQL makes of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_policy::script::{self, PartKind};
use pgwarden_tests::fixture::{Arena, ROLE, Tenant, script as run, server, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::proxy::{address_with, session_at};
use pgwarden_tests::wire::Client;

/// Who has written it, the text, and a table that it makes.
const FILES: &[(&str, &str, &str)] = &[
    (
        "prisma",
        include_str!("../fixtures/migrations/prisma.sql"),
        r#""Author""#,
    ),
    (
        "drizzle",
        include_str!("../fixtures/migrations/drizzle.sql"),
        "articles",
    ),
    (
        "knex",
        include_str!("../fixtures/migrations/knex.sql"),
        "books",
    ),
    (
        "django",
        include_str!("../fixtures/migrations/django.sql"),
        "forum_reply",
    ),
    (
        "alembic",
        include_str!("../fixtures/migrations/alembic.sql"),
        "parcels",
    ),
    (
        "flyway",
        include_str!("../fixtures/migrations/flyway.sql"),
        "bills",
    ),
    (
        "liquibase",
        include_str!("../fixtures/migrations/liquibase.sql"),
        "depots",
    ),
    (
        PG_DUMP,
        include_str!("../fixtures/migrations/pg_dump.sql"),
        "carriers",
    ),
];

/// What it writes goes through psql, statement by statement: it empties the search_path first, which in one message with
/// others is refused. So is what would turn row level security into errors.
const PG_DUMP: &str = "pg_dump, as structure.sql of Rails";
const NOT_OF_CLIENTS: &str = "SET row_security = off";

/// What the role has made in a schema: columns, constraints, indexes, enums and sequences.
const MADE: &str = "
    SELECT concat_ws(' ', c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
        pg_get_expr(d.adbin, d.adrelid))
      FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind IN ('r', 'S') AND c.relowner = 'pgwarden_app'::regrole
    UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index
      JOIN pg_class c ON c.oid = indrelid AND c.relowner = 'pgwarden_app'::regrole AND c.relkind = 'r'
    UNION ALL SELECT c.relname || ' ' || conname || ' ' || pg_get_constraintdef(k.oid)
      FROM pg_constraint k JOIN pg_class c ON c.oid = conrelid AND c.relowner = 'pgwarden_app'::regrole
    UNION ALL SELECT t.typname || ' ' || string_agg(enumlabel, ', ' ORDER BY enumsortorder)
      FROM pg_enum e JOIN pg_type t ON t.oid = enumtypid AND t.typowner = 'pgwarden_app'::regrole GROUP BY t.typname
    UNION ALL SELECT concat_ws(' ', c.relname, d.objsubid, description)
      FROM pg_description d JOIN pg_class c ON c.oid = objoid AND c.relowner = 'pgwarden_app'::regrole AND classoid = 'pg_class'::regclass
    UNION ALL SELECT concat_ws(' ', c.relname, 'of', refobjid::regclass, refobjsubid)
      FROM pg_depend d JOIN pg_class c ON c.oid = objid AND c.relkind = 'S' AND c.relowner = 'pgwarden_app'::regrole AND deptype = 'a'
    UNION ALL SELECT concat_ws(' ', relname, pg_sequence_last_value(oid)) FROM pg_class WHERE relkind = 'S' AND relowner = 'pgwarden_app'::regrole
    ORDER BY 1";

const UNMAKE: &str = "DO $$ DECLARE it record; BEGIN
    FOR it IN SELECT oid::regclass AS name, relkind FROM pg_class WHERE relowner = 'pgwarden_app'::regrole AND relkind = 'r' LOOP
      EXECUTE 'DROP TABLE ' || it.name || ' CASCADE'; END LOOP;
    FOR it IN SELECT oid::regclass AS name FROM pg_class WHERE relowner = 'pgwarden_app'::regrole AND relkind = 'S' LOOP
      EXECUTE 'DROP SEQUENCE ' || it.name; END LOOP;
    FOR it IN SELECT oid::regtype AS name FROM pg_type WHERE typowner = 'pgwarden_app'::regrole AND typtype = 'e' LOOP
      EXECUTE 'DROP TYPE ' || it.name; END LOOP; END $$";

fn admin(database: &str) -> Client {
    superuser(server().address(), database)
}

/// What a file leaves, which is then taken away.
fn made(database: &str) -> Vec<String> {
    let mut admin = admin(database);
    let reply = run(&mut admin, MADE);
    let rows = reply.results[0].rows.iter();
    let made = rows.map(|row| String::from_utf8(row[0].clone().unwrap()).unwrap());
    let made = made.collect();
    run(&mut admin, UNMAKE);
    made
}

fn statements(text: &str) -> Vec<&str> {
    let parts = script::split(text).into_iter();
    let parts = parts.filter(|part| part.kind == PartKind::Statement);
    parts.map(|part| &text[part.range]).collect()
}

#[test]
fn files_pass_whole_and_in_pieces() {
    let arena = Arena::take();
    for database in [arena.plain(), arena.oracle()] {
        run(
            &mut admin(&database),
            &format!("GRANT CREATE ON SCHEMA public TO {ROLE}"),
        );
    }
    let lines = ["ddl = \"unscoped\"", "unlisted = \"write\""].map(str::to_owned);
    let mut problems = Vec::new();
    for (tool, text, table) in FILES {
        let mut oracle = arena.oracle_session(Tenant::A);
        for statement in statements(text) {
            oracle.query(statement).ok();
        }
        let wanted = made(&arena.oracle());
        assert!(wanted.len() > 10, "{tool}: {wanted:?}");

        let session = || session_at(address_with(&lines), &arena.plain(), Tenant::A);
        let mut client = session();
        for statement in statements(text) {
            let refused = client.extended(statement, &[]).error;
            if statement == NOT_OF_CLIENTS {
                assert_eq!(refused.unwrap().code(), "42501");
                continue;
            }
            problems.extend(refused.map(|error| format!("{tool}: {statement}\n{error:?}")));
        }
        let pieces = made(&arena.plain());
        until("the proxy knows that it is gone", || {
            let left = session().query(&format!("SELECT FROM {table}"));
            left.denied() == Some("unknown_relation")
        });
        let mut check = |how: &str, made: Vec<String>| {
            if made != wanted {
                problems.push(format!("{tool}, {how}: {made:#?}\nnot {wanted:#?}"));
            }
        };
        check("in pieces", pieces);
        if *tool != PG_DUMP {
            let refused = session().query(text).error;
            check("in one message", made(&arena.plain()));
            problems.extend(refused.map(|error| format!("{tool}, in one message: {error:?}")));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
    for database in [arena.plain(), arena.oracle()] {
        run(
            &mut admin(&database),
            &format!("REVOKE CREATE ON SCHEMA public FROM {ROLE}"),
        );
    }
}
