//! Prepared statements in transaction mode, as drivers use them: one pool of server connections,
//! statements that are shared there, and clients that must not notice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::Duration;

use pgwarden_tests::patience::until;
use pgwarden_tests::random::Random;
use pgwarden_tests::wire::{Client, Message, bind_body, execute_body, parse_body, target_body};
use pgwarden_tests::world::{World, word};

fn pooled(server_connections: usize) -> World {
    World::start("transaction", |settings| {
        for database in settings.databases.named.values_mut() {
            database.max_server_connections = server_connections;
            database.catalog_interval = Duration::from_millis(100);
        }
    })
}

/// Messages up to a Sync.
struct Pipeline<'c>(&'c mut Client);

impl Pipeline<'_> {
    fn parse(self, name: &str, sql: &str) -> Self {
        self.0.send(b'P', &parse_body(name, sql, &[]));
        self
    }

    fn bind(self, name: &str, values: &[&str]) -> Self {
        let values: Vec<_> = values.iter().map(|it| Some(it.as_bytes())).collect();
        self.0.send(b'B', &bind_body("", name, &[], &values, &[]));
        self
    }

    /// Describe of a statement (`S`) or portal (`P`).
    fn describe(self, kind: u8, name: &str) -> Self {
        self.0.send(b'D', &target_body(kind, name));
        self
    }

    fn execute(self) -> Self {
        self.0.send(b'E', &execute_body("", 0));
        self
    }

    fn run(self, name: &str, values: &[&str]) -> Self {
        self.bind(name, values).execute()
    }

    fn close(self, name: &str) -> Self {
        self.0.send(b'C', &target_body(b'S', name));
        self
    }

    /// Types of the messages that came, with the rows' first values and errors' codes.
    fn sync(self) -> String {
        self.0.send(b'S', &[]);
        self.0.messages().iter().map(shown).collect()
    }
}

fn shown(message: &Message) -> String {
    match message.tag {
        b'D' => format!("({})", String::from_utf8_lossy(&message.body[6..])),
        b'E' => format!("[{}]", message.error().code()),
        tag => (tag as char).to_string(),
    }
}

#[test]
fn jdbc_switches_to_a_named_statement() {
    let world = pooled(2);
    let mut clients: Vec<Client> = (0..3).map(|it| world.session(it).unwrap()).collect();
    let sql = "SELECT word || $1 FROM words";
    for time in 1..10 {
        for (tenant, client) in clients.iter_mut().enumerate() {
            let value = time.to_string();
            let row = format!("({}{value})", word(tenant));
            let pipeline = Pipeline(client);
            let got = match time {
                1..5 => pipeline
                    .parse("", sql)
                    .bind("", &[&value])
                    .describe(b'P', ""),
                5 => pipeline
                    .parse("S_1", sql)
                    .bind("S_1", &[&value])
                    .describe(b'P', ""),
                _ => pipeline.bind("S_1", &[&value]),
            };
            let expected = match time {
                1..=5 => format!("12T{row}CZ"),
                _ => format!("2{row}CZ"),
            };
            assert_eq!(got.execute().sync(), expected, "{time}, {tenant}");
        }
    }
}

