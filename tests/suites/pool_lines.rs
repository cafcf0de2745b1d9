//! Short reads of sessions with the same claims, one behind the other on the same server connection:
//! each gets its own answer, and none is held up, cancelled or failed by another.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden_tests::fixture::{Tenant, server, superuser};
use pgwarden_tests::patience::{Over, at_least, until};
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::sockets::{settled, under_way};
use pgwarden_tests::wire::{Client, Reply, bind_body, cancel, execute_body};

/// Server connections that sessions share, however long statements seem to take on a busy machine.
fn shared(server_connections: usize) -> Pooled {
    Pooled::with(server_connections, |settings| {
        settings.pool.multiplex_wait = Duration::from_secs(60);
    })
}

fn multiplexed(pooled: &Pooled) -> f64 {
    pooled.metric("pgwarden_multiplexed_reads_total")
}

const ECHO: &str = "SELECT $1::text, count(*) > 0 FROM leads";

/// A read with an answer of its own, by one protocol or the other.
fn echo(client: &mut Client, word: &str, extended: bool) -> Reply {
    if extended {
        return client.extended(ECHO, &[Some(word)]);
    }
    client.query(&format!("SELECT '{word}'::text, count(*) > 0 FROM leads"))
}

/// Has the proxy learn how long statements take, and the server connections prepare what they need.
fn warm_up(pooled: &Pooled, tenant: Tenant, texts: &[&str]) {
    let mut client = pooled.session(tenant);
    for text in texts {
        for _ in 0..3 {
            client.query(text).ok();
        }
    }
    for extended in [false, true, false, true] {
        echo(&mut client, "x", extended).ok();
    }
}

/// Several clients of a tenant read as fast as they can while something is done; each answer is
/// looked at.
fn while_others_read<T>(
    pooled: &Pooled,
    tenant: Tenant,
    judge: impl Fn(&str, &Reply) + Sync,
    something: impl FnOnce() -> T,
) -> T {
    let over = AtomicBool::new(false);
    let mut clients: Vec<Client> = (0..6).map(|_| pooled.session(tenant)).collect();
    std::thread::scope(|scope| {
        for (at, client) in clients.iter_mut().enumerate() {
            let (over, judge) = (&over, &judge);
            scope.spawn(move || {
                let mut n = 0;
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let word = format!("{at}-{n}");
                    let reply = echo(client, &word, n % 2 == 0);
                    assert!(!client.timed_out, "reader {at} was left waiting");
                    judge(&word, &reply);
                }
            });
        }
        let _over = Over(&over);
        something()
    })
}

fn is_own(word: &str, reply: &Reply) {
    assert_eq!(reply.code(), "", "{word}: {reply:?}");
    assert_eq!(reply.value().as_deref(), Some(word));
}

#[test]
fn each_reader_gets_its_own_answer() {
    let pooled = shared(2);
    for tenant in [Tenant::A, Tenant::B] {
        warm_up(&pooled, tenant, &[]);
    }
    while_others_read(&pooled, Tenant::A, is_own, || {
        while_others_read(&pooled, Tenant::B, is_own, || {
            until("a shared connection", || multiplexed(&pooled) > 200.0);
        });
    });
}

#[test]
fn readers_of_two_tenants_never_share() {
    const OWN: &str = "SELECT org_id::text, count(*) FROM leads GROUP BY org_id";
    let pooled = shared(1);
    for tenant in [Tenant::A, Tenant::B] {
        warm_up(&pooled, tenant, &[OWN]);
    }
    let before = multiplexed(&pooled);
    // With one connection, and one reader each, none has anybody to share it with.
    std::thread::scope(|scope| {
        for tenant in [Tenant::A, Tenant::B] {
            let mut client = pooled.session(tenant);
            scope.spawn(move || {
                for _ in 0..300 {
                    assert_eq!(value(&mut client, OWN), tenant.org());
                }
            });
        }
    });
    assert_eq!(multiplexed(&pooled), before);
    // With somebody of the same tenant it is shared.
    let shared = || multiplexed(&pooled) > before;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            let mut client = pooled.session(Tenant::A);
            scope.spawn(move || {
                at_least(300, shared, |_| {
                    assert_eq!(value(&mut client, OWN), Tenant::A.org());
                });
            });
        }
    });
}

