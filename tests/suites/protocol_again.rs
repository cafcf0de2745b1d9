//! THREATS G2: an unnamed Parse of what the server has already. It is not sent, and the client must not
//! notice: PostgreSQL itself, which parses each time, says what is right.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::HashSet;
use std::time::Duration;

use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::Tenant;
use pgwarden_tests::frames::{Frames, Twins};
use pgwarden_tests::pooled::Pooled;
use pgwarden_tests::proxy::keeps_its_server;
use pgwarden_tests::watched::{NEVER, POLICY, World, ask};
use pgwarden_tests::wire::{Client, Message, bind_body, execute_body, parse_body, tags_and_codes};

/// More often than a text must come before its Parse is not sent.
const TIMES: usize = 4;

fn new() -> Frames {
    Frames::new()
}

/// Sends the same again and again, both ways.
fn again(twins: &mut Twins, scripts: &[Frames]) {
    for _ in 0..TIMES {
        for script in scripts {
            twins.same(script);
        }
    }
}

const COUNT: &str = "SELECT count(*) FROM leads WHERE score > $1";

#[test]
fn g2_parsed_again_it_answers_the_same() {
    let mut twins = Twins::new();
    let by_id = "SELECT id, full_name FROM leads WHERE id::text > $1 ORDER BY id";
    let parse = || new().parse("", COUNT);
    let pages = new()
        .parse("", by_id)
        .bind("", "", &["0"])
        .target(b'D', b'P', "")
        .execute("", 1)
        .execute("", 1)
        .execute("", 0)
        .sync();
    let binary = new()
        .parse_typed("", COUNT, &[23])
        .bind_with("", "", &[1], &[Some(&[0, 0, 0, 1])], &[1])
        .target(b'D', b'P', "")
        .execute("", 0)
        .sync();
    let mut many = parse();
    for _ in 0..12 {
        many = many.bind("", "", &["1"]).execute("", 0).execute("", 0);
    }
    let twice = new().run(COUNT, &["1"]).sync().run(COUNT, &["2"]).sync();
    for scripts in [
        &[new().run(COUNT, &["1"]).sync()][..],
        &[pages],
        &[binary],
        &[many.sync()],
        &[twice],
        // As drivers prepare, and run later.
        &[
            parse().target(b'D', b'S', "").sync(),
            new().bind("", "", &["1"]).execute("", 0).sync(),
        ],
        &[
            parse().sync(),
            new().bind("", "", &["1"]).execute("", 0).sync(),
        ],
        &[parse()
            .target(b'D', b'S', "")
            .bind("", "", &["1"])
            .execute("", 0)
            .sync()],
        // The server is asked for its answers in between.
        &[parse()
            .raw(b'H', b"")
            .bind("", "", &["1"])
            .execute("", 0)
            .sync()],
        &[parse()
            .bind("", "", &["1"])
            .raw(b'H', b"")
            .execute("", 0)
            .sync()],
        // Another statement in the same pipeline.
        &[new()
            .run(COUNT, &["1"])
            .run(by_id, &["0"])
            .run(COUNT, &["1"])
            .sync()],
        &[parse()
            .parse("", by_id)
            .bind("", "", &["0"])
            .execute("", 0)
            .sync()],
        // Nothing that gives rows.
        &[new()
            .run("DELETE FROM notes WHERE id IS NULL AND body = $1", &["x"])
            .sync()],
        // Other types.
        &[new()
            .parse_typed("", COUNT, &[20])
            .target(b'D', b'S', "")
            .sync()],
    ] {
        again(&mut twins, scripts);
    }
}

#[test]
fn g2_what_is_read_by_the_clock_is_read_at_its_own_parse() {
    for mode in [PoolMode::Session, PoolMode::Transaction] {
        let pooled = Pooled::with(2, |settings| settings.pool.mode = mode);
        let mut clients = [pooled.session(Tenant::A), pooled.session(Tenant::A)];
        for text in [
            "SELECT 'now'::timestamptz, count(*) FROM leads",
            "SELECT timestamptz E'n\\x6fw', id FROM campaigns",
            "SELECT max('now()'::timestamptz) FROM leads",
        ] {
            let mut seen = HashSet::new();
            for n in 0..4 * TIMES {
                let reply = clients[n % 2].extended(text, &[]).ok();
                assert!(seen.insert(reply.value()), "{mode:?}: {text}");
            }
        }
        // What has a name keeps what it has read.
        let client = &mut clients[0];
        let prepare = new().query("BEGIN").parse("s", "SELECT 'now'::timestamptz");
        let run = || new().bind("", "s", &[]).execute("", 0).sync();
        prepare.sync().exchange(client);
        let first = run().exchange(client);
        assert_eq!(tags_and_codes(&first), "2DCZ");
        assert_eq!(run().exchange(client)[1], first[1]);
    }
}

