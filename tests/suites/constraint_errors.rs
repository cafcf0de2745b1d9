//! THREATS A3: the DETAIL of constraint errors is PostgreSQL's under row level security: whole for what holds nothing of a
//! tenant, without values for what does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, ROLE, Tenant, script, server, superuser};
use pgwarden_tests::patience::until;
use pgwarden_tests::proxy::{address_with, session_at};
use pgwarden_tests::wire::{Client, Reply};

/// Tables of no tenant, one that refers to a tenant's, and a partitioned one; what they hold is the same on both sides.
const TABLES: &str = "
    CREATE TABLE made.queues (name text PRIMARY KEY);
    CREATE TABLE made.jobs (id int PRIMARY KEY, queue text REFERENCES made.queues, lock text UNIQUE,
        tries int NOT NULL CHECK (tries < 9), at int4range, EXCLUDE USING gist (at WITH &&));
    CREATE TABLE made.job_events (job int REFERENCES made.jobs, lead uuid, kind text);
    CREATE TABLE made.lead_jobs (lead uuid REFERENCES public.leads, job int PRIMARY KEY);
    CREATE TABLE made.lines (at int NOT NULL, note text, CHECK (note <> 'no')) PARTITION BY RANGE (at);
    CREATE TABLE made.lines_one PARTITION OF made.lines FOR VALUES FROM (0) TO (10);
    CREATE UNIQUE INDEX ON made.lines (at);
    INSERT INTO made.queues VALUES ('default');
    INSERT INTO made.jobs VALUES (1, 'default', 'one', 1, '[1,5)'), (2, 'default', 'two', 2, NULL);
    INSERT INTO made.job_events VALUES (1, NULL, 'made');
    INSERT INTO made.lines VALUES (1, 'x');
    INSERT INTO made.lead_jobs SELECT id, row_number() OVER (ORDER BY id) FROM public.leads;
    CREATE FUNCTION made.raises() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23505', DETAIL = (SELECT max(full_name) FROM public.leads),
        SCHEMA = 'made', TABLE = 'queues'; END $$;
    CREATE TABLE made.spoilt (id int);
    CREATE TRIGGER spoils BEFORE INSERT ON made.spoilt FOR EACH ROW EXECUTE FUNCTION made.raises();";
const NO_TABLES: &str =
    "DROP TABLE made.job_events, made.lead_jobs, made.jobs, made.queues, made.lines, made.spoilt;
    DROP FUNCTION made.raises";

/// Statements whose DETAIL is PostgreSQL's, and whether there is one.
const AS_POSTGRESQL: &[(&str, bool)] = &[
    (
        "INSERT INTO made.jobs VALUES (3, 'default', 'one', 1)",
        true,
    ),
    ("INSERT INTO made.jobs VALUES (1, 'default', 'x', 1)", true),
    ("INSERT INTO made.jobs VALUES (3, 'nowhere', 'x', 1)", true),
    (
        "INSERT INTO made.jobs VALUES (3, 'default', 'x', NULL)",
        true,
    ),
    ("INSERT INTO made.jobs VALUES (3, 'default', 'x', 9)", true),
    (
        "INSERT INTO made.jobs VALUES (3, 'default', 'x', 1, '[2,3)')",
        true,
    ),
    ("UPDATE made.jobs SET tries = 10 WHERE id = 2", true),
    ("UPDATE made.jobs SET id = 7 WHERE id = 1", true),
    ("DELETE FROM made.jobs", true),
    ("DELETE FROM made.queues", true),
    ("INSERT INTO made.lines VALUES (11, 'x')", true),
    ("INSERT INTO made.lines VALUES (2, 'no')", true),
    ("INSERT INTO made.lines VALUES (1, 'y')", true),
    ("INSERT INTO made.lines_one VALUES (12, 'y')", true),
    ("INSERT INTO made.lines_one VALUES (NULL, 'y')", true),
    // Of tenants' tables, with keys of the session's own and of another's.
    (
        "INSERT INTO coupons (code, org_id) VALUES ('WELCOME', 'a0000000-0000-0000-0000-000000000001')",
        false,
    ),
    ("INSERT INTO coupons (code) VALUES ('B-ONLY')", false),
    (
        "INSERT INTO notes (id, txt) VALUES (990, 'x'), (990, 'y')",
        false,
    ),
    ("INSERT INTO call_logs (id) VALUES (990)", false),
    ("UPDATE call_logs SET amount = NULL", false),
    (
        "INSERT INTO events (id, at) VALUES (1, '1999-01-01')",
        false,
    ),
    ("UPDATE events SET id = NULL", false),
    ("UPDATE checked_leads SET score = 1", false),
    (
        "INSERT INTO calls (id, lead_id) VALUES (990, '00000000-0000-0000-0000-000000000009')",
        true,
    ),
    ("DELETE FROM agents", true),
    ("INSERT INTO calls (id, agent_id) VALUES (990, 990)", true),
    // The table that refers is nobody's; the key is a tenant's.
    ("DELETE FROM leads", true),
    (
        "DELETE FROM public.leads WHERE id IN (SELECT lead FROM made.lead_jobs WHERE job < 50)",
        true,
    ),
];

