//! THREATS D2 and E: what a client declares, or leaves open, of its parameters' types.
//!
//! A Bind check reads a value as the column's type; the server reads it as the parameter's, which
//! another place may give. And the input function of a declared type is code that runs at Bind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use pgwarden_tests::fixture::{Arena, Tenant, server, superuser};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{Client, Message};

/// `int8` and `text`.
const BUILT_IN: [u32; 2] = [20, 25];

fn second_world() -> (Arena, Client, Client) {
    let arena = Arena::take_second();
    let proxied = proxy::session(&arena.plain(), Tenant::A);
    let direct = arena.oracle_session(Tenant::A);
    (arena, proxied, direct)
}

fn code(messages: &[Message]) -> String {
    let error = messages.iter().find(|message| message.tag == b'E');
    error.map_or_else(String::new, |error| error.error().code().to_owned())
}

/// Parse, Bind of one value, Execute.
fn with_one(sql: &str, types: &[u32], format: u16, value: &[u8]) -> Frames {
    Frames::new()
        .parse_typed("", sql, types)
        .bind_with("", "", &[format], &[Some(value)], &[])
        .execute("", 0)
        .sync()
}

#[test]
fn d2_bytes_of_the_own_number_are_no_other_types_value() {
    let (arena, mut proxied, mut direct) = second_world();
    // As a double precision these bytes are next to 0, which tenant 0 would get.
    let number = Tenant::A.number().to_be_bytes();
    for sql in [
        "WITH x AS (SELECT $1::float8) INSERT INTO products (id, tenant_id, sku) VALUES (900, $1, 'x')",
        "WITH x AS (SELECT $1::float8) INSERT INTO products (id, tenant_id, sku) SELECT 901, $1, 'y'",
        "WITH x AS (SELECT $1::float8) UPDATE products SET tenant_id = $1 WHERE sku = 'sku-2'",
        "MERGE INTO products p USING (SELECT $1::float8 AS f) s ON p.id = 902 \
         WHEN NOT MATCHED THEN INSERT (id, tenant_id, sku) VALUES (902, $1, 'z')",
    ] {
        let frames = with_one(sql, &[], 1, &number);
        assert_ne!(code(&frames.exchange(&mut direct)), "", "{sql}");
        assert_ne!(code(&frames.exchange(&mut proxied)), "", "{sql}");
    }
    let mut admin = superuser(server().address(), &arena.plain());
    let foreign = admin.query("SELECT count(*) FROM products WHERE tenant_id NOT IN (42, 43)");
    assert_eq!(foreign.value().as_deref(), Some("0"));
    arena.restore();
}

#[test]
fn d2_the_own_value_may_stand_in_several_places() {
    let (arena, mut proxied, mut direct) = second_world();
    for (types, format, value) in [
        (&[][..], 0, Tenant::A.number().to_string().into_bytes()),
        (&[20][..], 1, Tenant::A.number().to_be_bytes().to_vec()),
    ] {
        for sql in [
            "INSERT INTO products (id, tenant_id, sku) VALUES (910, $1, 'v'), (911, $1, 'w')",
            "UPDATE products SET tenant_id = $1 WHERE tenant_id = $1 AND id = 910",
            "DELETE FROM products WHERE tenant_id = $1 AND id IN (910, 911) AND $1 = tenant_id",
        ] {
            let frames = with_one(sql, types, format, &value);
            assert_eq!(code(&frames.exchange(&mut direct)), "", "{sql}");
            assert_eq!(code(&frames.exchange(&mut proxied)), "", "{sql}");
        }
    }
    arena.restore();
}

#[test]
fn e_declared_types_run_nobodys_code() {
    let (arena, mut proxied, _) = second_world();
    let mut admin = superuser(server().address(), &arena.plain());
    let mut oid = |name: &str| -> u32 {
        let reply = admin.query(&format!("SELECT '{name}'::regtype::oid"));
        reply.value().and_then(|oid| oid.parse().ok()).unwrap()
    };
    // The domain's check calls a function that reads every tenant's rows, and that nobody listed.
    for name in ["public.initcap", "public.initcap[]"] {
        for sql in ["SELECT $1", "SELECT 1"] {
            let frames = with_one(sql, &[oid(name)], 0, b"{x}");
            assert_eq!(
                code(&frames.exchange(&mut proxied)),
                "42501",
                "{name} {sql}"
            );
        }
    }
    for known in BUILT_IN {
        let frames = with_one("SELECT $1", &[known], 0, b"1");
        assert_eq!(code(&frames.exchange(&mut proxied)), "");
    }
    let unknown = with_one("SELECT $1", &[4_000_000_000], 0, b"1");
    assert_eq!(code(&unknown.exchange(&mut proxied)), "42501");
}

/// As many parameters as a Bind can carry leave no room for the tenant's value, which is written out then.
#[test]
fn d1_an_insert_has_as_many_parameters_as_a_bind_can_carry() {
    let arena = Arena::take();
    let mut client = proxy::session(&arena.plain(), Tenant::A);
    let rows: Vec<String> = (0..32_767)
        .map(|row| format!("(${},${})", row * 2 + 1, row * 2 + 2))
        .chain(["($65535,'last')".to_owned()])
        .collect();
    let sql = format!("INSERT INTO notes (id, txt) VALUES {}", rows.join(","));
    let numbers: Vec<String> = (100_000..165_535).map(|it| it.to_string()).collect();
    let values: Vec<_> = numbers.iter().map(|it| Some(it.as_str())).collect();
    assert!(client.query("BEGIN").error.is_none());
    let inserted = client.extended(&sql, &values);
    assert_eq!(inserted.error, None);
    assert_eq!(inserted.results[0].tag.as_deref(), Some("INSERT 0 32768"));
    let own = client.query("SELECT count(*) FROM notes WHERE id >= 100000");
    assert_eq!(own.value().as_deref(), Some("32768"));
    assert!(client.query("ROLLBACK").error.is_none());
    arena.restore();
}
