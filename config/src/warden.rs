//! Reading `warden.toml`.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::diagnostic::{File, Problems};
use crate::document::{self, Node, Origin, Value};
use crate::environment::Environment;
use crate::reader::{Complaint, Report, Section};
use crate::settings::{
    Audit, AuditStatements, AuditTarget, Limits, Listener, ListenerAuth, ListenerTls, Log,
    LogFormat, Pool, PoolMode, Settings,
};
use crate::unsupported;
use crate::values::{
    address, boolean, choice, count, count_or_any, duration, duration_between, size, size_between,
    timeout, word,
};

mod auth;
mod databases;
mod peers;
mod secrets;

pub use databases::read_database;

/// A client could not fit its token into a larger message, and PostgreSQL allows no larger one.
const MESSAGE_BYTES_MAX: usize = 0x3fff_ffff;

/// Beyond that sleeping costs nothing that anybody would notice.
const BUSY_POLL_MAX: Duration = Duration::from_millis(10);

const LISTENER_AUTHS: &[(&str, ListenerAuth)] = &[
    ("password", ListenerAuth::Password),
    ("oauthbearer", ListenerAuth::OAuthBearer),
];
const POOL_MODES: &[(&str, PoolMode)] = &[
    ("session", PoolMode::Session),
    ("transaction", PoolMode::Transaction),
];
const AUDIT_STATEMENTS: &[(&str, AuditStatements)] = &[
    ("denied", AuditStatements::Denied),
    ("writes", AuditStatements::Writes),
    ("all", AuditStatements::All),
];
const LOG_FORMATS: &[(&str, LogFormat)] = &[("text", LogFormat::Text), ("json", LogFormat::Json)];

/// Reads `warden.toml` and the secrets that it names. Paths in it are relative to its folder.
///
/// # Errors
/// All problems of the file and of the environment's overrides.
pub fn load_settings(path: &Path, environment: &Environment) -> Result<Settings, Problems> {
    let file = File::read(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    read_settings(&file, folder, environment)
}

/// The same from a text.
///
/// # Errors
/// All problems of the file and of the environment's overrides.
pub fn read_settings(
    file: &Arc<File>,
    folder: &Path,
    environment: &Environment,
) -> Result<Settings, Problems> {
    let (mut root, syntax_errors) = document::parse(file);
    let mut reader = Reader {
        report: Report::new(file, syntax_errors),
        folder,
        environment,
    };
    for problem in environment.apply(&mut root) {
        reader.report.add(problem);
    }
    unsupported::refuse(&root, unsupported::WARDEN, &mut reader.report);
    let settings = match &root.value {
        Value::Table(table) => reader.settings(Section::new("", &root.origin, table)),
        _ => None,
    };
    for problem in environment.near_misses(&root, reader.report.known()) {
        reader.report.add(problem);
    }
    reader.report.finish(settings)
}

/// The report and the surroundings.
struct Reader<'a> {
    report: Report,
    folder: &'a Path,
    environment: &'a Environment,
}

