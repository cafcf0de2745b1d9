//! What is in force on a server connection, whatever comes between putting it there and what runs on it:
//! a cancel, a time-out, the end of a token, another policy.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pgwarden_config::settings::PoolMode;
use pgwarden_tests::fixture::{ROLE, Tenant, server, superuser};
use pgwarden_tests::frames::{Frames, shown};
use pgwarden_tests::patience::{until, within_a_life};
use pgwarden_tests::pooled::{Pooled, value};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{Client, cancel, tags_and_codes};
use serde_json::{Value, json};

const MODES: [PoolMode; 2] = [PoolMode::Session, PoolMode::Transaction];

const POLICY: &str = include_str!("../fixtures/policy.toml");

/// A policy under which the tokens of auditors run as another server role.
const AUDITOR: &str = "\n[[role]]\nname = \"auditor\"\nset_role = \"platform_admin\"\n";

/// One under which a service shows a tenant's token for each transaction.
const SERVICE: &str = "\n[[role]]\nname = \"service\"\ntenant = \"per_transaction\"\n";

const WHO: &str = "SELECT current_setting('request.jwt.claims')::json ->> 'sub'";

fn pooled(mode: PoolMode, roles: &str, connections: usize) -> Pooled {
    let policy = proxy::policy_of(&[POLICY, roles].concat());
    Pooled::under(policy, connections, |settings| {
        settings.pool.mode = mode;
        settings.auth.leeway = Duration::ZERO;
    })
}

fn token_of(tenant: Tenant, role: &str, seconds: u64) -> String {
    let mut claims: Value = serde_json::from_str(&tenant.claims()).unwrap();
    claims["exp"] = json!(proxy::now() + seconds);
    claims["role"] = json!(role);
    proxy::sign(&claims)
}

/// A search_path of names that the server has never heard of: to say which of them are there, as the proxy
/// asks it, takes it a while.
fn long_path(local: &str, names: usize) -> String {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static USED: AtomicUsize = AtomicUsize::new(0);
    let first = USED.fetch_add(names, Ordering::Relaxed);
    let names: Vec<_> = (first..first + names).map(|it| format!("s{it}")).collect();
    format!("SET {local} search_path = public, {}", names.join(", "))
}

/// Another server connection looks the names up again. (Every proxy of this program has connections of its
/// own to this database, for the catalogue.)
fn end_connections(pooled: &Pooled) {
    let mut admin = superuser(server().address(), "postgres");
    let own = format!(
        "usename = '{ROLE}' AND datname = '{}' AND application_name <> 'pgwarden'",
        pooled.arena().plain()
    );
    let all = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {own}");
    admin.query(&all).ok();
    let left = format!("SELECT count(*) FROM pg_stat_activity WHERE {own}");
    until("their end", || value(&mut admin, &left) == "0");
}

/// What is told for messages that are sent at once.
fn told(client: &mut Client, frames: &Frames) -> Vec<String> {
    shown(&frames.exchange(client))
}

#[test]
fn h_a_token_that_ends_while_its_claims_are_set_is_in_force_for_nobody() {
    let pooled = pooled(PoolMode::Transaction, SERVICE, 1);
    let service = json!({"exp": proxy::now() + 3600, "role": "service", "sub": "the service"});
    let service = proxy::sign(&service);
    let mut client = pooled.session_of(&service, &[]);
    client.query(&long_path("", 110_000)).ok();
    const ROUNDS: usize = 20;
    let ends = within_a_life(|seconds| {
        let ends = proxy::now() + 2 * seconds;
        let given = token_of(Tenant::A, "authenticated", 2 * seconds);
        client.query(&format!("SET pgwarden.token = '{given}'"));
        let who = client.query(WHO).value();
        (who.as_deref() == Some(Tenant::A.user())).then_some(ends)
    });
    until("an unused connection", || {
        pooled.metric("pgwarden_server_connections{state=\"active\"}") == 0.0
    });
    end_connections(&pooled);
    // The question is on its way when the token ends, and what follows waits for its answer.
    let shortly_before = UNIX_EPOCH + Duration::from_secs(ends) - Duration::from_millis(150);
    let left = shortly_before.duration_since(SystemTime::now());
    std::thread::sleep(left.unwrap_or_default());
    let asks = Frames::new().query("SELECT count(*) FROM leads").query(WHO);
    for _ in 0..ROUNDS {
        client.send_bytes(asks.bytes());
        std::thread::sleep(Duration::from_millis(50));
    }
    let mut ended = false;
    for _ in 0..ROUNDS {
        ended |= client.reply().code() == "28000";
        let user = client.reply().ok().value();
        assert!(!ended || user.as_deref() == Some("the service"), "{user:?}");
    }
    let mut other = pooled.session_of(&service, &[]);
    assert_eq!(value(&mut other, WHO), "the service");
}

