//! The process around the sessions: start, admin endpoints, reload, shutdown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::fs;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgwarden::metrics::Outcome;
use pgwarden::proxy::{Drain, StartError};
use pgwarden::server::{self, Inputs, Running};
use pgwarden_config::{Environment, File, load_policy, read_settings};
use pgwarden_policy::rules::MissingFilter;
use pgwarden_policy::{DenyReason, StatementKind};
use pgwarden_tests::audit::audit_lines;
use pgwarden_tests::patience::patience;
use pgwarden_tests::server::{Server, free_address};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SECRET: &str = "a secret of more than thirty-two bytes";

const POLICY: &str = r#"
version = 1
[tenant]
claim  = "app_metadata.org_id"
type   = "uuid"
column = "org_id"
[defaults]
discover = ["public"]
"#;

fn postgres() -> SocketAddr {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(Server::start).address()
}

/// The two files of one proxy, in a directory of their own.
struct Files {
    directory: TempDir,
    upstream: SocketAddr,
    secret: &'static str,
    extra: String,
}

impl Files {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let files = Self {
            directory,
            upstream: postgres(),
            secret: SECRET,
            extra: String::new(),
        };
        files.write_policy(POLICY);
        files
    }

    fn write_policy(&self, text: &str) {
        fs::write(self.directory.path().join("policy.toml"), text).unwrap();
    }

    fn read(&self) -> Result<Inputs, String> {
        fs::write(self.directory.path().join("secret"), self.secret).unwrap();
        let text = format!(
            r#"
            [[listen]]
            address = "127.0.0.1:0"
            [admin]
            address = "127.0.0.1:0"
            [databases.app]
            url = "postgres://postgres@{}/postgres?sslmode=disable"
            [pool]
            mode = "session"
            [[auth.key]]
            algorithm = "HS256"
            secret_file = "secret"
            [policy]
            file = "policy.toml"
            [audit]
            target = "audit.jsonl"
            {}
            "#,
            self.upstream, self.extra
        );
        let file = File::new("warden.toml", text);
        let settings = read_settings(&file, self.directory.path(), &Environment::default());
        let settings = settings.map_err(|problems| problems.to_string())?;
        let policy = load_policy(&settings.policy_file).map_err(|problems| problems.to_string())?;
        Ok(Inputs { settings, policy })
    }

    async fn start(&self) -> Running {
        server::start(self.read().unwrap()).await.unwrap()
    }

    fn audit(&self) -> Vec<serde_json::Value> {
        audit_lines(&self.directory.path().join("audit.jsonl"))
    }
}

/// The status and the body of a GET.
async fn get(running: &Running, path: &str) -> (u16, String) {
    request(running, "GET", path).await
}