#[test]
fn g2_parsed_again_its_errors_come_where_they_are() {
    let mut twins = Twins::new();
    let parse = || new().parse("", COUNT);
    let value = || new().bind("", "", &["1"]).execute("", 0).sync();
    for scripts in [
        &[parse().bind("", "", &["x"]).execute("", 0).sync(), value()][..],
        &[
            parse().bind("", "", &["1", "2"]).execute("", 0).sync(),
            value(),
        ],
        &[
            parse().bind("", "", &[]).target(b'D', b'P', "").sync(),
            value(),
        ],
        &[parse().bind("", "other", &["1"]).sync(), value()],
        &[
            parse().bind("p", "", &["1"]).execute("q", 0).sync(),
            value(),
        ],
        &[parse().raw(b'B', b"\0\0\0\x01").sync(), value()],
        &[
            new().run("SELECT 1 / ($1::int - 1)", &["1"]).sync(),
            value(),
        ],
        &[
            new()
                .run("SELECT no_such FROM leads WHERE score > $1", &["1"])
                .sync(),
            value(),
        ],
        // What drops the unnamed statement.
        &[parse().target(b'C', b'S', "").sync(), value()],
        &[parse().sync(), new().query("SELECT 1"), value()],
        &[
            parse().bind("", "", &["1"]).execute("", 0).sync(),
            new().query("SELECT 1"),
            value(),
        ],
        &[
            new().run(COUNT, &["1"]).sync(),
            new().parse("", "SELEC").sync(),
            value(),
        ],
    ] {
        again(&mut twins, scripts);
    }
    // No name of ours.
    let script = parse().bind("", "", &["1", "2"]).sync();
    for _ in 0..TIMES {
        let ours = script.exchange(&mut twins.proxied);
        let theirs = script.exchange(&mut twins.direct);
        let error = |messages: &[Message]| {
            let found = messages.iter().find(|it| it.tag == b'E').unwrap();
            found.error().message().to_owned()
        };
        assert!(!error(&ours).contains("pgwarden_"), "{}", error(&ours));
        assert_eq!(ours.len(), theirs.len());
    }
}

#[test]
fn g2_parsed_again_in_and_behind_transactions() {
    let mut twins = Twins::new();
    let run = || new().run(COUNT, &["1"]).sync();
    for scripts in [
        &[
            new().query("BEGIN"),
            run(),
            run(),
            run(),
            new().query("COMMIT"),
        ][..],
        &[
            run(),
            new().query("BEGIN"),
            new().query("SELECT 1/0"),
            // 25P02
            run(),
            new().parse("", COUNT).sync(),
            new().query("ROLLBACK"),
            run(),
        ],
        &[
            new().run("BEGIN", &[]).sync(),
            run(),
            new().run("ROLLBACK", &[]).sync(),
        ],
        &[
            new()
                .run("BEGIN", &[])
                .run(COUNT, &["1"])
                .run("COMMIT", &[])
                .sync(),
            run(),
        ],
    ] {
        again(&mut twins, scripts);
    }
}

#[test]
fn g2_parsed_again_under_other_settings() {
    let mut twins = Twins::new();
    let sql = "SELECT '2024-01-02 09:00'::timestamptz::text, '01/02/2024'::date::text, count(*) FROM leads";
    let run = || new().run(sql, &[]).sync();
    let query = |sql| new().query(sql);
    for scripts in [
        &[
            run(),
            query("SET TimeZone = 'Asia/Tokyo'"),
            run(),
            run(),
            query("RESET TimeZone"),
        ][..],
        &[
            run(),
            query("SET DateStyle = 'ISO, DMY'"),
            run(),
            run(),
            query("RESET DateStyle"),
            run(),
        ],
        &[
            query("BEGIN"),
            query("SET LOCAL DateStyle = 'ISO, DMY'"),
            run(),
            query("COMMIT"),
            run(),
        ],
        &[
            query("BEGIN"),
            query("SET DateStyle = 'ISO, DMY'"),
            run(),
            query("ROLLBACK"),
            run(),
        ],
        &[
            new()
                .run("SET DateStyle = 'ISO, DMY'", &[])
                .run(sql, &[])
                .sync(),
            run(),
        ],
        &[run(), query("DISCARD PLANS"), run()],
        &[run(), query("DEALLOCATE ALL"), run()],
        &[run(), new().run("DEALLOCATE ALL", &[]).sync(), run()],
        &[
            new().run("SELECT count(*) FROM plans", &[]).sync(),
            query("CREATE TEMP TABLE plans (id int)"),
            new().run("SELECT count(*) FROM plans", &[]).sync(),
            query("DROP TABLE pg_temp.plans"),
            new().run("SELECT count(*) FROM plans", &[]).sync(),
        ],
    ] {
        again(&mut twins, scripts);
    }
}