#[test]
fn npgsql_sends_several_statements_at_once() {
    let world = pooled(1);
    let mut a = world.session(1).unwrap();
    let mut b = world.session(2).unwrap();
    let insert = "INSERT INTO marks (writer, n) VALUES (1, $1::text::int)";
    let read = "SELECT count(*)::text FROM marks WHERE writer = 1";
    let all = Pipeline(&mut a)
        .parse("_p1", insert)
        .describe(b'S', "_p1")
        .parse("_p2", read)
        .describe(b'S', "_p2");
    assert_eq!(all.sync(), "1tn1tTZ");
    let all = Pipeline(&mut a)
        .run("_p1", &["1"])
        .run("_p1", &["2"])
        .run("_p2", &[]);
    assert_eq!(all.sync(), "2C2C2(2)CZ");
    // The error in the middle takes the first with it, and what follows is skipped.
    let all = Pipeline(&mut a)
        .run("_p1", &["3"])
        .run("_p1", &["x"])
        .parse("_p3", "SELECT 1")
        .close("_p2");
    assert_eq!(all.sync(), "2C[22P02]Z");
    assert_eq!(Pipeline(&mut b).run("_p2", &[]).sync(), "[26000]Z");
    assert_eq!(Pipeline(&mut a).run("_p3", &[]).sync(), "[26000]Z");
    assert_eq!(Pipeline(&mut a).run("_p2", &[]).sync(), "2(2)CZ");
    // A statement is replaced within one pipeline.
    let all = Pipeline(&mut a)
        .close("_p2")
        .parse("_p2", "SELECT 'other'")
        .run("_p2", &[]);
    assert_eq!(all.sync(), "312(other)CZ");
    // Each of two transactions in one write has its own end.
    a.send(b'B', &bind_body("", "_p1", &[], &[Some(b"x")], &[]));
    a.send(b'E', &execute_body("", 0));
    a.send(b'S', &[]);
    assert_eq!(Pipeline(&mut a).run("_p1", &["4"]).sync(), "[22P02]Z");
    assert_eq!(a.messages().iter().map(shown).collect::<String>(), "2CZ");
}

#[test]
fn more_statements_than_a_server_connection_keeps() {
    let world = pooled(1);
    let mut a = world.session(1).unwrap();
    let mut b = world.session(2).unwrap();
    for at in 0..600 {
        let sql = format!("SELECT '{at}' || word FROM words");
        let got = Pipeline(&mut a).parse(&format!("s{at}"), &sql).sync();
        assert_eq!(got, "1Z");
    }
    let mut random = Random::new(7);
    for _ in 0..600 {
        let at = random.below(600);
        let (client, tenant) = if random.chance(80) {
            (&mut a, 1)
        } else {
            (&mut b, 2)
        };
        let row = format!("({at}{})", word(tenant));
        if tenant == 2 {
            let sql = format!("SELECT '{at}' || word FROM words");
            let got = Pipeline(client).parse("", &sql).run("", &[]).sync();
            assert_eq!(got, format!("12{row}CZ"));
        } else {
            let got = Pipeline(client).run(&format!("s{at}"), &[]).sync();
            assert_eq!(got, format!("2{row}CZ"));
        }
    }
    // More than it keeps in a single pipeline, some of it twice.
    let mut pipeline = Pipeline(&mut a);
    let mut expected = String::new();
    for at in (0..400).chain(0..20) {
        pipeline = pipeline.run(&format!("s{at}"), &[]);
        expected += &format!("2({at}{})C", word(1));
    }
    assert_eq!(pipeline.sync(), expected + "Z");
    // An error among them leaves the right ones.
    let mut pipeline = Pipeline(&mut a);
    for at in 300..560 {
        pipeline = pipeline.run(&format!("s{at}"), &[]);
        if at == 400 {
            pipeline = pipeline.parse("", "SELECT 1/0").run("", &[]);
        }
    }
    assert!(pipeline.sync().ends_with("[22012]Z"));
    for at in 300..600 {
        let got = Pipeline(&mut a).run(&format!("s{at}"), &[]).sync();
        assert_eq!(got, format!("2({at}{})CZ", word(1)));
    }
}