/// Between its choice of a line and its boarding, another tenant may have got the connection.
#[test]
fn nobody_boards_a_line_that_has_become_another_tenants() {
    const CLAIMED: &str = "SELECT current_setting('request.jwt.claims')::json ->> 'sub'";
    let pooled = shared(3);
    let tenants = [Tenant::A, Tenant::B, Tenant::C];
    for tenant in tenants {
        warm_up(&pooled, tenant, &[CLAIMED]);
    }
    let before = multiplexed(&pooled);
    let shared = || multiplexed(&pooled) > before;
    std::thread::scope(|scope| {
        for at in 0..12 {
            let tenant = tenants[at % 3];
            let mut client = pooled.session(tenant);
            scope.spawn(move || {
                at_least(150, shared, |n| {
                    echo(&mut client, "x", n % 2 == 0).ok();
                    if n % 5 == 0 {
                        assert_eq!(value(&mut client, CLAIMED), tenant.user());
                    }
                });
            });
        }
    });
}

#[test]
fn an_error_is_its_own_readers_only() {
    let pooled = shared(1);
    warm_up(&pooled, Tenant::A, &[]);
    let before = multiplexed(&pooled);
    let mut failing = pooled.session(Tenant::A);
    const FAILS: &str = "SELECT 1 / (count(*) - count(*)) FROM leads";
    while_others_read(&pooled, Tenant::A, is_own, || {
        at_least(
            200,
            || multiplexed(&pooled) > before,
            |n| {
                let reply = match n % 2 {
                    0 => failing.query(FAILS),
                    _ => failing.extended(
                        "SELECT 1 / (count(*) * 0) + $1::int FROM leads",
                        &[Some("1")],
                    ),
                };
                assert_eq!(reply.code(), "22012", "{reply:?}");
                assert_eq!(reply.status, b'I');
            },
        );
    });
}

/// Locks a table against reads until it is dropped.
fn lock(pooled: &Pooled, table: &str) -> Client {
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    admin.query("BEGIN").ok();
    admin
        .query(&format!("LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
        .ok();
    admin
}

const LOCKED: &str = "SELECT count(*) FROM calls";

#[test]
fn who_waits_for_a_lock_holds_nobody_up() {
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[LOCKED]);
    let mut waiting = pooled.session(Tenant::A);
    let lock = lock(&pooled, "calls");
    while_others_read(&pooled, Tenant::A, is_own, || {
        waiting.send_query(LOCKED);
        let before = multiplexed(&pooled);
        // The others go on, on what connections are left, for as long as the lock is held.
        until("the others", || multiplexed(&pooled) > before + 100.0);
        drop(lock);
        assert_eq!(waiting.reply().code(), "");
    });
}

#[test]
fn a_cancel_ends_its_own_readers_statement_only() {
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[LOCKED]);
    let mut waiting = pooled.session(Tenant::A);
    let key = waiting.key.clone();
    while_others_read(&pooled, Tenant::A, is_own, || {
        for _ in 0..10 {
            let lock = lock(&pooled, "calls");
            waiting.send_query(LOCKED);
            std::thread::sleep(Duration::from_millis(5));
            // One that comes before the statement is none, as with PostgreSQL.
            let over = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Relaxed) {
                        cancel(pooled.address(), &key);
                        std::thread::sleep(Duration::from_millis(10));
                    }
                });
                let _over = Over(&over);
                assert_eq!(waiting.reply().code(), "57014");
            });
            drop(lock);
        }
    });
    // Late ones may still have hit the next statement: this one is after all of them.
    until("the end of the cancels", || waiting_is_free(&pooled));
}

fn waiting_is_free(pooled: &Pooled) -> bool {
    let mut client = pooled.session(Tenant::A);
    echo(&mut client, "y", true).value().as_deref() == Some("y")
}

#[test]
fn who_does_not_read_holds_nobody_up() {
    const BIG: &str = "SELECT repeat('x', 1000), g, (SELECT count(*) FROM leads) FROM generate_series(1, 20000) g";
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[BIG]);
    let mut slow = pooled.session(Tenant::A);
    while_others_read(&pooled, Tenant::A, is_own, || {
        slow.send_query(BIG);
        let before = multiplexed(&pooled);
        until("the others", || multiplexed(&pooled) > before + 100.0);
        let reply = slow.reply().ok();
        assert_eq!(reply.results[0].rows.len(), 20_000);
    });
}

