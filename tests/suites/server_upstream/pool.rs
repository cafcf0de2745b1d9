//! The pool: what a session leaves behind is gone, and what can't be cleaned is closed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgwarden::backend::{CancelSlot, Upstream};
use pgwarden::metrics::Metrics;
use pgwarden::pool::Pool;
use pgwarden_config::settings::{Pool as PoolSettings, PoolMode, SslMode};
use pgwarden_tests::patience::{patience, until_some};
use pgwarden_tests::wire::Client;

use super::{ask, database, sqlstate, until_answered, world};

fn pool_with(change: impl FnOnce(&mut PoolSettings)) -> (Arc<Pool>, Arc<Metrics>) {
    let database = database(world().with_tls.address(), "trusted", SslMode::Disable);
    let upstream = Arc::new(Upstream::new(&database, "postgres").unwrap());
    let metrics = Arc::new(Metrics::default());
    let mut settings = PoolSettings {
        mode: PoolMode::Session,
        checkout_timeout: Duration::from_secs(60),
        ..PoolSettings::default()
    };
    change(&mut settings);
    let limit = database.max_server_connections;
    (
        Pool::new(upstream, settings, limit, Arc::clone(&metrics)),
        metrics,
    )
}

fn named(name: &str) -> Vec<(String, String)> {
    vec![("application_name".to_owned(), name.to_owned())]
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < patience(), "{what} did not come");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn h_a_connection_comes_back_clean_or_not_at_all() {
    let (pool, metrics) = pool_with(|_| {});
    let mut lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    for sql in [
        "SET ROLE low",
        "RESET ROLE",
        "SET search_path = pg_catalog",
        "SET statement_timeout = '1h'",
        "SET application_name = 'other'",
        "SELECT set_config('request.jwt.claims', '{\"org\":1}', false)",
        "SELECT set_config('my.secret', 'x', false)",
        "CREATE TEMP TABLE leftover (a int)",
        "CREATE TEMP SEQUENCE numbers",
        "SELECT nextval('numbers')",
        "PREPARE leftover AS SELECT 1",
        "LISTEN leftover",
        "SELECT pg_advisory_lock(7)",
        "DECLARE leftover CURSOR WITH HOLD FOR SELECT 1",
        "SET ROLE low",
        "BEGIN",
        "SET LOCAL work_mem = '1GB'",
    ] {
        ask(&mut lease, sql).await;
    }
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    assert_eq!(metrics.server_active.value(), 0);
    let mut again = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(again.facts().pid, pid, "the connection is reused");
    for (sql, expected) in [
        ("SELECT current_user || session_user", "trustedtrusted"),
        ("SHOW search_path", "\"$user\", public"),
        ("SHOW statement_timeout", "0"),
        ("SHOW application_name", "a"),
        (
            "SELECT coalesce(current_setting('request.jwt.claims', true), '')",
            "",
        ),
        (
            "SELECT coalesce(current_setting('my.secret', true), '')",
            "",
        ),
        (
            "SELECT count(*) FROM pg_class WHERE relname IN ('leftover', 'numbers')",
            "0",
        ),
        ("SELECT count(*) FROM pg_prepared_statements", "0"),
        ("SELECT count(*) FROM pg_cursors", "0"),
        ("SELECT count(*) FROM pg_listening_channels()", "0"),
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'",
            "0",
        ),
        (
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()",
            "0",
        ),
        ("SHOW work_mem", "4MB"),
        ("SELECT pg_current_xact_id_if_assigned() IS NULL", "t"),
    ] {
        assert_eq!(ask(&mut again, sql).await, expected, "{sql}");
    }
}

#[tokio::test]
async fn h_other_start_up_parameters_get_another_connection() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let other = pool.checkout(&named("b")).await.unwrap();
    assert_ne!(other.facts().pid, pid);
    let same = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(same.facts().pid, pid);
    // Unused connections make room for others before the limit counts them.
    same.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let third = pool.checkout(&named("c")).await.unwrap();
    assert_ne!(third.facts().pid, pid);
    assert_eq!(metrics.server_idle.value(), 0);
    assert_eq!(metrics.server_active.value(), 2);
}