#[test]
fn a_time_out_that_meets_our_question_fails_the_transaction_and_no_more() {
    for mode in MODES {
        let pooled = pooled(mode, "", 2);
        let mut client = pooled.session(Tenant::A);
        let open = Frames::new()
            .query("BEGIN")
            .query("SET LOCAL statement_timeout = 150")
            .query(&long_path("LOCAL", 110_000))
            .query(WHO)
            .query("ROLLBACK");
        let answers = told(&mut client, &open.query(WHO));
        let last = &answers[answers.len() - 3];
        assert!(last.contains(Tenant::A.user()), "{mode:?}: {answers:?}");
        assert_eq!(value(&mut client, WHO), Tenant::A.user());
    }
}

#[test]
fn a_time_out_that_meets_our_question_between_transactions_is_not_told() {
    for mode in MODES {
        let pooled = pooled(mode, "", 2);
        let mut client = pooled.session(Tenant::A);
        client.query("CREATE TEMP TABLE kept AS SELECT 7 AS a").ok();
        client.query("SET statement_timeout = 300").ok();
        // The time-out may meet the client's own statement, where the server stands still.
        until("the path", || {
            client.query(&long_path("", 10_000)).code() == ""
        });
        assert_eq!(value(&mut client, WHO), Tenant::A.user());
        assert_eq!(value(&mut client, "SELECT a FROM kept"), "7");
    }
}

/// The time-out is in force as soon as the settings are, and then the names are looked up: it takes the settings
/// back, itself among them.
#[test]
fn h_settings_that_a_time_out_takes_back_are_put_in_force_again() {
    const ZONE: &str = "SELECT current_setting('TimeZone')";
    for names in [20_000, 60_000, 110_000] {
        let pooled = pooled(PoolMode::Transaction, "", 1);
        let mut client = pooled.session(Tenant::A);
        client.query("SET TimeZone = 'Asia/Tokyo'").ok();
        client.query(&long_path("", names)).ok();
        client.query("SET statement_timeout = 60").ok();
        until("an unused connection", || {
            pooled.metric("pgwarden_server_connections{state=\"active\"}") == 0.0
        });
        end_connections(&pooled);
        let reply = client.query(ZONE);
        match reply.code() {
            "" => assert_eq!(reply.value().as_deref(), Some("Asia/Tokyo"), "{names}"),
            // The time-out is too short for what the session wants.
            code => assert_eq!(code, "57014", "{reply:?}"),
        }
        let mut other = pooled.session(Tenant::B);
        assert_ne!(value(&mut other, ZONE), "Asia/Tokyo");
    }
}

#[test]
fn h_a_role_that_the_policy_takes_away_is_not_in_force_any_more() {
    for mode in MODES {
        for open in [false, true] {
            let pooled = pooled(mode, AUDITOR, 1);
            let mut auditor = pooled.session_of(&token_of(Tenant::A, "auditor", 3600), &[]);
            let role = "SELECT current_user";
            assert_eq!(value(&mut auditor, role), "platform_admin");
            if open {
                auditor.query("BEGIN").ok();
                assert_eq!(value(&mut auditor, role), "platform_admin");
            }
            pooled.reload(proxy::policy_of(POLICY));
            assert_eq!(value(&mut auditor, role), ROLE, "{mode:?} {open}");
            auditor.query("ROLLBACK").ok();
            assert_eq!(value(&mut auditor, role), ROLE, "{mode:?} {open}");
            pooled.reload(proxy::policy_of(&[POLICY, AUDITOR].concat()));
            assert_eq!(value(&mut auditor, role), "platform_admin");
        }
    }
}

/// It stands in a pipeline behind a Sync, on a server connection that the session has just got: what the server is to
/// refuse runs nothing, whatever is in force there.
#[test]
fn what_is_refused_waits_for_no_setup() {
    let nothing = Frames::new().target(b'D', b'S', "nothing").sync();
    let again = nothing.clone().sync().target(b'D', b'S', "nothing").sync();
    let bind = nothing.clone().sync().bind("", "nothing", &[]).sync();
    let execute = nothing.clone().sync().execute("nothing", 0).sync();
    let open = nothing.sync().execute("nothing", 0);
    let closes = open.clone().target(b'C', b'P', "").sync();
    let runs = open.target(b'D', b'P', "").run(WHO, &[]).sync();
    for mode in MODES {
        let pooled = pooled(mode, "", 1);
        for (frames, code) in [
            (&again, "26000"),
            (&bind, "26000"),
            (&execute, "34000"),
            (&closes, "34000"),
            (&runs, "34000"),
        ] {
            assert_eq!(value(&mut pooled.session(Tenant::B), WHO), Tenant::B.user());
            let mut client = pooled.session(Tenant::A);
            let answer = tags_and_codes(&frames.exchange(&mut client));
            assert_eq!(answer, format!("[26000]ZZ[{code}]Z"), "{mode:?}");
            assert_eq!(value(&mut client, WHO), Tenant::A.user());
        }
    }
}

