//! One connection, many tenants: tokens that are given on an open connection.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::time::{Duration, Instant};

use pgwarden::server::Running;
use pgwarden_config::settings::{AuditStatements, AuditTarget, PoolMode};
use pgwarden_tests::audit::{audit_with, count};
use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::frames::Frames;
use pgwarden_tests::patience::within_a_life;
use pgwarden_tests::proxy;
use pgwarden_tests::wire::{Client, Message, Reply, ServerError};
use serde_json::{Value, json};
use tempfile::TempDir;

const COUNT: &str = "SELECT count(*) FROM leads";
const ORG: &str = "SELECT DISTINCT org_id FROM leads";
const CLAIMS: &str = "SHOW request.jwt.claims";

struct World {
    running: Running,
    arena: Arena,
    directory: TempDir,
}

impl World {
    fn new(mode: PoolMode) -> Self {
        let arena = Arena::take();
        let directory = tempfile::tempdir().unwrap();
        let mut settings = proxy::settings("");
        settings.pool.mode = mode;
        settings.auth.leeway = Duration::ZERO;
        settings.audit.target = AuditTarget::File(directory.path().join("audit"));
        settings.audit.statements = AuditStatements::All;
        let policy = format!(
            "{}\n[[role]]\nname = \"service\"\ntenant = \"per_transaction\"\n",
            include_str!("../fixtures/policy.toml")
        );
        Self {
            running: proxy::start(settings, proxy::policy_of(&policy)),
            arena,
            directory,
        }
    }

    fn connect(&self, token: &str) -> Client {
        self.try_connect(token).unwrap()
    }

    fn try_connect(&self, token: &str) -> Result<Client, ServerError> {
        let address = self.running.addresses()[0];
        Client::connect(address, "anyone", &self.arena.plain(), &[], Some(token))
    }

    fn service(&self) -> Client {
        self.connect(&service())
    }
}

/// Both modes of pooling.
fn worlds() -> impl Iterator<Item = World> {
    [PoolMode::Session, PoolMode::Transaction]
        .into_iter()
        .map(World::new)
}

fn service() -> String {
    proxy::sign(&json!({"exp": proxy::now() + 3600, "role": "service", "sub": "the service"}))
}

/// A tenant's token that ends after so many seconds.
fn ending(tenant: Tenant, seconds: u64) -> String {
    let mut claims: Value = serde_json::from_str(&tenant.claims()).unwrap();
    claims["exp"] = json!(proxy::now() + seconds);
    proxy::sign(&claims)
}

fn local(tenant: Tenant) -> String {
    format!("SET LOCAL pgwarden.token = '{}'", proxy::token(tenant))
}

fn lasting(tenant: Tenant) -> String {
    format!("SET pgwarden.token TO '{}'", proxy::token(tenant))
}

/// SQLSTATE and reason, or the first value.
fn shown(reply: &Reply) -> String {
    match &reply.error {
        Some(error) => format!("{} {}", error.code(), error.reason().unwrap_or_default()),
        None => reply.value().unwrap_or_default(),
    }
}

fn ask(client: &mut Client, sql: &str) -> String {
    shown(&client.query(sql))
}

const REQUIRED: &str = "42501 token_required";

#[test]
fn without_a_token_nothing_of_a_tenant_is_let_through() {
    for world in worlds() {
        let mut client = world.service();
        for sql in [
            COUNT,
            "INSERT INTO leads (full_name) VALUES ('x')",
            "UPDATE leads SET full_name = 'x'",
            "DELETE FROM leads",
            "COPY leads TO STDOUT",
        ] {
            assert_eq!(ask(&mut client, sql), REQUIRED, "{sql}");
            assert_eq!(shown(&client.extended(sql, &[])), REQUIRED, "{sql}");
        }
        assert_ne!(ask(&mut client, "SELECT count(*) FROM plans"), REQUIRED);
        assert!(ask(&mut client, CLAIMS).contains("the service"));
    }
}

#[test]
fn a_local_token_holds_until_its_transaction_ends() {
    for world in worlds() {
        let mut client = world.service();
        for (tenant, end) in [
            (Tenant::A, "COMMIT"),
            (Tenant::B, "ROLLBACK"),
            (Tenant::B, "COMMIT"),
            (Tenant::A, "ROLLBACK"),
        ] {
            client.query("BEGIN").ok();
            let set = client.query(&local(tenant)).ok();
            assert_eq!(set.results[0].tag.as_deref(), Some("SET"));
            assert_eq!(set.status, b'T');
            let claims = ask(&mut client, CLAIMS);
            assert!(claims.contains(tenant.org()) && !claims.contains("the service"));
            let org = client.query(ORG).ok();
            assert!(org.results[0].rows.len() <= 1);
            assert_eq!(ask(&mut client, ORG), tenant.org());
            client.query(end).ok();
            assert_eq!(ask(&mut client, COUNT), REQUIRED);
            assert!(ask(&mut client, CLAIMS).contains("the service"));
        }
    }
}

