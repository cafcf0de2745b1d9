//! THREATS G: a Query that finds rows by a key goes to the server as a Bind of a prepared statement. The
//! client must not notice, whatever becomes of it: PostgreSQL itself, which reads each text anew, says
//! what is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::proxy::keeps_its_server;
use pgwarden_tests::watched::{NEVER, POLICY, World, ask, until};
use pgwarden_tests::wire::{Client, cancel, tags_and_codes};

/// More often than a text must come before it is prepared.
const TIMES: usize = 4;

fn new() -> Frames {
    Frames::new()
}

/// Each text, again and again, both ways.
fn same(twins: &mut Twins, texts: &[&str]) {
    for _ in 0..TIMES {
        for text in texts {
            twins.same(&new().query(text));
        }
    }
}

const LEADS: [&str; 12] = [
    // Their own, and another's.
    "SELECT * FROM leads WHERE id = 'ffa8704a-b0d5-9b0e-5de3-d9459ae42abe'",
    "SELECT * FROM leads WHERE id = '22c03464-f138-8f17-8c86-686efd82a2eb'",
    "SELECT full_name, phone AS p FROM leads l WHERE l.phone = '+490' AND l.org_id = 'a0000000-0000-0000-0000-000000000001'",
    "SELECT id FROM leads WHERE phone = '+491'::text AND score IS NOT NULL ORDER BY id LIMIT 21",
    "SELECT id FROM leads WHERE phone = '+491' AND status = 'queued'",
    "SELECT id FROM leads WHERE phone = '+491' AND status = 'no status'",
    "SELECT id FROM leads WHERE phone = '+491' AND tags = '{}'",
    "SELECT id FROM leads WHERE phone = '+491' AND tags = '{'",
    "SELECT id FROM leads WHERE phone = '+491' AND created_at = '2026-01-01 00:00+0'",
    "SELECT uses FROM coupons WHERE code = 'SPRING' AND percent = 15",
    "SELECT uses FROM coupons WHERE code = 'SPRING' AND percent = '15'",
    "SELECT uses FROM coupons WHERE code = 'SPRING' AND percent = '77777777'",
];

#[test]
fn g_a_lookup_is_answered_as_a_query() {
    let mut twins = Twins::new();
    for id in [1, 2, 3, 5, 24, 999, 0] {
        let texts = [
            format!("SELECT * FROM agents WHERE id = {id}"),
            format!(
                "SELECT email, name, skills FROM agents AS a WHERE a.id={id} AND active LIMIT 1"
            ),
            format!("SELECT name FROM public.campaigns WHERE id = {id} AND NOT (name IS NULL)"),
            format!(
                "select budget, starts from campaigns where (id = {id}) order by budget desc nulls last limit {id}"
            ),
            format!("SELECT id FROM agents WHERE id = {id} AND active = true;"),
            format!("SELECT id, org_id FROM agents WHERE id = '{id}' AND name = 'Agent {id}'"),
            format!("SELECT a.id -- by number\n FROM agents a WHERE a.id /* = */ = {id}"),
            format!("SELECT during FROM appointments WHERE id = {id}"),
            format!("SELECT \"Id\" FROM \"Order Items\" WHERE \"Id\" = {id}"),
            format!("SELECT txt FROM notes WHERE id = {id}"),
            format!("SELECT hours FROM shifts WHERE id = {id}"),
        ];
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        same(&mut twins, &texts);
    }
    same(&mut twins, &LEADS);
    for code in ["WELCOME", "SPRING", "B-ONLY", "", "a b", "ünï", "$1", "--"] {
        let texts = [
            format!("SELECT percent, uses FROM coupons WHERE code = '{code}'"),
            format!("SELECT code FROM coupons WHERE coupons.code = '{code}' AND uses = 3"),
        ];
        same(&mut twins, &texts.each_ref().map(String::as_str));
    }
}