/// Policy and database of the tests that look at the server from inside.
fn world(more: &str) -> World {
    let policy = format!(
        "{POLICY}\n[functions]\nallow = [\"public.kept\", \"public.plans\", \"public.move_to\"]\n"
    );
    let inside = "CREATE FUNCTION kept() RETURNS bigint LANGUAGE sql AS
           'SELECT count(*) FROM pg_prepared_statements';
         CREATE FUNCTION plans() RETURNS text LANGUAGE sql AS
           'SELECT string_agg(custom_plans || ''/'' || generic_plans, '' '')
              FROM pg_prepared_statements';
         CREATE FUNCTION move_to(style text) RETURNS text LANGUAGE plpgsql AS
           $$BEGIN RETURN set_config('DateStyle', style, false); END$$;";
    World::prepared(NEVER, &policy, &format!("{inside}{more}"))
}

fn run(client: &mut Client, sql: &str, values: &[&str]) -> String {
    tags_and_codes(&new().run(sql, values).sync().exchange(client))
}

#[test]
fn g2_what_comes_once_leaves_nothing_on_the_server() {
    if !keeps_its_server() {
        return;
    }
    let world = world("");
    let mut client = world.session();
    for at in 0..300 {
        assert_eq!(
            run(&mut client, &format!("SELECT {at} FROM leads"), &[]),
            "12TDCZ"
        );
    }
    assert_eq!(ask(&mut client, "SELECT kept()"), "0");
    for _ in 0..TIMES {
        run(&mut client, "SELECT note FROM leads", &[]);
    }
    assert_eq!(ask(&mut client, "SELECT kept()"), "1");
    // More than it keeps; those that go are closed.
    for round in 0..2 * TIMES {
        for at in 0..30 {
            let at = 30 * (round / TIMES) + at;
            assert_eq!(
                run(&mut client, &format!("SELECT {at}, note FROM leads"), &[]),
                "12TDCZ"
            );
        }
    }
    assert_eq!(ask(&mut client, "SELECT kept()"), "61");
    for at in 0..300 {
        for _ in 0..2 {
            assert_eq!(
                run(&mut client, &format!("SELECT -{at} FROM leads"), &[]),
                "12TDCZ"
            );
        }
    }
    assert_eq!(ask(&mut client, "SELECT kept()"), "256");
    // The client's own names are beside them, and its DEALLOCATE ALL ends all.
    client.query("DEALLOCATE ALL").ok();
    assert_eq!(ask(&mut client, "SELECT kept()"), "0");
    assert_eq!(run(&mut client, "SELECT note FROM leads", &[]), "12TDCZ");
}