#[test]
fn rolling_back_to_a_savepoint_keeps_the_token_and_its_claims() {
    for world in worlds() {
        let mut client = world.service();
        client.query("BEGIN").ok();
        client.query("SAVEPOINT before").ok();
        client.query(&local(Tenant::A)).ok();
        client.query("ROLLBACK TO SAVEPOINT before").ok();
        assert_eq!(ask(&mut client, ORG), Tenant::A.org());
        assert!(ask(&mut client, CLAIMS).contains(Tenant::A.org()));
        assert_eq!(ask(&mut client, "SELECT 1/0").trim(), "22012");
        client.query("ROLLBACK TO SAVEPOINT before").ok();
        assert_eq!(ask(&mut client, ORG), Tenant::A.org());
        assert!(ask(&mut client, CLAIMS).contains(Tenant::A.org()));
        client.query("ROLLBACK").ok();
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
    }
}

#[test]
fn a_transaction_that_begins_in_the_same_message_has_no_token() {
    for world in worlds() {
        let mut client = world.service();
        for chain in [
            "COMMIT; BEGIN",
            "ROLLBACK; BEGIN",
            "COMMIT AND CHAIN",
            "ROLLBACK AND CHAIN",
            "ROLLBACK TO SAVEPOINT s; ROLLBACK; BEGIN",
            "ROLLBACK TO SAVEPOINT s; COMMIT; BEGIN",
        ] {
            client.query("BEGIN").ok();
            client.query(&local(Tenant::A)).ok();
            client.query("SAVEPOINT s").ok();
            assert_eq!(ask(&mut client, ORG), Tenant::A.org());
            assert_eq!(client.query(chain).ok().status, b'T', "{chain}");
            assert_eq!(ask(&mut client, COUNT), REQUIRED, "{chain}");
            client.query("ROLLBACK").ok();
        }
    }
}

#[test]
fn outside_of_a_transaction_a_local_token_has_no_effect() {
    for world in worlds() {
        let mut client = world.service();
        let set = client.query(&local(Tenant::A)).ok();
        assert_eq!(set.notices.len(), 1);
        assert_eq!(set.notices[0].code(), "25P01");
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
        client.extended(&local(Tenant::A), &[]).ok();
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
    }
}

#[test]
fn a_token_without_local_holds_until_the_next() {
    for world in worlds() {
        let mut client = world.service();
        for tenant in [Tenant::A, Tenant::B, Tenant::B] {
            client.query(&lasting(tenant)).ok();
            assert_eq!(ask(&mut client, ORG), tenant.org());
            client.query("BEGIN").ok();
            assert_eq!(ask(&mut client, ORG), tenant.org());
            client.query("ROLLBACK").ok();
            assert!(ask(&mut client, CLAIMS).contains(tenant.org()));
            client.query("RESET ALL").ok();
            assert_eq!(ask(&mut client, ORG), tenant.org());
        }
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        assert_eq!(ask(&mut client, ORG), Tenant::A.org());
        client.query("COMMIT").ok();
        assert_eq!(ask(&mut client, ORG), Tenant::B.org());
        // The login's own token takes the tenant away.
        let own = format!("SET pgwarden.token = '{}'", service());
        client.query(&own).ok();
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
    }
}

#[test]
fn a_transaction_has_one_tenant_once_a_statement_has_run() {
    for world in worlds() {
        let mut client = world.service();
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        client.query(&local(Tenant::B)).ok();
        client
            .query("DECLARE c CURSOR FOR SELECT org_id FROM leads")
            .ok();
        client.query(&local(Tenant::B)).ok();
        assert_eq!(ask(&mut client, &local(Tenant::A)), "42501 identity_guard");
        assert_eq!(ask(&mut client, "FETCH c").trim(), "25P02");
        client.query("ROLLBACK").ok();
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        assert_eq!(ask(&mut client, ORG), Tenant::A.org());
        client.query("COMMIT").ok();
        // What would outlive the transaction is refused.
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        let hold = "DECLARE c CURSOR WITH HOLD FOR SELECT * FROM leads";
        assert_eq!(ask(&mut client, hold), "0A000 unsupported_statement");
        client.query("ROLLBACK").ok();
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        let temporary = "CREATE TEMPORARY TABLE mine AS SELECT * FROM leads";
        assert_eq!(ask(&mut client, temporary), "0A000 unsupported_statement");
        client.query("ROLLBACK").ok();
    }
}

