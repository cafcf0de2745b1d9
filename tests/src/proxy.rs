//! The proxy, in this process, in front of the arenas' databases without row level security.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pgwarden::server::{Inputs, Running};
use pgwarden_config::settings::Settings;
use pgwarden_config::{Environment, File, LoadedPolicy, read_policy, read_settings};
use serde_json::{Value, json};

use crate::fixture::{ARENAS, ROLE, SECOND, Tenant, server};
use crate::wire::{Client, ServerError};

/// The secret of the HS256 key.
pub const SECRET: &str = "the suites' own secret, longer than thirty-two bytes";

/// The policy of `fixtures/policy.toml`.
pub fn policy() -> LoadedPolicy {
    policy_of(include_str!("../fixtures/policy.toml"))
}

/// The policy of the second world.
pub fn second_policy() -> LoadedPolicy {
    policy_of(include_str!("../fixtures/second/policy.toml"))
}

/// The suites' policy with another `mode` or other `[defaults]`, a line for each.
pub fn policy_with(lines: &[String]) -> LoadedPolicy {
    let (mode, lines): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.starts_with("mode"));
    let defaults: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let defaults = format!("[defaults]\n{defaults}");
    let mut text = include_str!("../fixtures/policy.toml").replacen("[defaults]\n", &defaults, 1);
    if lines.iter().any(|line| line.starts_with("unlisted")) {
        text = text.replacen("unlisted = \"deny\"\n", "", 1);
    }
    if let [mode] = mode.as_slice() {
        text = text.replacen("mode    = \"enforce\"", mode, 1);
    }
    policy_of(&text)
}

/// A policy from its text.
pub fn policy_of(text: &str) -> LoadedPolicy {
    let file = File::new("policy.toml", text);
    match read_policy(&file) {
        Ok(loaded) => loaded,
        Err(problems) => panic!("{problems}"),
    }
}

/// The pool's mode, of all suites that start a proxy: PGWARDEN_SUITES_POOL, or `session`.
pub fn pool_mode() -> String {
    std::env::var("PGWARDEN_SUITES_POOL").unwrap_or_else(|_| "session".to_owned())
}

/// Whether each session has a server connection of its own for as long as it lasts.
pub fn keeps_its_server() -> bool {
    pool_mode() == "session"
}

/// Settings with the arenas' databases of the first world; `more` is TOML to add.
pub fn settings(more: &str) -> Settings {
    settings_with(more, 0..ARENAS)
}

fn settings_with(more: &str, arenas: std::ops::Range<usize>) -> Settings {
    let port = server().address().port();
    let mut text = head(&pool_mode()) + more + "\n";
    for arena in arenas {
        text += &format!(
            "[databases.plain_{arena}]\nurl = \"postgres://{ROLE}@127.0.0.1:{port}/plain_{arena}?sslmode=disable\"\nmax_server_connections = 40\n"
        );
    }
    settings_of(&text)
}

/// What every proxy of the suites is started with. Who waits for a connection on a busy machine gets one in the end.
pub(crate) fn head(mode: &str) -> String {
    format!(
        "[[listen]]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [pool]\nmode = \"{mode}\"\ncheckout_timeout = \"60s\"\n[[auth.key]]\nalgorithm = \"HS256\"\nsecret_env = \"PGWARDEN_SUITES_SECRET\"\n\
         [audit]\ntarget = \"/dev/null\"\n[log]\nfilter = \"error\"\n[policy]\nfile = \"policy.toml\"\n"
    )
}

/// Settings from their text.
pub(crate) fn settings_of(text: &str) -> Settings {
    let environment =
        Environment::from_iter([("PGWARDEN_SUITES_SECRET".to_owned(), SECRET.to_owned())]);
    let file = File::new("warden.toml", text);
    match read_settings(&file, Path::new("."), &environment) {
        Ok(settings) => settings,
        Err(problems) => panic!("{problems}"),
    }
}

/// Starts a proxy of its own.
pub fn start(settings: Settings, policy: LoadedPolicy) -> Running {
    let runtime = runtime();
    let started = runtime.block_on(pgwarden::server::start(Inputs { settings, policy }));
    started.expect("the proxy starts")
}

/// The runtime that all proxies of this test binary share: of two threads, unless the environment
/// says otherwise, as it would to a process.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let threads = std::env::var("PGWARDEN_LIMITS__WORKER_THREADS").ok();
        let threads = threads.and_then(|threads| threads.parse().ok());
        pgwarden::server::runtime(threads.unwrap_or(2)).expect("threads can be had")
    })
}

/// The address of the proxy that most tests share.
pub fn address() -> SocketAddr {
    static PROXY: OnceLock<Running> = OnceLock::new();
    PROXY
        .get_or_init(|| start(settings(""), policy()))
        .addresses()[0]
}

/// The address of the proxy with these lines in its policy: one for all cases that want the same,
/// since each keeps connections to every arena.
pub fn address_with(lines: &[String]) -> SocketAddr {
    static PROXIES: Mutex<Vec<(Vec<String>, Running)>> = Mutex::new(Vec::new());
    let mut proxies = PROXIES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, running)) = proxies.iter().find(|(known, _)| known == lines) {
        return running.addresses()[0];
    }
    let running = start(settings(""), policy_with(lines));
    let address = running.addresses()[0];
    proxies.push((lines.to_vec(), running));
    address
}

/// The address of the second world's proxy.
pub fn second_address() -> SocketAddr {
    static PROXY: OnceLock<Running> = OnceLock::new();
    let start = || start(settings_with("", SECOND..SECOND + 1), second_policy());
    PROXY.get_or_init(start).addresses()[0]
}

/// Seconds since 1970.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs()
}

/// Signs claims.
pub fn sign(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key)
        .expect("claims can be signed")
}

/// A tenant's token.
pub fn token(tenant: Tenant) -> String {
    let mut claims: Value = serde_json::from_str(&tenant.claims()).unwrap();
    claims["exp"] = json!(now() + 3600);
    sign(&claims)
}

/// A token of the break-glass role.
pub fn admin_token() -> String {
    sign(&json!({
        "exp": now() + 3600,
        "role": "platform_admin",
        "sub": Tenant::A.user(),
        "app_metadata": {"org_id": Tenant::A.org()},
    }))
}

/// A session of a tenant through the proxy, that fails on another tenant's markers.
pub fn session(database: &str, tenant: Tenant) -> Client {
    let mut client =
        connect(database, &token(tenant), &[]).expect("the proxy lets a good token in");
    client.forbid(tenant.markers());
    client
}

/// A tenant's session through a proxy of its own.
pub fn session_at(address: SocketAddr, database: &str, tenant: Tenant) -> Client {
    let token = token(tenant);
    let mut client = Client::connect(address, "anyone", database, &[], Some(&token))
        .expect("the proxy lets a good token in");
    client.forbid(tenant.markers());
    client
}

/// Logs in with any token and start-up parameters.
pub fn connect(
    database: &str,
    token: &str,
    parameters: &[(&str, &str)],
) -> Result<Client, ServerError> {
    let second = database == format!("plain_{SECOND}");
    let address = if second { second_address() } else { address() };
    Client::connect(address, "anyone", database, parameters, Some(token))
}
