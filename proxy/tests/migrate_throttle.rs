//! A backfill gives way to a busy server and to replicas that are behind, and goes on afterwards.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic
)]

mod migrate;

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use migrate::{Place, one};
use pgwarden_tests::fixture::{script, superuser};
use pgwarden_tests::patience::patience;
use pgwarden_tests::wire::Client;

/// Longer than a backfill rests between two looks at the server.
const LOOKS: Duration = Duration::from_millis(1500);

const ROWS: &str = "SELECT CASE WHEN to_regclass('pgwarden_migrate.steps') IS NULL THEN '0' ELSE
    (xpath('/row/it/text()', query_to_xml('SELECT coalesce(sum(rows), 0) AS it FROM pgwarden_migrate.steps', true, true, '')))[1]::text END";

const OPEN: &str = "SELECT count(*) FROM call_logs WHERE org_id IS NULL";

fn until(mut is: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is() {
        assert!(since.elapsed() < patience());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A backfill in small batches.
fn begin(place: &Place, arguments: &[&str]) -> Child {
    let mapping = place
        .read("mapping.toml")
        .replace("batch_rows = 50", "batch_rows = 200");
    place.write("mapping.toml", &mapping);
    place.plan("migration");
    place.run(&["migrate", "apply", "--through", "expand"], 0);
    let apply = ["migrate", "apply", "--through", "backfill"];
    let mut command = place.command(&[&apply[..], arguments].concat());
    command.stderr(Stdio::null()).spawn().unwrap()
}

/// Waits until it has begun, and does nothing more for some time, long before it is through.
#[track_caller]
fn rests(admin: &mut Client, child: &mut Child) {
    until(|| one(admin, ROWS) != "0");
    until(|| {
        let before = one(admin, ROWS);
        std::thread::sleep(LOOKS);
        one(admin, ROWS) == before
    });
    assert_ne!(one(admin, OPEN), "0");
    assert!(child.try_wait().unwrap().is_none(), "it did not wait");
}

#[test]
fn a_backfill_waits_for_a_busy_server() {
    let place = Place::new("users");
    let mut admin = place.admin();
    let (address, database) = (place.server.address(), place.database.clone());
    let busy = std::thread::spawn(move || {
        superuser(address, &database).query("/* busy */ SELECT pg_sleep(600)");
    });
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '/* busy%'";
    until(|| one(&mut admin, running) == "1");
    let mut child = begin(&place, &["--active-max", "0"]);
    rests(&mut admin, &mut child);
    script(
        &mut admin,
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '/* busy%'",
    );
    busy.join().unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(one(&mut admin, OPEN), "0");
}

#[test]
fn a_backfill_waits_for_a_replica() {
    let place = Place::new("users");
    let mut admin = place.admin();
    let standby = place.server.standby();
    let mut replica = superuser(standby.address(), "postgres");
    until(|| {
        one(
            &mut admin,
            "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
        ) == "1"
    });
    script(&mut replica, "SELECT pg_wal_replay_pause()");
    until(|| one(&mut replica, "SELECT pg_is_wal_replay_paused()") == "t");
    // Slowly, or it would be through before the replica is late.
    let mut child = begin(&place, &["--lag-max", "300ms", "--pause", "300ms"]);
    rests(&mut admin, &mut child);
    script(&mut replica, "SELECT pg_wal_replay_resume()");
    assert!(child.wait().unwrap().success());
    assert_eq!(one(&mut admin, OPEN), "0");
}