#[test]
fn a_token_that_is_not_good_changes_nothing() {
    for world in worlds() {
        let mut client = world.service();
        let good = proxy::token(Tenant::A);
        let (head, _) = good.rsplit_once('.').unwrap();
        client.query(&lasting(Tenant::B)).ok();
        for bad in [
            format!("{head}.AAAA"),
            "nonsense".to_owned(),
            String::new(),
            proxy::sign(
                &json!({"exp": proxy::now() - 60, "app_metadata": {"org_id": Tenant::A.org()}}),
            ),
            proxy::sign(&json!({"exp": proxy::now() + 60, "sub": "without a tenant"})),
            format!("{good}' || '"),
        ] {
            for set in ["SET LOCAL", "SET", "SET SESSION"] {
                let sql = format!("{set} pgwarden.token = '{bad}'");
                let reply = client.query(&sql);
                assert_eq!(shown(&reply), "28000 token_refused", "{set}");
                let told = format!("{:?}", reply.error);
                assert!(bad.is_empty() || !told.contains(&bad), "{told}");
                let extended = client.extended(&sql, &[]);
                assert_eq!(shown(&extended), "28000 token_refused");
            }
            assert_eq!(ask(&mut client, ORG), Tenant::B.org());
        }
        // Other spellings are the identity guard's.
        for sql in [
            format!("/* x */ SET pgwarden.token = '{good}'"),
            format!("SET \"pgwarden\".\"token\" = '{good}'"),
            format!("SELECT set_config('pgwarden.token', '{good}', true)"),
            format!("SELECT 1; SET pgwarden.token = '{good}'"),
            "RESET pgwarden.token".to_owned(),
        ] {
            assert_eq!(ask(&mut client, &sql), "42501 identity_guard");
            assert_eq!(ask(&mut client, ORG), Tenant::B.org());
        }
        client.query("BEGIN").ok();
        assert_eq!(
            ask(&mut client, "SET LOCAL pgwarden.token = 'x'"),
            "28000 token_refused"
        );
        assert_eq!(ask(&mut client, &local(Tenant::A)).trim(), "25P02");
        client.query("ROLLBACK").ok();
        assert_eq!(ask(&mut client, ORG), Tenant::B.org());
        let admin = format!("SET pgwarden.token = '{}'", proxy::admin_token());
        assert_eq!(ask(&mut client, &admin), "42501 identity_guard");
        assert_eq!(ask(&mut client, ORG), Tenant::B.org());
    }
}

/// What each DataRow or error of an exchange says.
fn said(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .filter_map(|it| match it.tag {
            b'D' => Some(String::from_utf8_lossy(&it.body[6..]).into_owned()),
            b'E' => Some(it.error().reason().unwrap_or(it.error().code()).to_owned()),
            _ => None,
        })
        .collect()
}

#[test]
fn statements_go_by_the_token_of_their_transaction_in_pipelines_too() {
    for world in worlds() {
        let mut client = world.service();
        let one = |tenant| {
            Frames::new()
                .run("BEGIN", &[])
                .run(&local(tenant), &[])
                .run(ORG, &[])
        };
        for tenant in [Tenant::A, Tenant::B] {
            let frames = one(tenant).run("COMMIT", &[]).sync();
            assert_eq!(said(&frames.exchange(&mut client)), [tenant.org()]);
        }
        // The transaction ends inside the pipeline, and with it the token.
        let frames = one(Tenant::A)
            .run("COMMIT", &[])
            .run(COUNT, &[])
            .run(ORG, &[])
            .sync();
        let said_all = said(&frames.exchange(&mut client));
        assert_eq!(said_all, [Tenant::A.org(), "token_required"]);
        // A pipeline without BEGIN is a transaction, too.
        let frames = Frames::new()
            .run(&local(Tenant::A), &[])
            .run(ORG, &[])
            .sync();
        assert_eq!(said(&frames.exchange(&mut client)), [Tenant::A.org()]);
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
    }
}