impl Reader<'_> {
    fn settings(&mut self, mut root: Section<'_>) -> Option<Settings> {
        let listen = self.listeners(&mut root);
        let admin = self.admin(&mut root);
        let pool = self.pool(&mut root);
        let databases = self.databases(&mut root, pool.mode);
        let auth = self.auth(&mut root);
        let limits = self.limits(&mut root);
        let audit = self.audit(&mut root);
        let policy_file = self.policy_file(&mut root);
        let log = self.log(&mut root);
        let peers = self.peers(&mut root);
        root.finish(&mut self.report);
        Some(Settings {
            listen,
            admin,
            databases,
            pool,
            auth: auth?,
            limits,
            audit,
            policy_file,
            log,
            peers,
        })
    }

    fn listeners(&mut self, root: &mut Section<'_>) -> Vec<Listener> {
        let sections = root.sections(&mut self.report, "listen");
        if sections.is_empty() {
            let complaint = Complaint::new("there is no [[listen]]")
                .help("write [[listen]] with address = \"127.0.0.1:6432\"");
            self.report.missing(root.origin(), complaint);
        }
        let mut listeners: Vec<Listener> = Vec::new();
        for section in sections {
            let origin = section.origin().clone();
            let Some(listener) = self.listener(section) else {
                continue;
            };
            let port = listener.address.port();
            if port != 0 && listeners.iter().any(|it| it.address == listener.address) {
                let message = format!("address {} is listened on twice", listener.address);
                self.report.complain(&origin, Complaint::new(message));
            }
            listeners.push(listener);
        }
        listeners
    }

    fn listener(&mut self, mut section: Section<'_>) -> Option<Listener> {
        let report = &mut self.report;
        let address = section.required(report, "address", address);
        let auth = choice(LISTENER_AUTHS);
        let auth = section.or(report, "auth", auth, ListenerAuth::Password);
        let reuse_port = section.or(report, "reuse_port", boolean, false);
        let tls = section.section(report, "tls");
        section.finish(report);
        let tls = match tls {
            Some(tls) => Some(self.listener_tls(tls)?),
            None => None,
        };
        Some(Listener {
            address: address?,
            auth,
            tls,
            reuse_port,
        })
    }

    fn listener_tls(&mut self, mut section: Section<'_>) -> Option<ListenerTls> {
        let report = &mut self.report;
        let readable = |node: &Node| readable(self.folder.join(word(node)?));
        let certificate = section.required(report, "certificate", readable);
        let key = section.required(report, "key", readable);
        let required = section.or(report, "required", boolean, true);
        section.finish(report);
        Some(ListenerTls {
            certificate: certificate?,
            key: key?,
            required,
        })
    }

    fn admin(&mut self, root: &mut Section<'_>) -> Option<std::net::SocketAddr> {
        let mut section = root.section(&mut self.report, "admin")?;
        let address = section.required(&mut self.report, "address", address);
        section.finish(&mut self.report);
        address
    }

    fn pool(&mut self, root: &mut Section<'_>) -> Pool {
        let default = Pool::default();
        let report = &mut self.report;
        let mut section = root.section_or_empty(report, "pool");
        let pool = Pool {
            mode: section.or(report, "mode", choice(POOL_MODES), default.mode),
            checkout_timeout: section.or(
                report,
                "checkout_timeout",
                timeout,
                default.checkout_timeout,
            ),
            pause_timeout: section.or(report, "pause_timeout", timeout, default.pause_timeout),
            idle_timeout: section.or(report, "idle_timeout", timeout, default.idle_timeout),
            max_lifetime: section.or(report, "max_lifetime", timeout, default.max_lifetime),
            multiplex_wait: section.or(report, "multiplex_wait", duration, default.multiplex_wait),
        };
        section.finish(report);
        pool
    }

    fn limits(&mut self, root: &mut Section<'_>) -> Limits {
        let default = Limits::default();
        let report = &mut self.report;
        let mut section = root.section_or_empty(report, "limits");
        let clients = default.client_connections;
        let handshake = default.handshake_timeout;
        let drain = default.drain_timeout;
        let message = size_between(1 << 10, MESSAGE_BYTES_MAX);
        let statement = size_between(1 << 10, MESSAGE_BYTES_MAX);
        let token = size_between(256, 1 << 20);
        let message_bytes = section.or(report, "message_bytes", message, default.message_bytes);
        let threads = section.or(report, "worker_threads", count, default.worker_threads);
        // As it comes, its buffer may be twice as large; and it is on its way to the server.
        let longest = message_bytes.saturating_mul(3);
        let total = size_between(longest, usize::MAX);
        let all_messages = default.total_message_bytes.max(longest);
        let limits = Limits {
            client_connections: section.or(report, "client_connections", count, clients),
            handshake_timeout: section.or(report, "handshake_timeout", timeout, handshake),
            handshakes_per_address: section.or(
                report,
                "handshakes_per_address",
                count_or_any,
                default.handshakes_per_address,
            ),
            failed_logins_per_minute: section.or(
                report,
                "failed_logins_per_minute",
                count_or_any,
                default.failed_logins_per_minute,
            ),
            token_bytes: section.or(report, "token_bytes", token, default.token_bytes),
            message_bytes,
            total_message_bytes: section.or(report, "total_message_bytes", total, all_messages),
            plan_cache_bytes: section.or(
                report,
                "plan_cache_bytes",
                size,
                default.plan_cache_bytes,
            ),
            statement_bytes: section.or(
                report,
                "statement_bytes",
                statement,
                default.statement_bytes,
            ),
            drain_timeout: section.or(report, "drain_timeout", duration, drain),
            worker_threads: threads,
            busy_poll: section.or(
                report,
                "busy_poll",
                duration_between(Duration::ZERO, BUSY_POLL_MAX),
                Limits::busy_poll_of(threads),
            ),
        };
        section.finish(report);
        limits
    }

    fn audit(&mut self, root: &mut Section<'_>) -> Audit {
        let default = Audit::default();
        let report = &mut self.report;
        let mut section = root.section_or_empty(report, "audit");
        let target = section.optional(report, "target", word);
        let statements = choice(AUDIT_STATEMENTS);
        let statements = section.or(report, "statements", statements, default.statements);
        section.finish(report);
        let target = match target.as_deref() {
            None => default.target,
            Some("stdout") => AuditTarget::Stdout,
            Some(path) => AuditTarget::File(self.path(path)),
        };
        Audit { target, statements }
    }

    fn policy_file(&mut self, root: &mut Section<'_>) -> PathBuf {
        let mut section = root.section_or_empty(&mut self.report, "policy");
        let file = section.optional(&mut self.report, "file", word);
        section.finish(&mut self.report);
        self.path(file.as_deref().unwrap_or("policy.toml"))
    }

    fn log(&mut self, root: &mut Section<'_>) -> Log {
        let default = Log::default();
        let report = &mut self.report;
        let mut section = root.section_or_empty(report, "log");
        let log = Log {
            format: section.or(report, "format", choice(LOG_FORMATS), default.format),
            filter: section.or(report, "filter", word, default.filter),
        };
        section.finish(report);
        log
    }

    /// A path of the file, relative to the file's folder.
    fn path(&self, written: &str) -> PathBuf {
        self.folder.join(written)
    }

    fn complain(&mut self, origin: &Origin, complaint: Complaint) {
        self.report.complain(origin, complaint);
    }
}

/// A file that must be there when the process starts.
fn readable(path: PathBuf) -> Result<PathBuf, Complaint> {
    match std::fs::File::open(&path) {
        Ok(_) => Ok(path),
        Err(error) => {
            let message = format!("{} can't be read: {error}", path.display());
            Err(Complaint::new(message))
        }
    }
}