/// What PostgreSQL tells, and we don't: the row is nobody's, but the foreign key's table is a tenant's.
const WITHOUT_VALUES: &[&str] =
    &["INSERT INTO made.lead_jobs VALUES ('00000000-0000-0000-0000-000000000009', 0)"];

type Send = fn(&mut Client, &str) -> Reply;

const PROTOCOLS: [Send; 2] = [
    |client, sql| client.query(sql),
    |client, sql| client.extended(sql, &[]),
];

/// Code, DETAIL and the fields that name what it is about.
fn told(reply: &Reply) -> [String; 5] {
    let error = reply.error.as_ref().expect("an error");
    [b'C', b'D', b's', b't', b'n'].map(|code| error.field(code).to_owned())
}

fn make(arena: &Arena) {
    for database in [arena.plain(), arena.oracle()] {
        let mut admin = superuser(server().address(), &database);
        script(&mut admin, TABLES);
        script(
            &mut admin,
            &format!("GRANT ALL ON ALL TABLES IN SCHEMA made TO {ROLE}"),
        );
    }
}

fn unmake(arena: &Arena) {
    for database in [arena.plain(), arena.oracle()] {
        script(&mut superuser(server().address(), &database), NO_TABLES);
    }
    arena.restore();
}

#[test]
fn a3_detail_is_what_row_level_security_leaves() {
    let arena = Arena::take();
    make(&arena);
    let lines = ["unlisted = \"write\""].map(str::to_owned);
    let mut client = session_at(address_with(&lines), &arena.plain(), Tenant::A);
    let mut oracle = arena.oracle_session(Tenant::A);
    for send in PROTOCOLS {
        for (sql, has_detail) in AS_POSTGRESQL {
            let theirs = told(&oracle.query(sql));
            assert_eq!(told(&send(&mut client, sql)), theirs, "{sql}");
            assert_eq!(!theirs[1].is_empty(), *has_detail, "{sql}: {}", theirs[1]);
        }
        for sql in WITHOUT_VALUES {
            let (ours, theirs) = (told(&send(&mut client, sql)), told(&oracle.query(sql)));
            assert_eq!(ours[0], theirs[0], "{sql}");
            assert_eq!(ours[1], "Key is not present in table \"leads\".", "{sql}");
        }
        // What code of somebody's raises may name any table; its text is another tenant's here.
        let raised = told(&send(&mut client, "INSERT INTO made.spoilt VALUES (1)"));
        assert_eq!(raised.map(|it| it.to_string())[..2], ["23505", ""]);
        // A table of the session's own.
        send(&mut client, "CREATE TEMP TABLE coupons (code text UNIQUE)").ok();
        send(&mut client, "INSERT INTO coupons VALUES ('x')").ok();
        let own = told(&send(&mut client, "INSERT INTO coupons VALUES ('x')"));
        assert_eq!(own[1], "Key (code)=(x) already exists.");
        send(&mut client, "DROP TABLE coupons").ok();
    }
    unmake(&arena);
}

/// A table that nobody has listed is nobody's only where the policy opens it, and one with the tenant column is a tenant's
/// from the moment that the catalogue says so.
#[test]
fn a3_detail_goes_when_a_table_becomes_a_tenants() {
    let arena = Arena::take();
    make(&arena);
    let lines = ["unlisted = \"write\""].map(str::to_owned);
    let mut client = session_at(address_with(&lines), &arena.plain(), Tenant::A);
    let mut admin = superuser(server().address(), &arena.plain());
    script(
        &mut admin,
        &format!(
            "CREATE TABLE public.tickets (id int PRIMARY KEY, note text); GRANT ALL ON public.tickets TO {ROLE}; INSERT INTO public.tickets VALUES (1)"
        ),
    );
    let twice = "INSERT INTO public.tickets (id) VALUES (1)";
    until("the table is known", || {
        told(&client.query(twice))[1] == "Key (id)=(1) already exists."
    });
    script(
        &mut admin,
        "ALTER TABLE public.tickets ADD org_id uuid DEFAULT 'b0000000-0000-0000-0000-000000000002'",
    );
    // A statement that stumbles has the catalogue asked at once.
    client
        .query("SELECT FROM public.tickets WHERE nothing")
        .error
        .expect("no such column");
    until("the table is a tenant's", || {
        let read = client.query("SELECT FROM public.tickets").ok();
        read.results[0].rows.is_empty()
    });
    assert_eq!(told(&client.query(twice))[..2], ["23505", ""]);
    script(&mut admin, "DROP TABLE public.tickets");
    unmake(&arena);
}