#[tokio::test]
async fn h_a_dropped_lease_and_unread_answers_close_the_connection() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    drop(lease);
    let mut next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
    let pid = next.facts().pid;
    // An answer that nobody read must not be the next session's.
    next.outbox().own_query("SELECT 'secret'");
    next.flush().await.unwrap();
    next.fill().await.unwrap();
    next.give_back(&Arc::default());
    until("the end of the reset", || {
        metrics.server_active.value() == 0
    })
    .await;
    assert_eq!(metrics.server_idle.value(), 0);
    let next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
}

#[tokio::test]
async fn h_an_answer_still_on_its_way_is_no_clean_end() {
    let (pool, metrics) = pool_with(|_| {});
    let mut lease = pool.checkout(&named("a")).await.unwrap();
    lease.outbox().own_query("SELECT pg_sleep(0.2), 'secret'");
    lease.flush().await.unwrap();
    lease.give_back(&Arc::default());
    until("the end of the reset", || {
        metrics.server_active.value() == 0
    })
    .await;
    assert_eq!(
        metrics.server_idle.value(),
        0,
        "the reset saw a tag that it did not ask for"
    );
}

#[tokio::test]
async fn a_full_pool_is_53300_after_the_checkout_timeout() {
    let (pool, _) = pool_with(|settings| settings.checkout_timeout = Duration::from_millis(100));
    let one = pool.checkout(&named("a")).await.unwrap();
    let _two = pool.checkout(&named("a")).await.unwrap();
    let error = pool.checkout(&named("a")).await.unwrap_err();
    assert_eq!(sqlstate(&error), "53300");
    drop(one);
    pool.checkout(&named("a")).await.unwrap();
}

#[tokio::test]
async fn h_a_connection_that_the_server_ended_is_not_handed_out() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let pid = lease.facts().pid;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_idle.value() == 1).await;
    let address = world().with_tls.address();
    tokio::task::spawn_blocking(move || {
        let mut admin = Client::connect(address, "postgres", "postgres", &[], None).unwrap();
        let reply = admin.query(&format!("SELECT pg_terminate_backend({pid})"));
        assert!(reply.error.is_none());
        let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {pid}");
        until_some("its end", || {
            admin.query(&there).value().filter(|count| count == "0")
        });
    })
    .await
    .unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let next = pool.checkout(&named("a")).await.unwrap();
    assert_ne!(next.facts().pid, pid);
    assert_eq!(metrics.server_idle.value(), 0);
}

#[tokio::test]
async fn lifetime_and_idle_time_end() {
    let (pool, metrics) = pool_with(|settings| settings.max_lifetime = Duration::from_millis(1));
    let lease = pool.checkout(&named("a")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    lease.give_back(&Arc::default());
    until("the reset", || metrics.server_active.value() == 0).await;
    assert_eq!(metrics.server_idle.value(), 0);
    let (pool, metrics) = pool_with(|settings| settings.idle_timeout = Duration::from_millis(1));
    pool.spawn_sweeper();
    pool.checkout(&named("a"))
        .await
        .unwrap()
        .give_back(&Arc::default());
    until("the reset", || metrics.server_active.value() == 0).await;
    until("the sweep", || metrics.server_idle.value() == 0).await;
}

#[tokio::test]
async fn h_a_late_cancel_does_not_hit_the_next_session() {
    let (pool, metrics) = pool_with(|_| {});
    let lease = pool.checkout(&named("a")).await.unwrap();
    let late = Arc::new(CancelSlot::default());
    late.attach(lease.cancel_target().clone());
    let pid = lease.facts().pid;
    lease.give_back(&late);
    until("the reset", || metrics.server_idle.value() == 1).await;
    let mut next = pool.checkout(&named("a")).await.unwrap();
    assert_eq!(next.facts().pid, pid);
    let answer = ask(&mut next, "SELECT 'done' FROM pg_sleep(0.5)");
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        late.cancel().await.unwrap();
    };
    let (answer, ()) = tokio::join!(answer, cancel);
    assert_eq!(answer, "done");
    // The next session's own cancel works.
    next.outbox().own_query("SELECT pg_sleep(20)");
    next.flush().await.unwrap();
    let target = next.cancel_target().clone();
    let answered = until_answered(next.fill(), async || target.cancel().await.unwrap()).await;
    assert_ne!(answered.unwrap(), 0);
}