#[test]
fn who_leaves_takes_no_answer_along() {
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[LOCKED]);
    while_others_read(&pooled, Tenant::A, is_own, || {
        for n in 0..60 {
            let mut leaving = pooled.session(Tenant::A);
            if n % 2 == 0 {
                leaving.send_query("SELECT 'gone', count(*) FROM leads");
            } else {
                leaving.send_extended(ECHO, &[Some("gone")]);
            }
            drop(leaving);
        }
    });
}

/// Of the answer the client's socket is full, and so is what the proxy keeps for it; the rest has come
/// from the server, and waits on the line. That no more comes must not keep it there.
#[test]
fn who_leaves_in_the_middle_of_an_answer_gives_the_connection_up() {
    const OUTPUT_BYTES_MAX: usize = 256 << 10;
    let pooled = shared(1);
    warm_up(&pooled, Tenant::A, &[]);
    let big = |rows: usize| {
        format!(
            "SELECT repeat('x', 1000), (SELECT count(*) FROM leads) FROM generate_series(1, {rows})"
        )
    };
    let mut whole = pooled.session(Tenant::A);
    let mut length = |rows| {
        whole.send_query(&big(rows));
        let messages = whole.messages();
        messages.iter().map(|it| it.body.len() + 5).sum::<usize>()
    };
    let (shorter, longer) = (length(1_000), length(1_001));
    let bytes_of = |rows: usize| shorter + (rows - 1_000) * (longer - shorter);
    let ask = |rows| {
        let mut client = pooled.session(Tenant::A);
        client.send_query(&big(rows));
        let taken = settled(pooled.address(), client.own_address());
        (client, taken)
    };
    let (_, taken) = ask(9_999);
    let mut rows = (taken + OUTPUT_BYTES_MAX) / (longer - shorter);
    for _ in 0..300 {
        let (leaving, taken) = ask(rows);
        let in_proxy = bytes_of(rows).saturating_sub(taken);
        let all_has_come = server_is_done(&pooled);
        let still = under_way(pooled.address(), leaving.own_address()) == taken;
        let kept = OUTPUT_BYTES_MAX + 2 * (longer - shorter);
        drop(leaving);
        assert!(waiting_is_free(&pooled), "{rows} rows");
        match (all_has_come, in_proxy > kept) {
            (true, true) if still => return,
            (true, true) => {}
            (true, false) => rows += 3,
            (false, _) => rows -= 5,
        }
    }
    panic!("nothing of an answer has waited on the line");
}

/// Whether the server has sent what it was asked for, and the proxy has read it.
fn server_is_done(pooled: &Pooled) -> bool {
    let mut admin = superuser(server().address(), "postgres");
    let database = pooled.arena().plain();
    let sql = format!(
        "SELECT state || ' ' || client_port FROM pg_stat_activity WHERE datname = '{database}' \
         AND query LIKE 'SELECT repeat%'"
    );
    let Some(found) = admin.query(&sql).ok().value() else {
        return false;
    };
    let Some(port) = found.strip_prefix("idle ") else {
        return false;
    };
    let proxy = SocketAddr::from(([127, 0, 0, 1], port.parse().unwrap()));
    under_way(server().address(), proxy) == 0
}

#[test]
fn a_lost_connection_is_its_front_readers_only() {
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[LOCKED]);
    let database = pooled.arena().plain();
    let fine = |word: &str, reply: &Reply| {
        // The statement that the server was at is told why; all others are run elsewhere.
        let lost = matches!(reply.code(), "57P01" | "08006") || reply.status == 0;
        if !lost {
            is_own(word, reply);
        }
    };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for at in 0..4 {
            let (over, pooled) = (&over, &pooled);
            scope.spawn(move || {
                let (mut client, mut n) = (pooled.session(Tenant::A), 0);
                while !over.load(Ordering::Relaxed) {
                    n += 1;
                    let word = format!("{at}-{n}");
                    let reply = echo(&mut client, &word, n % 2 == 0);
                    assert!(!client.timed_out, "reader {at} was left waiting");
                    fine(&word, &reply);
                    if reply.status == 0 {
                        client = pooled.session(Tenant::A);
                    }
                }
            });
        }
        let _over = Over(&over);
        let mut admin = superuser(server().address(), "postgres");
        let ours = format!(
            "FROM pg_stat_activity WHERE datname = '{database}' \
             AND backend_type = 'client backend' AND application_name <> 'pgwarden'"
        );
        let mut told = String::from("0");
        for _ in 0..10 {
            std::thread::sleep(Duration::from_millis(20));
            let sql = format!(
                "SELECT string_agg(pid::text, ',') FILTER (WHERE pg_terminate_backend(pid)) {ours}"
            );
            told = admin.query(&sql).ok().value().unwrap_or(told);
        }
        // One that is told to end may still take a statement along, before it does.
        let left = format!("SELECT count(*) {ours} AND pid IN ({told})");
        until("the end of the server processes", || {
            value(&mut admin, &left) == "0"
        });
    });
    let mut client = pooled.session(Tenant::A);
    is_own("y", &echo(&mut client, "y", true));
}