#[test]
fn g_a_lookups_errors_are_those_of_its_text() {
    let mut twins = Twins::new();
    let keys = [
        "1",
        "-1",
        "2147483647",
        "2147483648",
        "99999999999999999999",
        "1.5",
        "1e3",
        "'x'",
        "''",
        "' 7 '",
        "E'7'",
        "'it''s'",
        "'7\\'",
        "NULL",
        "true",
        "'7'::int",
        "'7'::uuid",
        "'x'::uuid",
        "7::text",
        "'7'::varchar(1)",
        "B'1'",
        "X'F'",
        "$1",
        "id",
        "(7)",
        "+7",
        "- 7",
        "7 + 0",
        "1/0",
        "DATE '2024-01-01'",
        "U&'7'",
        "'7' 'x'",
        "nobody",
    ];
    let tables = [
        "SELECT id, name FROM agents WHERE id = ",
        "SELECT full_name FROM leads WHERE id = ",
        "SELECT uses FROM coupons WHERE code = ",
        "SELECT name FROM campaigns WHERE id = 1 AND budget = ",
        "SELECT name FROM campaigns WHERE id = 1 LIMIT ",
        "SELECT name FROM campaigns WHERE starts = '2026-01-02' AND id = ",
    ];
    for table in tables {
        // One that goes well before and behind each, which must not be led astray.
        let good = format!("{table}1");
        for key in keys {
            if table.ends_with("LIMIT ") && matches!(key, "id" | "nobody") {
                // Other words for the same.
                continue;
            }
            let text = format!("{table}{key}");
            same(&mut twins, &[&good, &text, &text]);
        }
    }
    for text in [
        "SELECT id FROM agents WHERE id = 1 AND nobody = 2",
        "SELECT nobody FROM agents WHERE id = 1",
        "SELECT id FROM agents WHERE id = 1 ORDER BY nobody",
        "SELECT id FROM agents a WHERE agents.id = 1",
        "SELECT id FROM agents WHERE id = 1 LIMIT 1 OFFSET 1",
        "SELECT id FROM agents WHERE id = 1 ORDER BY 1",
        "SELECT id FROM agents WHERE id = 1 GROUP BY 1",
        "SELECT 1 FROM agents WHERE id = 1",
        "SELECT DISTINCT id FROM agents WHERE id = 1",
        "SELECT id FROM agents WHERE id = 1 FOR SHARE",
        "SELECT id FROM agents WHERE id = 1; SELECT id FROM agents WHERE id = 3",
        "SELECT id FROM agents WHERE id = 1 AND id = 3",
        "SELECT id FROM agents WHERE id = 1 OR id = 3",
        "SELECT id FROM agents WHERE 1 = id",
        "SELECT name FROM campaigns WHERE id = 1 AND starts = '2026-01-02'",
        "SELECT name FROM campaigns WHERE id = 1 AND starts = 'yesterday'",
        "SELECT name FROM campaigns WHERE id = 1 AND starts = 'never'",
    ] {
        same(&mut twins, &[text]);
    }
}

#[test]
fn g_lookups_among_other_messages() {
    let mut twins = Twins::new();
    let of = |id: u32| format!("SELECT name FROM agents WHERE id = {id}");
    same(&mut twins, &[&of(1), &of(3)]);
    let scripts = [
        new().query(&of(1)).query(&of(3)).query(&of(5)),
        new().query(&of(1)).run(&of(3), &[]).sync(),
        new().run(&of(3), &[]).query(&of(1)).sync(),
        new()
            .query("BEGIN")
            .query(&of(1))
            .query(&of(3))
            .query("COMMIT"),
        new()
            .query(&of(1))
            .query("UPDATE agents SET name = name || '!' WHERE id = 1")
            .query(&of(1)),
        new()
            .query("BEGIN")
            .query("SELEC")
            .query(&of(1))
            .query("ROLLBACK"),
        new()
            .parse("", "SELECT 1")
            .query(&of(1))
            .bind("", "", &[])
            .sync(),
        new().query(&of(1)).bind("", "", &[]).sync(),
        new()
            .parse("kept", "SELECT count(*) FROM agents")
            .sync()
            .query(&of(1))
            .bind("", "kept", &[])
            .execute("", 0)
            .target(b'C', b'S', "kept")
            .sync(),
        new().query("DEALLOCATE ALL").query(&of(1)),
        new()
            .query("SET DateStyle = 'German, DMY'")
            .query("SELECT starts FROM campaigns WHERE id = 1")
            .query("RESET DateStyle"),
        new().query("SELECT starts FROM campaigns WHERE id = 1"),
        new()
            .query("BEGIN")
            .query("SET LOCAL extra_float_digits = 0")
            .query(&of(1))
            .query("ROLLBACK"),
        new()
            .query("CREATE TEMP TABLE agents (id int PRIMARY KEY, name text)")
            .query("INSERT INTO agents VALUES (1, 'mine')")
            .query(&format!("SELECT it.name || '' FROM ({}) AS it", of(1)))
            .query("DROP TABLE agents")
            .query(&of(1)),
        new()
            .query("SET search_path = pg_catalog, public")
            .query("SELECT name FROM agents WHERE id = 1")
            .query("RESET search_path"),
        new()
            .query("SET statement_timeout = '10s'")
            .query(&of(1))
            .query("RESET statement_timeout"),
    ];
    for _ in 0..TIMES {
        for script in &scripts {
            twins.same(script);
        }
    }
}