async fn request(running: &Running, method: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(running.admin_address().unwrap())
        .await
        .unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head[9..12].parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn the_admin_server_answers() {
    let files = Files::new();
    let running = files.start().await;
    assert_eq!(get(&running, "/livez").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&running, "/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(get(&running, "/").await.0, 404);
    assert_eq!(get(&running, "/metrics/../livez").await.0, 404);
    assert_eq!(request(&running, "POST", "/livez").await.0, 405);
    let metrics = running.proxy().metrics();
    metrics.statement(Outcome::Deny, StatementKind::Select);
    metrics.denial(DenyReason::UnlistedRelation);
    let (status, text) = get(&running, "/metrics").await;
    assert_eq!(status, 200);
    assert!(text.contains("pgwarden_statements_total{verdict=\"deny\",kind=\"select\"} 1\n"));
    assert!(text.contains("pgwarden_denials_total{reason=\"unlisted_relation\"} 1\n"));
    assert!(
        text.lines()
            .all(|line| line.starts_with("# ") || line.contains(' '))
    );
}

#[tokio::test]
async fn readyz_says_no_while_draining_and_accepting_ends() {
    let files = Files::new();
    let running = files.start().await;
    let address = running.addresses()[0];
    TcpStream::connect(address).await.unwrap();
    let mut drain = running.proxy().drain();
    let shutting = running.shut_down(std::future::pending());
    let watching = async {
        let begun = drain.wait_for(|drain| *drain != Drain::Running).await;
        drop(begun.unwrap());
        assert_eq!(
            get(&running, "/readyz").await,
            (503, "draining\n".to_owned())
        );
        assert_eq!(get(&running, "/livez").await.0, 200);
    };
    tokio::join!(shutting, watching);
    let refused = TcpStream::connect(address).await;
    assert!(refused.is_err(), "the listener is gone");
}

#[tokio::test]
async fn readyz_says_no_when_the_catalogue_cannot_be_read_and_recovers() {
    let mut files = Files::new();
    let server = Server::start();
    files.upstream = server.address();
    let running = files.start().await;
    let database = running.proxy().database("app").await.unwrap();
    drop(server);
    let started = Instant::now();
    while get(&running, "/readyz").await.0 != 503 {
        database.suspect_change();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(started.elapsed() < patience(), "still ready");
    }
    assert_eq!(get(&running, "/livez").await.0, 200);
}

#[tokio::test]
async fn a_reload_takes_all_or_nothing() {
    let mut files = Files::new();
    let running = files.start().await;
    let database = running.proxy().database("app").await.unwrap();
    let missing_filter = || database.engine().policy().defaults.missing_filter;
    assert_eq!(missing_filter(), MissingFilter::Rewrite);
    let old = running.proxy().authenticate(&token(SECRET)).unwrap();

    files.write_policy(&format!("{POLICY}missing_filter = \"reject\"\n"));
    running.reload(files.read()).unwrap();
    assert_eq!(missing_filter(), MissingFilter::Reject);

    for bad in [
        format!("{POLICY}missing_filter = \"perhaps\"\n"),
        format!("{POLICY}colour = \"red\"\n"),
        "version = 2\n".to_owned(),
        "not toml".to_owned(),
    ] {
        files.write_policy(&bad);
        let why = running.reload(files.read()).unwrap_err();
        assert!(why.contains("policy.toml:"), "{why}");
        assert_eq!(
            missing_filter(),
            MissingFilter::Reject,
            "the old policy stays"
        );
    }

    // Keys are reloaded, too; what they let in before stays in.
    files.write_policy(POLICY);
    files.secret = "another secret of more than thirty-two bytes";
    running.reload(files.read()).unwrap();
    assert!(running.proxy().authenticate(&token(SECRET)).is_err());
    running.proxy().authenticate(&token(files.secret)).unwrap();
    assert!(old.access(&database.engine()).is_ok());

    // A key that is no good changes nothing, the policy included.
    files.secret = "short";
    files.write_policy(&format!("{POLICY}missing_filter = \"reject\"\n"));
    running.reload(files.read()).unwrap_err();
    assert_eq!(missing_filter(), MissingFilter::Rewrite);

    let text = get(&running, "/metrics").await.1;
    assert!(text.contains("pgwarden_policy_reloads_total{outcome=\"ok\"} 2\n"));
    assert!(text.contains("pgwarden_policy_reloads_total{outcome=\"failed\"} 5\n"));
    let started = Instant::now();
    while files.audit().len() < 7 {
        assert!(started.elapsed() < patience(), "lines are missing");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lines = files.audit();
    assert_eq!(lines.len(), 7);
    assert!(
        lines
            .iter()
            .all(|line| line["event"] == "reload" && line["ts"].is_string())
    );
    assert!(lines[0]["policy"].is_string());
    assert_eq!(lines[1]["reason"], "reload_failed");
}

fn token(secret: &str) -> Vec<u8> {
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let claims = serde_json::json!({
        "exp": now.as_secs() + 60,
        "app_metadata": {"org_id": "a0000000-0000-0000-0000-000000000001"},
    });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let header = jsonwebtoken::Header::default();
    jsonwebtoken::encode(&header, &claims, &key)
        .unwrap()
        .into_bytes()
}

#[tokio::test]
async fn what_cannot_start_says_so_and_has_its_exit_status() {
    let mut files = Files::new();
    files.upstream = free_address();
    let error = server::start(files.read().unwrap()).await.unwrap_err();
    assert!(matches!(error, StartError::Connect { .. }), "{error}");
    assert_eq!(error.exit_status(), 3);

    let files = Files::new();
    let mut inputs = files.read().unwrap();
    inputs
        .settings
        .databases
        .named
        .get_mut("app")
        .unwrap()
        .dbname = Some("nobody's".to_owned());
    let error = server::start(inputs).await.unwrap_err();
    assert!(error.to_string().contains("3D000"), "{error}");

    let mut inputs = files.read().unwrap();
    inputs.settings.listen[0].address = postgres();
    let error = server::start(inputs).await.unwrap_err();
    assert_eq!(error.exit_status(), 2);
    assert!(error.to_string().contains("can't listen on"), "{error}");
}

#[tokio::test]
async fn databases_that_clients_name() {
    let mut files = Files::new();
    let running = files.start().await;
    let refusal = running.proxy().database("nobody's").await.unwrap_err();
    assert!(format!("{refusal:?}").contains("3D000"));

    files.extra = format!(
        "[databases.\"*\"]\nurl = \"postgres://postgres@{}\"\n",
        postgres()
    );
    let running = files.start().await;
    let one = running.proxy().database("template1").await.unwrap();
    assert_eq!(one.name(), "template1");
    let refusal = running.proxy().database("nobody's").await.unwrap_err();
    assert!(
        matches!(refusal, pgwarden::refusal::Refusal::Server(_)),
        "the server's own 3D000"
    );
    let names: Vec<_> = running
        .proxy()
        .databases()
        .iter()
        .map(|it| it.name().to_owned())
        .collect();
    assert_eq!(names.len(), 2, "{names:?}");
}