#[test]
fn one_name_in_many_clients() {
    let world = pooled(2);
    std::thread::scope(|scope| {
        for tenant in 0..8 {
            let world = &world;
            scope.spawn(move || {
                let mut client = world.session(tenant).unwrap();
                let mut random = Random::new(u64::try_from(tenant).unwrap());
                let mut variant = None;
                for round in 0..150 {
                    match (random.below(10), variant) {
                        (0, _) => {
                            let all = *random.pick(&["DISCARD ALL", "DEALLOCATE ALL"]);
                            client.query(all).ok();
                            variant = None;
                        }
                        (1..4, Some(_)) => {
                            let got = Pipeline(&mut client).close("s").sync();
                            assert_eq!(got, "3Z");
                            variant = None;
                        }
                        (_, None) => {
                            let other = random.below(4);
                            let sql = format!("SELECT '{other}' || word || $1 FROM words");
                            let got = Pipeline(&mut client).parse("s", &sql).sync();
                            assert_eq!(got, "1Z");
                            variant = Some(other);
                        }
                        (_, Some(other)) => {
                            let value = round.to_string();
                            let got = Pipeline(&mut client).run("s", &[&value]).sync();
                            let row = format!("{other}{}{value}", word(tenant));
                            assert_eq!(got, format!("2({row})CZ"));
                            continue;
                        }
                    }
                    if variant.is_none() {
                        let got = Pipeline(&mut client).run("s", &["1"]).sync();
                        assert_eq!(got, "[26000]Z");
                    }
                }
            });
        }
    });
}

#[test]
fn ddl_between_executions_is_seen_as_on_a_direct_connection() {
    let world = pooled(1);
    let mut admin = world.superuser();
    let mut a = world.session(1).unwrap();
    let mut b = world.session(2).unwrap();
    let sql = "SELECT * FROM words";
    let count = |world: &World| world.metric("pgwarden_catalog_checks_total{outcome=\"changed\"}");
    for round in 0..3 {
        let name = format!("s{round}");
        let got = Pipeline(&mut a).parse(&name, sql).run(&name, &[]).sync();
        assert!(got.starts_with("12(") && got.ends_with("CZ"), "{got}");
        let before = count(&world);
        admin
            .query(&format!("ALTER TABLE words ADD COLUMN more{round} int"))
            .ok();
        until("the notice", || count(&world) > before);
        // Who prepares it now gets the new columns, though the server has the old statement.
        let got = Pipeline(&mut b).parse("", sql).run("", &[]).sync();
        assert!(got.starts_with("12(") && got.ends_with("CZ"), "{got}");
        // Who has prepared it before is told, as PostgreSQL would.
        let got = Pipeline(&mut a).run(&name, &[]).sync();
        assert_eq!(got, "[0A000]Z");
        let got = Pipeline(&mut a)
            .close(&name)
            .parse(&name, sql)
            .run(&name, &[])
            .sync();
        assert!(got.starts_with("312(") && got.ends_with("CZ"), "{got}");
    }
}

#[test]
fn cursors_and_sql_prepare_from_end_to_end() {
    let world = pooled(2);
    let mut clients: Vec<Client> = (0..4).map(|it| world.session(it).unwrap()).collect();
    for (tenant, client) in clients.iter_mut().enumerate() {
        let value = |client: &mut Client, sql: &str| client.query(sql).ok().value();
        let own = Some(word(tenant));
        client.query("BEGIN").ok();
        client
            .query("DECLARE c SCROLL CURSOR FOR SELECT word FROM words")
            .ok();
        assert_eq!(value(client, "FETCH c"), own);
        assert_eq!(value(client, "FETCH c"), None);
        assert_eq!(value(client, "FETCH BACKWARD 1 FROM c"), own);
        client.query("COMMIT").ok();
        assert_eq!(client.query("FETCH c").code(), "34000");
        client.query("PREPARE p AS SELECT word FROM words").ok();
        assert_eq!(value(client, "EXECUTE p"), own);
        client.query("DEALLOCATE ALL").ok();
        assert_eq!(client.query("EXECUTE p").code(), "26000");
    }
}