#[test]
fn g_a_lookup_in_pieces() {
    let mut twins = Twins::new();
    let text = "SELECT name FROM agents WHERE id = 3";
    same(&mut twins, &[text]);
    let frames = new().query(text).query(text);
    for cut in 1..frames.bytes().len() {
        let (first, second) = frames.bytes().split_at(cut);
        twins.proxied.send_bytes(first);
        if cut % 8 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        twins.proxied.send_bytes(second);
        for _ in 0..2 {
            assert_eq!(tags_and_codes(&twins.proxied.messages()), "TDCZ", "{cut}");
        }
    }
    same(&mut twins, &[text]);
}

fn run(client: &mut Client, sql: &str) -> String {
    tags_and_codes(&new().query(sql).exchange(client))
}

/// The messages that answer a text, as often as it comes.
fn always(client: &mut Client, text: &str, wanted: &str) {
    for _ in 0..TIMES {
        assert_eq!(run(client, text), wanted, "{text}");
    }
}

fn world(more: &str) -> World {
    let policy = format!("{POLICY}\n[functions]\nallow = [\"public.kept\", \"public.plans\"]\n");
    let inside = "CREATE FUNCTION kept() RETURNS text LANGUAGE sql AS
           'SELECT string_agg(statement, '';'' ORDER BY statement) FROM pg_prepared_statements';
         CREATE FUNCTION plans() RETURNS text LANGUAGE sql AS
           'SELECT string_agg(custom_plans || ''/'' || generic_plans, '' '')
              FROM pg_prepared_statements';";
    World::prepared(NEVER, &policy, &format!("{inside}{more}"))
}

#[test]
fn g_what_is_a_lookup() {
    if !keeps_its_server() {
        return;
    }
    let world = world(
        "CREATE TABLE keyed (a int, b text, c int, d int, org_id uuid NOT NULL,
           UNIQUE (a, b), UNIQUE (c) DEFERRABLE);
         CREATE UNIQUE INDEX ON keyed (d) WHERE d > 5;
         CREATE UNIQUE INDEX ON keyed ((a + d));
         CREATE UNIQUE INDEX ON keyed (org_id, d) INCLUDE (c);
         GRANT ALL ON keyed TO PUBLIC;",
    );
    let mut client = world.session();
    let kept = |client: &mut Client, text: &str| {
        for _ in 0..TIMES {
            assert!(run(client, text).ends_with("CZ"), "{text}");
        }
        let kept = ask(client, "SELECT kept()");
        client.query("DEALLOCATE ALL").ok();
        kept
    };
    for (text, wanted) in [
        (
            "SELECT note FROM leads WHERE id = 1",
            "SELECT note FROM public.leads WHERE leads.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND id = $2",
        ),
        (
            "SELECT a FROM keyed k WHERE b = 'x' AND k.a = 7 LIMIT 1",
            "SELECT a FROM public.keyed k WHERE k.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND (b = $2 AND k.a = $3) LIMIT $4",
        ),
        (
            "SELECT a FROM keyed WHERE d = 7 AND c IS NULL",
            "SELECT a FROM public.keyed WHERE keyed.org_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND (d = $2 AND c IS NULL)",
        ),
    ] {
        assert_eq!(kept(&mut client, text), wanted, "{text}");
    }
    for text in [
        "SELECT note FROM leads WHERE note = 'x'",
        "SELECT a FROM keyed WHERE a = 7",
        "SELECT a FROM keyed WHERE c = 7",
        "SELECT a FROM keyed WHERE a = 7 AND b IS NULL",
        "SELECT a FROM keyed WHERE a = 7 AND b > 'x'",
        "SELECT note FROM leads WHERE id > 1",
        "SELECT note FROM leads WHERE id = 1 OR id = 2",
        "SELECT note FROM leads WHERE id = 1 AND note LIKE 'x'",
        "SELECT note FROM leads WHERE id IN (1, 2)",
        "SELECT count(*) FROM leads WHERE id = 1",
        "SELECT note, 1 FROM leads WHERE id = 1",
        "SELECT note FROM leads WHERE id = 1.0",
        "SELECT note FROM leads WHERE id = 3000000000",
        "SELECT note FROM leads, places WHERE leads.id = 1",
        "SELECT note FROM leads WHERE leads.id = 1 UNION SELECT note FROM leads WHERE id = 2",
        "SELECT name FROM places WHERE id = 7",
        "UPDATE leads SET note = 'x' WHERE id = 1",
    ] {
        assert_eq!(kept(&mut client, text), "", "{text}");
    }
}

