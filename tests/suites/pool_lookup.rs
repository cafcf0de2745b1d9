//! THREATS H: Queries that go to the server as Binds (`protocol_lookup`), of several sessions on the same
//! server connections.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pgwarden_tests::fixture::{Tenant, script, server, superuser};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::patience::{Over, at_least};
use pgwarden_tests::pooled::Pooled;

/// More often than a text must come before it is prepared.
const TIMES: usize = 4;

/// Tenants and users in turn on one server connection.
#[test]
fn h_lookups_of_two_tenants_find_their_own() {
    let pooled = Pooled::new(1);
    let mut clients = [Tenant::A, Tenant::B].map(|tenant| (tenant, pooled.session(tenant)));
    for _ in 0..TIMES {
        for id in 1..6 {
            for (tenant, client) in &mut clients {
                let text = format!("SELECT org_id FROM agents WHERE id = {id}");
                // Odd ones are a's.
                let own = (*tenant == Tenant::A) == (id % 2 == 1);
                for _ in 0..2 {
                    let reply = client.query(&text).ok();
                    let wanted = own.then(|| tenant.org().to_owned());
                    assert_eq!(reply.value(), wanted, "{text}");
                }
            }
        }
    }
}

/// What the server refuses takes the claims back that went ahead of it.
#[test]
fn h_a_lookup_that_is_refused_behind_its_claims_begins_again() {
    let pooled = Pooled::new(1);
    let mut clients = [Tenant::A, Tenant::B].map(|tenant| (tenant, pooled.session(tenant)));
    let claimed = "SELECT current_setting('request.jwt.claims')::json ->> 'sub'";
    let texts = [
        "SELECT full_name FROM leads WHERE id = '00000000-0000-0000-0000-000000000000'",
        "SELECT full_name FROM leads WHERE id = 'no uuid'",
    ];
    for round in 0..3 * TIMES {
        for (tenant, client) in &mut clients {
            for text in texts {
                let reply = client.query(text);
                let wanted = if text.ends_with("uuid'") { "22P02" } else { "" };
                assert_eq!(reply.code(), wanted, "{round}");
                assert_eq!(
                    client.query(claimed).ok().value().as_deref(),
                    Some(tenant.user())
                );
            }
        }
        // Alone, each behind the other's.
        for text in texts {
            for (tenant, client) in &mut clients {
                let messages = Frames::new().query(text).query(claimed).exchange(client);
                let told = messages
                    .iter()
                    .rev()
                    .find(|it| it.tag == b'D')
                    .expect("a row");
                assert!(told.body.ends_with(tenant.user().as_bytes()), "{text}");
            }
        }
    }
}

/// Sessions with the same claims, one behind the other on few server connections, beside DDL.
#[test]
fn h_lookups_share_server_connections_beside_ddl() {
    let pooled = Pooled::with(2, |settings| {
        settings.pool.multiplex_wait = Duration::from_secs(60);
    });
    let over = AtomicBool::new(false);
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    std::thread::scope(|scope| {
        let clients = (0..8).map(|number| {
            let tenant = [Tenant::A, Tenant::A, Tenant::A, Tenant::B][number % 4];
            let mut client = pooled.session(tenant);
            let over = &over;
            scope.spawn(move || {
                let mut looked = 0;
                while looked == 0 || !over.load(Ordering::Relaxed) {
                    let id = 1 + (looked + number) % 12;
                    let reply = client.query(&format!("SELECT * FROM campaigns WHERE id = {id}"));
                    assert_eq!(reply.code(), "", "{reply:?}");
                    let own = (tenant == Tenant::A) == (id % 2 == 1);
                    let rows = reply.results.first().map_or(0, |result| result.rows.len());
                    assert_eq!(rows, usize::from(own), "{id}");
                    looked += 1;
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let ends = Over(&over);
        let shared = || pooled.metric("pgwarden_multiplexed_reads_total") > 0.0;
        at_least(3, shared, |_| {
            for ddl in ["ADD COLUMN more int", "DROP COLUMN more"] {
                std::thread::sleep(Duration::from_millis(150));
                script(&mut admin, &format!("ALTER TABLE campaigns {ddl}"));
            }
        });
        drop(ends);
        for client in clients {
            client.join().expect("no fault");
        }
    });
}