/// A literal is read when its statement is parsed, under the settings of then.
#[test]
fn literals_are_read_under_the_settings_of_who_prepares() {
    let world = pooled(1);
    let mut clients: Vec<Client> = (0..3).map(|it| world.session(it).unwrap()).collect();
    let zones = ["UTC", "Asia/Tokyo", "UTC"];
    for (client, zone) in clients.iter_mut().zip(zones) {
        client.query(&format!("SET timezone = '{zone}'")).ok();
    }
    let sql = "SELECT extract(epoch FROM '2024-01-01 09:00'::timestamptz)::bigint::text";
    let (utc, tokyo) = ("12(1704099600)CZ", "12(1704067200)CZ");
    for _ in 0..3 {
        for (client, expected) in clients.iter_mut().zip([utc, tokyo, utc]) {
            assert_eq!(
                Pipeline(client).parse("", sql).run("", &[]).sync(),
                expected
            );
        }
    }
    // Within a transaction, too: until its end nobody has told what the settings are.
    let [a, _, b] = &mut clients[..] else {
        panic!("three clients")
    };
    a.query("BEGIN").ok();
    a.query("SET LOCAL timezone = 'Asia/Tokyo'").ok();
    a.query("SAVEPOINT s").ok();
    assert_eq!(Pipeline(a).parse("", sql).run("", &[]).sync(), tokyo);
    a.query("SET LOCAL timezone = 'UTC'").ok();
    assert_eq!(Pipeline(a).parse("", sql).run("", &[]).sync(), utc);
    a.query("ROLLBACK TO s").ok();
    assert_eq!(Pipeline(a).parse("", sql).run("", &[]).sync(), tokyo);
    a.query("ROLLBACK").ok();
    assert_eq!(Pipeline(a).parse("", sql).run("", &[]).sync(), utc);
    // Within one pipeline, before the server has said anything.
    let all = Pipeline(a)
        .parse("", "SET timezone = 'Asia/Tokyo'")
        .run("", &[])
        .parse("", sql)
        .run("", &[]);
    assert_eq!(all.sync(), format!("12C{}", tokyo.replace('Z', "SZ")));
    assert_eq!(Pipeline(a).parse("", sql).run("", &[]).sync(), tokyo);
    // A name that is prepared anew on the connection leads nobody else astray.
    assert_eq!(Pipeline(b).parse("s", sql).run("s", &[]).sync(), utc);
    b.query("SET timezone = 'Asia/Tokyo'").ok();
    for at in 0..300 {
        let other = format!("SELECT {at}::text");
        Pipeline(a).parse("", &other).run("", &[]).sync();
    }
    Pipeline(b).run("s", &[]).sync();
    b.query("SET timezone = 'UTC'").ok();
    for _ in 0..2 {
        assert_eq!(Pipeline(b).parse("", sql).run("", &[]).sync(), utc);
    }
}

/// What a function or trigger sets, nobody has told: what was prepared under it serves no other session.
#[test]
fn statements_prepared_under_unknown_settings_serve_no_other_session() {
    let world = pooled(1);
    let mut a = world.session(1).unwrap();
    let mut b = world.session(2).unwrap();
    let sql = "SELECT extract(epoch FROM '2024-01-01 09:00'::timestamptz)::bigint::text";
    let before = Pipeline(&mut b).parse("", sql).run("", &[]).sync();
    let moves = [
        "SELECT move_to('Asia/Tokyo')",
        "INSERT INTO moves (zone) VALUES ('Asia/Tokyo')",
        "WITH moved AS (INSERT INTO moves (zone) VALUES ('Asia/Tokyo') RETURNING 1) SELECT FROM moved",
    ];
    for (at, moves) in moves.into_iter().enumerate() {
        let sql = format!("{sql} AS move_{at}");
        let run = |client: &mut Client| Pipeline(client).parse("", &sql).run("", &[]).sync();
        a.query(moves).ok();
        assert_eq!(run(&mut a), "12(1704067200)CZ");
        assert_eq!(run(&mut b), before, "{moves}");
    }
    assert_ne!(before, "12(1704067200)CZ");
}