/// As SET ROLE would: what the session has stays.
#[test]
fn a_session_keeps_what_it_has_when_the_policy_gives_it_another_role() {
    const ZONE: &str = "SELECT current_setting('TimeZone')";
    for mode in MODES {
        let pooled = pooled(mode, AUDITOR, 1);
        let mut auditor = pooled.session_of(&token_of(Tenant::A, "auditor", 3600), &[]);
        auditor.query("SET TimeZone = 'Asia/Tokyo'").ok();
        auditor
            .query("CREATE TEMP TABLE kept AS SELECT 7 AS a")
            .ok();
        auditor
            .query("DECLARE held CURSOR WITH HOLD FOR SELECT org_id FROM leads")
            .ok();
        assert_eq!(value(&mut auditor, "FETCH held"), Tenant::A.org());
        pooled.reload(proxy::policy_of(POLICY));
        assert_eq!(value(&mut auditor, "FETCH held"), Tenant::A.org());
        assert_eq!(value(&mut auditor, "SELECT current_user"), ROLE);
        assert_eq!(value(&mut auditor, ZONE), "Asia/Tokyo");
        // It is the other role's, which the server says.
        let reply = auditor.query("SELECT a FROM kept");
        assert!(["", "42501"].contains(&reply.code()), "{mode:?}: {reply:?}");
        pooled.reload(proxy::policy_of(&[POLICY, AUDITOR].concat()));
        assert_eq!(value(&mut auditor, "SELECT a FROM kept"), "7", "{mode:?}");
        assert_eq!(value(&mut auditor, "SELECT current_user"), "platform_admin");
        assert_eq!(value(&mut auditor, "FETCH held"), Tenant::A.org());
        drop(auditor);
        let mut other = pooled.session(Tenant::B);
        assert_eq!(value(&mut other, "SELECT current_user"), ROLE);
        assert_ne!(value(&mut other, ZONE), "Asia/Tokyo");
        assert_eq!(other.query("SELECT a FROM kept").code(), "42P01");
        assert_eq!(other.query("FETCH held").code(), "34000");
    }
}

/// Nobody can look schemas up until it is dropped.
fn lock_schemas(pooled: &Pooled) -> Client {
    let mut admin = superuser(server().address(), &pooled.arena().plain());
    admin.query("BEGIN").ok();
    admin
        .query("LOCK TABLE pg_namespace IN ACCESS EXCLUSIVE MODE")
        .ok();
    admin
}

/// Whose question for the `search_path` will have to look schemas up.
fn asker(pooled: &Pooled, timeout: &str) -> Client {
    let mut client = pooled.session(Tenant::A);
    client.query("CREATE TEMP TABLE kept AS SELECT 7 AS a").ok();
    client
        .query(&format!("SET statement_timeout = '{timeout}'"))
        .ok();
    assert_eq!(value(&mut client, "SELECT a FROM kept"), "7");
    client
}

#[test]
fn a_time_out_that_our_question_never_keeps_fails_statements_and_no_more() {
    for mode in MODES {
        let pooled = pooled(mode, "", 1);
        let mut client = asker(&pooled, "200ms");
        let lock = lock_schemas(&pooled);
        client.query("SET search_path = public, nowhere").ok();
        for _ in 0..3 {
            let reply = client.query(WHO);
            assert_eq!(reply.code(), "57014", "{mode:?}: {reply:?}");
            assert_eq!(client.extended(WHO, &[]).code(), "57014", "{mode:?}");
        }
        drop(lock);
        until("the schemas", || client.query(WHO).code() == "");
        assert_eq!(value(&mut client, WHO), Tenant::A.user());
        assert_eq!(value(&mut client, "SELECT a FROM kept"), "7", "{mode:?}");
        assert_eq!(value(&mut client, "SHOW search_path"), "public, nowhere");
    }
}

#[test]
fn a_cancel_that_meets_our_question_ends_the_statement_that_waits_for_it() {
    for mode in MODES {
        let pooled = pooled(mode, "", 1);
        let mut client = asker(&pooled, "0");
        for n in 0..5 {
            let lock = lock_schemas(&pooled);
            client
                .query(&format!("SET search_path = public, nowhere_{n}"))
                .ok();
            client.send_query(WHO);
            let mut admin = superuser(server().address(), "postgres");
            let waits = format!(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
                 AND application_name <> 'pgwarden' AND datname = '{}'",
                pooled.arena().plain()
            );
            until("the question", || value(&mut admin, &waits) != "0");
            // What was sent before has been read by now.
            std::thread::sleep(Duration::from_millis(50));
            cancel(pooled.address(), &client.key);
            let reply = client.reply();
            assert_eq!(reply.code(), "57014", "{mode:?} {n}: {reply:?}");
            drop(lock);
            assert_eq!(value(&mut client, WHO), Tenant::A.user());
            assert_eq!(value(&mut client, "SELECT a FROM kept"), "7");
        }
    }
}

#[test]
fn a_time_out_that_meets_our_question_in_a_pipeline_fails_the_pipeline_and_no_more() {
    for mode in MODES {
        let pooled = pooled(mode, "", 2);
        let mut client = pooled.session(Tenant::A);
        let pipeline = Frames::new()
            .run("SET LOCAL statement_timeout = 150", &[])
            .run(&long_path("LOCAL", 110_000), &[])
            .run(WHO, &[])
            .sync();
        let answers = told(&mut client, &pipeline.query("ROLLBACK").query(WHO));
        let last = &answers[answers.len() - 3];
        assert!(last.contains(Tenant::A.user()), "{mode:?}: {answers:?}");
    }
}