#[test]
fn a_writer_behind_readers_gets_a_connection() {
    let pooled = shared(1);
    warm_up(&pooled, Tenant::A, &[]);
    let mut writer = pooled.session(Tenant::A);
    let mut other = pooled.session(Tenant::B);
    while_others_read(&pooled, Tenant::A, is_own, || {
        for _ in 0..20 {
            // Who waits for a connection is let in between: nobody boards meanwhile.
            writer.query("BEGIN").ok();
            writer.query("UPDATE leads SET id = id").ok();
            writer.query("ROLLBACK").ok();
            assert_ne!(value(&mut other, "SELECT count(*) FROM leads"), "0");
        }
    });
}

#[test]
fn a_pipeline_of_reads_is_answered_in_order() {
    let pooled = shared(1);
    warm_up(&pooled, Tenant::A, &[]);
    let mut client = pooled.session(Tenant::A);
    while_others_read(&pooled, Tenant::A, is_own, || {
        for round in 0..40 {
            for n in 0..5 {
                client.send_extended(ECHO, &[Some(&format!("{round}-{n}"))]);
            }
            client.send_query("SELECT 'last', count(*) FROM leads");
            for n in 0..5 {
                let reply = client.reply().ok();
                assert_eq!(reply.value(), Some(format!("{round}-{n}")));
            }
            assert_eq!(client.reply().value().as_deref(), Some("last"));
        }
    });
}

#[test]
fn a_named_statement_is_run_where_it_is_lacking() {
    let pooled = shared(2);
    warm_up(&pooled, Tenant::A, &[]);
    let mut client = pooled.session(Tenant::A);
    client.send(
        b'P',
        &pgwarden_tests::wire::parse_body(
            "named",
            "SELECT $1::text || 'n', count(*) FROM leads",
            &[],
        ),
    );
    client.send(b'S', &[]);
    client.messages();
    while_others_read(&pooled, Tenant::A, is_own, || {
        for n in 0..100 {
            let word = n.to_string();
            client.send(
                b'B',
                &bind_body("", "named", &[], &[Some(word.as_bytes())], &[]),
            );
            client.send(b'E', &execute_body("", 0));
            client.send(b'S', &[]);
            let reply = client.reply().ok();
            assert_eq!(reply.value(), Some(format!("{n}n")));
        }
    });
}

#[test]
fn ddl_beside_readers_is_noticed() {
    let pooled = shared(2);
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    admin.query("ALTER TABLE leads ADD COLUMN extra int").ok();
    let mut reader = pooled.session(Tenant::A);
    const ALL: &str = "SELECT * FROM leads WHERE $1::text IS NOT NULL ORDER BY id LIMIT 1";
    for _ in 0..4 {
        reader.extended(ALL, &[Some("x")]).ok();
    }
    let widths = |reply: &Reply| {
        reply
            .results
            .first()
            .and_then(|set| set.columns.as_ref())
            .map_or(0, Vec::len)
    };
    let wide = widths(&reader.extended(ALL, &[Some("x")]));
    while_others_read(&pooled, Tenant::A, is_own, || {
        admin.query("ALTER TABLE leads DROP COLUMN extra").ok();
        // It may fail once, as PostgreSQL's own prepared statements do; never for long.
        until("the new columns", || {
            widths(&reader.extended(ALL, &[Some("x")])) + 1 == wide
        });
    });
}

#[test]
fn reads_are_not_shared_where_the_settings_say_so() {
    let pooled = Pooled::with(1, |settings| {
        settings.pool.multiplex_wait = Duration::ZERO;
    });
    warm_up(&pooled, Tenant::A, &[]);
    while_others_read(&pooled, Tenant::A, is_own, || {
        std::thread::sleep(Duration::from_millis(200));
    });
    assert_eq!(multiplexed(&pooled), 0.0);
}