#[test]
fn g_lookups_after_ddl_behind_the_back() {
    let mut world = world("");
    let mut client = world.session();
    let text = "SELECT * FROM leads WHERE id = 1";
    for round in 0..3 {
        always(&mut client, text, "TDCZ");
        world.ddl(&format!("ALTER TABLE leads ADD COLUMN more{round} int"));
        let messages = new().query(text).exchange(&mut client);
        assert_eq!(tags_and_codes(&messages), "TDCZ", "{round}");
        assert_eq!(messages[1].body[1], 4 + round, "{round}");
    }
    world.ddl("ALTER TABLE leads RENAME TO gone");
    always(&mut client, text, "[42P01]Z");
    world.ddl("ALTER TABLE gone RENAME TO leads");
    always(&mut client, text, "TDCZ");
    world.ddl("REVOKE ALL ON leads FROM PUBLIC");
    always(&mut client, text, "[42501]Z");
    world.ddl("GRANT ALL ON leads TO PUBLIC");
    always(&mut client, text, "TDCZ");
    world.ddl("ALTER TABLE leads ALTER id TYPE text");
    for _ in 0..TIMES {
        assert_eq!(run(&mut client, text), "[42883]Z");
        assert_eq!(
            run(&mut client, "SELECT * FROM leads WHERE id = '1'"),
            "TDCZ"
        );
    }
}

/// Others hold the table: the Bind waits, and what ends the wait is the Query's end.
#[test]
fn g_a_lookup_that_waits_is_cancelled_as_a_query() {
    let mut world = world("");
    let mut client = world.session();
    let address = world.running.addresses()[0];
    let key = client.key.clone();
    let text = "SELECT note FROM leads WHERE id = 1";
    for prepared in [false, true] {
        world.ddl("BEGIN; LOCK TABLE leads");
        client.send_query(text);
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database())";
        until(|| ask(world.owner(), waiting), |it| it == "1");
        cancel(address, &key);
        assert_eq!(tags_and_codes(&client.messages()), "[57014]Z", "{prepared}");
        client.query("SET lock_timeout = 20").ok();
        assert_eq!(run(&mut client, text), "[55P03]Z");
        client.query("SET lock_timeout = 0").ok();
        client.query("SET statement_timeout = 50").ok();
        assert_eq!(run(&mut client, text), "[57014]Z");
        world.ddl("COMMIT");
        // It may meet that time-out itself.
        until(|| ask(&mut client, "RESET ALL"), |it| it.is_empty());
        always(&mut client, text, "TDCZ");
    }
}

#[test]
fn g_a_lookup_is_planned_as_the_server_wants() {
    if !keeps_its_server() {
        return;
    }
    for (mode, generic) in [("force_custom_plan", false), ("force_generic_plan", true)] {
        let world = world(&format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET plan_cache_mode = {mode}',
               current_database()); END $$"
        ));
        let mut client = world.session();
        for id in 0..10 {
            let wanted = if id == 1 { "TDCZ" } else { "TCZ" };
            let text = format!("SELECT note FROM leads WHERE id = {id}");
            assert_eq!(run(&mut client, &text), wanted);
        }
        let plans = ask(&mut client, "SELECT plans()");
        assert_eq!(plans, if generic { "0/9" } else { "9/0" });
    }
}