/// DDL that nobody has told the proxy of, and that it has not noticed.
#[test]
fn g2_parsed_again_after_ddl_behind_the_back() {
    if !keeps_its_server() {
        return;
    }
    let mut world = world("");
    let mut client = world.session();
    let sql = "SELECT * FROM leads WHERE id > $1";
    let describe = new().parse("", sql).target(b'D', b'S', "").sync();
    let pipeline = new().run(sql, &["0"]).run(sql, &["0"]).sync();
    for round in 0..3 {
        for _ in 0..TIMES {
            assert_eq!(run(&mut client, sql, &["0"]), "12TDCZ");
        }
        world.ddl(&format!("ALTER TABLE leads ADD COLUMN more{round} int"));
        let got = match round {
            0 => run(&mut client, sql, &["0"]),
            1 => tags_and_codes(&describe.exchange(&mut client)),
            _ => tags_and_codes(&pipeline.exchange(&mut client)),
        };
        assert_eq!(got, ["12TDCZ", "1tTZ", "12TDC12TDCZ"][round], "{round}");
    }
    // In a transaction nothing could be begun again.
    for _ in 0..TIMES {
        run(&mut client, sql, &["0"]);
    }
    client.query("BEGIN").ok();
    world.ddl("ALTER TABLE leads ADD COLUMN last int");
    assert_eq!(run(&mut client, sql, &["0"]), "12TDCZ");
    client.query("COMMIT").ok();
    // What is gone is missed at the Parse.
    for _ in 0..TIMES {
        assert_eq!(run(&mut client, sql, &["0"]), "12TDCZ");
    }
    world.ddl("ALTER TABLE leads RENAME TO gone");
    for _ in 0..TIMES {
        assert_eq!(run(&mut client, sql, &["0"]), "[42P01]Z");
        assert_eq!(tags_and_codes(&describe.exchange(&mut client)), "[42P01]Z");
    }
    world.ddl("ALTER TABLE gone RENAME TO leads");
    for _ in 0..TIMES {
        assert_eq!(run(&mut client, sql, &["0"]), "12TDCZ");
    }
}

/// The server tells of such settings, whoever sets them.
#[test]
fn g2_parsed_again_after_a_function_has_changed_settings() {
    if !keeps_its_server() {
        return;
    }
    let world = world("");
    let mut client = world.session();
    let sql = "SELECT ('01/02/2024'::date - '2024-01-01')::text FROM leads";
    let days = |client: &mut Client| {
        let messages = new().run(sql, &[]).sync().exchange(client);
        let row = messages.iter().find(|it| it.tag == b'D').unwrap();
        String::from_utf8_lossy(&row.body[6..]).into_owned()
    };
    for (style, expected) in [("ISO, MDY", "1"), ("ISO, DMY", "31"), ("ISO, MDY", "1")] {
        ask(&mut client, &format!("SELECT move_to('{style}')"));
        for _ in 0..TIMES {
            assert_eq!(days(&mut client), expected);
        }
    }
}

/// As for statements with a name: PostgreSQL takes a generic plan from the sixth execution on, if it
/// costs no more, and what the role or database says of `plan_cache_mode` is obeyed.
#[test]
fn g2_parsed_again_it_is_planned_as_a_statement_with_a_name() {
    if !keeps_its_server() {
        return;
    }
    let sql = "SELECT count(*) FROM leads WHERE id > $1";
    for (mode, generic) in [("force_custom_plan", false), ("force_generic_plan", true)] {
        let world = world(&format!(
            "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET plan_cache_mode = {mode}',
               current_database()); END $$"
        ));
        let mut client = world.session();
        for _ in 0..10 {
            assert_eq!(run(&mut client, sql, &["5"]), "12TDCZ");
            let reply = client.extended(sql, &[Some("0")]).ok();
            assert_eq!(reply.value().as_deref(), Some("1"));
        }
        let plans = ask(&mut client, "SELECT plans()");
        assert_eq!(plans.starts_with("0/"), generic, "{plans}");
        assert_eq!(plans.ends_with("/0"), !generic, "{plans}");
    }
}

#[test]
fn g2_parsed_again_in_pieces() {
    let mut twins = Twins::new();
    let bind = bind_body("", "", &[], &[Some(b"1")], &[]);
    let parts: [(u8, Vec<u8>); 4] = [
        (b'P', parse_body("", COUNT, &[])),
        (b'B', bind),
        (b'E', execute_body("", 0)),
        (b'S', Vec::new()),
    ];
    again(&mut twins, &[new().run(COUNT, &["1"]).sync()]);
    for waits in 0..parts.len() {
        for (at, (tag, body)) in parts.iter().enumerate() {
            if at == waits {
                std::thread::sleep(Duration::from_millis(20));
            }
            twins.proxied.send(*tag, body);
        }
        assert_eq!(
            tags_and_codes(&twins.proxied.messages()),
            "12DCZ",
            "{waits}"
        );
    }
    // Who leaves behind a Parse leaves nothing.
    let mut other =
        pgwarden_tests::proxy::session(&twins.arena.plain(), pgwarden_tests::fixture::Tenant::A);
    for _ in 0..TIMES {
        run(&mut other, COUNT, &["1"]);
    }
    other.send(b'P', &parse_body("", COUNT, &[]));
    drop(other);
    again(&mut twins, &[new().run(COUNT, &["1"]).sync()]);
}