#[test]
fn prepared_statements_serve_whoever_is_in_force() {
    for world in worlds() {
        let mut client = world.service();
        let insert = format!(
            "INSERT INTO leads (org_id, full_name) VALUES ('{}', 'x')",
            Tenant::A.org()
        );
        client.query("BEGIN").ok();
        client.query(&local(Tenant::A)).ok();
        let parsed = Frames::new()
            .parse("org", ORG)
            .parse("mine", &insert)
            .parse("set", &local(Tenant::B))
            .sync()
            .exchange(&mut client);
        assert_eq!(said(&parsed), [""; 0]);
        client.query("COMMIT").ok();
        let run = |name: &str| Frames::new().bind("", name, &[]).execute("", 0).sync();
        assert_eq!(said(&run("org").exchange(&mut client)), ["token_required"]);
        for tenant in [Tenant::B, Tenant::A] {
            client.query("BEGIN").ok();
            client.query(&local(tenant)).ok();
            assert_eq!(said(&run("org").exchange(&mut client)), [tenant.org()]);
            client.query("ROLLBACK").ok();
        }
        client.query("BEGIN").ok();
        assert_eq!(said(&run("set").exchange(&mut client)), [""; 0]);
        assert_eq!(said(&run("org").exchange(&mut client)), [Tenant::B.org()]);
        let foreign = said(&run("mine").exchange(&mut client));
        assert_eq!(foreign, ["foreign_tenant_value"]);
        client.query("ROLLBACK").ok();
        assert_eq!(ask(&mut client, COUNT), REQUIRED);
    }
}

#[test]
fn a_pinned_session_can_only_be_renewed() {
    for world in worlds() {
        let (mut client, seconds) = within_a_life(|seconds| {
            let mut client = world.try_connect(&ending(Tenant::A, seconds)).ok()?;
            client.forbid(Tenant::A.markers());
            let own = format!("SET pgwarden.token = '{}'", service());
            for sql in [
                lasting(Tenant::B),
                local(Tenant::B),
                lasting(Tenant::B),
                own,
            ] {
                let answer = ask(&mut client, &sql);
                if answer.starts_with("28000") || answer.starts_with("57P01") {
                    return None;
                }
                assert_eq!(answer, "42501 identity_guard");
            }
            let renewed = client.query(&lasting(Tenant::A)).code() == "";
            renewed.then_some((client, seconds))
        });
        // Beyond the end of the first token.
        let ended = Instant::now() + Duration::from_secs(seconds + 1);
        while Instant::now() < ended {
            assert_eq!(ask(&mut client, ORG), Tenant::A.org());
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

#[test]
fn an_expired_token_leaves_nobody_in_its_place() {
    for world in worlds() {
        let mut client = world.service();
        client.query(&lasting(Tenant::B)).ok();
        within_a_life(|seconds| {
            client.query("BEGIN").ok();
            let short = ending(Tenant::A, seconds);
            let given = client.query(&format!("SET LOCAL pgwarden.token = '{short}'"));
            let given = given.code() == "" && ask(&mut client, ORG) == Tenant::A.org();
            if !given {
                client.query("ROLLBACK").ok();
            }
            given.then_some(())
        });
        let started = Instant::now();
        let denied = loop {
            let answer = ask(&mut client, ORG);
            if answer != Tenant::A.org() {
                break answer;
            }
            assert!(started.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(denied, "28000 token_required");
        client.query("ROLLBACK").ok();
        assert_eq!(ask(&mut client, ORG), Tenant::B.org());
    }
}

#[test]
fn the_audit_names_the_tenant_and_never_the_token() {
    for world in worlds() {
        let mut client = world.service();
        let token = proxy::token(Tenant::A);
        client.query("BEGIN").ok();
        client
            .query(&format!("SET LOCAL pgwarden.token = '{token}'"))
            .ok();
        client.query(ORG).ok();
        client.query("COMMIT").ok();
        client.query(COUNT);
        client.query(&format!("SET pgwarden.token = '{token}x'"));
        drop(client);
        let (_, signature) = token.rsplit_once('.').unwrap();
        let path = world.directory.path().join("audit");
        let lines = audit_with(&path, |lines| count(lines, "disconnect") > 0);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(signature));
        let select = lines.iter().find(|it| it["kind"] == "select").unwrap();
        assert_eq!(select["org"], Tenant::A.org());
        assert_eq!(select["sub"], Tenant::A.user());
        let reasons: Vec<_> = lines
            .iter()
            .filter_map(|it| it["reason"].as_str())
            .collect();
        assert_eq!(reasons, ["token_required", "token_refused"]);
        let denied = lines.iter().find(|it| it["reason"] == "token_required");
        assert_eq!(denied.unwrap()["sub"], "the service");
        assert!(denied.unwrap().get("org").is_none_or(Value::is_null));
    }
}
