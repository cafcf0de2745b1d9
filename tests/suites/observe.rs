//! Observe mode on a real PostgreSQL: what goes on as it came, what the audit and the metrics say
//! of it, and that the claims stay the session's own.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use pgwarden::server::Running;
use pgwarden_config::LoadedPolicy;
use pgwarden_config::settings::AuditTarget;
use pgwarden_tests::audit::{audit_with, count};
use pgwarden_tests::fixture::{Arena, Tenant};
use pgwarden_tests::proxy;
use pgwarden_tests::wire::Client;
use serde_json::Value;
use tempfile::TempDir;

const ALL_LEADS: &str = "SELECT count(DISTINCT org_id) FROM leads";

struct Observing {
    running: Running,
    directory: TempDir,
    arena: Arena,
}

impl Observing {
    fn new(policy: LoadedPolicy) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut settings = proxy::settings("");
        settings.audit.target = AuditTarget::File(directory.path().join("audit"));
        Self {
            running: proxy::start(settings, policy),
            directory,
            arena: Arena::take(),
        }
    }

    fn session(&self) -> Client {
        let address = self.running.addresses()[0];
        proxy::session_at(address, &self.arena.plain(), Tenant::A)
    }

    /// The verdict, reason and tables of the lines about statements, of which there are so many.
    fn audit(&self, statements: usize) -> Vec<(String, Value, Value)> {
        let file = self.directory.path().join("audit");
        let lines = audit_with(&file, |lines| count(lines, "statement") >= statements);
        lines
            .into_iter()
            .filter(|line| line["event"] == "statement")
            .map(|line| {
                let verdict = line["verdict"].as_str().unwrap().to_owned();
                (verdict, line["reason"].clone(), line["tables"].clone())
            })
            .collect()
    }

    fn metric(&self, name: &str) -> String {
        let text = self.running.proxy().render_metrics();
        let mut lines = text.lines();
        let value = lines.find_map(|line| line.strip_prefix(&format!("{name} ")));
        value
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .to_owned()
    }
}

/// Looks on at everything in either protocol.
fn value(client: &mut Client, sql: &str, extended: bool) -> String {
    let reply = if extended {
        client.extended(sql, &[])
    } else {
        client.query(sql)
    };
    reply.ok().value().unwrap()
}

#[test]
fn everything_goes_on_as_it_came_and_is_noted() {
    let observing = Observing::new(proxy::policy_with(&["mode = \"observe\"".to_owned()]));
    let mut client = observing.session();
    client.forbid(&[]);
    for extended in [false, true] {
        assert_ne!(value(&mut client, ALL_LEADS, extended), "1");
    }
    let unlisted = "SELECT count(*) > 0 FROM internal_secrets";
    assert_eq!(value(&mut client, unlisted, false), "t");
    assert_eq!(value(&mut client, "SELECT 1 FROM plans LIMIT 1", true), "1");
    let rewrite = |table: &str| {
        let tables = serde_json::json!([table]);
        ("would_rewrite".to_owned(), Value::Null, tables)
    };
    let deny = (
        "would_deny".to_owned(),
        Value::from("unlisted_relation"),
        serde_json::json!(["public.internal_secrets"]),
    );
    let lines = observing.audit(3);
    assert_eq!(
        lines,
        [rewrite("public.leads"), rewrite("public.leads"), deny]
    );
    let statements = |verdict: &str| {
        let name = "pgwarden_statements_total";
        observing.metric(&format!("{name}{{verdict=\"{verdict}\",kind=\"select\"}}"))
    };
    assert_eq!(statements("would_rewrite"), "2");
    assert_eq!(statements("would_deny"), "1");
    let reasons = "pgwarden_would_be_denials_total{reason=\"unlisted_relation\"}";
    assert_eq!(observing.metric(reasons), "1");
}

#[test]
fn the_identity_stays_guarded() {
    let observing = Observing::new(proxy::policy_with(&["mode = \"observe\"".to_owned()]));
    let mut client = observing.session();
    let claims = value(&mut client, "SHOW request.jwt.claims", false);
    assert!(claims.contains(Tenant::A.org()), "{claims}");
    for text in [
        "SET request.jwt.claims = '{}'",
        "SET ROLE postgres",
        "SELECT set_config('request.jwt.claims', '', false)",
        "SELECT set_config('request.jwt.claims', '', false) FROM internal_secrets",
        "DO $$ BEGIN PERFORM set_config('request.jwt.claims', '', false); END $$",
        "SELECT query_to_xml('select 1', true, true, '') FROM internal_secrets",
    ] {
        assert!(client.query(text).denied().is_some(), "{text}");
        assert!(client.extended(text, &[]).denied().is_some(), "{text}");
        for sql in ["SHOW request.jwt.claims", "SHOW ROLE"] {
            let now = value(&mut client, sql, false);
            assert!(now == claims || now == "none", "{text}: {now}");
        }
    }
}

#[test]
fn one_table_is_observed_and_the_others_enforced() {
    let observed = "[[table]]\nname = \"public.leads\"\nmode = \"observe\"\n\n[functions]";
    let text = include_str!("../fixtures/policy.toml").replacen("[functions]", observed, 1);
    let observing = Observing::new(proxy::policy_of(&text));
    let mut client = observing.session();
    for extended in [false, true] {
        assert_ne!(value(&mut client, ALL_LEADS, extended), "1");
        let enforced = "SELECT count(DISTINCT org_id) FROM call_logs";
        assert_eq!(value(&mut client, enforced, extended), "1");
        let both = "SELECT count(DISTINCT c.org_id) = 1 AND count(DISTINCT l.org_id) > 1 \
                    FROM leads l CROSS JOIN call_logs c";
        assert_eq!(value(&mut client, both, extended), "t");
    }
    let foreign = format!("UPDATE call_logs SET org_id = '{}'", Tenant::B.org());
    assert_eq!(
        client.query(&foreign).denied(),
        Some("foreign_tenant_value")
    );
    let verdicts: Vec<_> = observing.audit(5).into_iter().map(|line| line.0).collect();
    let noted = "would_rewrite";
    assert_eq!(verdicts, [noted, noted, noted, noted, "deny"]);
}
