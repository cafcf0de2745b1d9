//! `warden.toml`, resolved: what the process uses, without the file's syntax. Paths are absolute or
//! relative to the working directory (the reader has put the file's own folder in front), secrets
//! are read, defaults are filled in.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

mod defaults;

/// Everything that `warden.toml` and its environment say.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `[[listen]]`: at least one.
    pub listen: Vec<Listener>,
    /// `[admin] address`; without it there is no admin server.
    pub admin: Option<SocketAddr>,
    /// `[databases.<name>]` by the name that clients ask for; at least one.
    pub databases: Databases,
    /// `[pool]`.
    pub pool: Pool,
    /// `[auth]`.
    pub auth: Auth,
    /// `[limits]`.
    pub limits: Limits,
    /// `[audit]`.
    pub audit: Audit,
    /// `[policy] file`.
    pub policy_file: PathBuf,
    /// `[log]`.
    pub log: Log,
    /// `[peers]`; without it this proxy is alone.
    pub peers: Option<Peers>,
}

/// `[peers]`: the proxies behind one load balancer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peers {
    /// Hosts and ports of all, the same list for each.
    pub addresses: Vec<String>,
    /// Which of them this one is, from 1.
    pub number: u8,
}

/// An address that clients connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where it listens.
    pub address: SocketAddr,
    /// How clients show their token.
    pub auth: ListenerAuth,
    /// TLS, if it is offered.
    pub tls: Option<ListenerTls>,
    /// Whether another process may listen there, too: the one that replaces this one.
    pub reuse_port: bool,
}

/// How clients of a listener show their token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerAuth {
    /// As a cleartext password.
    Password,
    /// By SASL OAUTHBEARER.
    OAuthBearer,
}

/// `[listen.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerTls {
    /// The certificate chain, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// Whether clients without TLS are refused.
    pub required: bool,
}

/// The databases that clients may ask for.
#[derive(Debug, Clone, Default)]
pub struct Databases {
    /// By name.
    pub named: BTreeMap<String, Database>,
    /// `[databases."*"]`: any other name.
    pub any: Option<Database>,
}

impl Databases {
    /// The database that serves a name; `None` is 3D000.
    pub fn get(&self, name: &str) -> Option<&Database> {
        self.named.get(name).or(self.any.as_ref())
    }

    /// All of them with their names, `*` last.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Database)> {
        let named = self.named.iter().map(|(name, it)| (name.as_str(), it));
        named.chain(self.any.iter().map(|it| ("*", it)))
    }
}

/// A server that statements go to.
#[derive(Debug, Clone)]
pub struct Database {
    /// Where it may be: at least one host.
    pub hosts: Vec<ServerAddress>,
    /// Which of them will do.
    pub target: TargetSession,
    /// In which order they are asked.
    pub order: HostOrder,
    /// The user that pgwarden connects as.
    pub user: String,
    /// That user's password, if the server asks for one.
    pub password: Option<Secret>,
    /// The database there; without it, the name that the client asked for.
    pub dbname: Option<String>,
    /// How TLS is used.
    pub ssl_mode: SslMode,
    /// What the server's certificate is checked against; always given for
    /// [`SslMode::VerifyCa`] and [`SslMode::VerifyFull`].
    pub ssl_root: Option<RootCertificates>,
    /// The most connections that pgwarden opens to it.
    pub max_server_connections: usize,
    /// How often it is asked whether its catalogue has changed.
    pub catalog_interval: Duration,
    /// `reads = "prefer_replica"`: statements that only read go to standbys that lag no longer
    /// than this.
    pub max_replica_lag: Option<Duration>,
}

impl Database {
    /// The name of the database on the server for a client that asked for `requested`.
    pub fn dbname_for<'a>(&'a self, requested: &'a str) -> &'a str {
        self.dbname.as_deref().unwrap_or(requested)
    }
}

/// One host of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    /// Where it is.
    pub host: Host,
    /// Its port; part of the socket's name for [`Host::Unix`].
    pub port: u16,
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Tcp(host) if host.contains(':') => write!(f, "[{host}]:{}", self.port),
            Host::Tcp(host) => write!(f, "{host}:{}", self.port),
            Host::Unix(path) => write!(f, "{}:{}", path.display(), self.port),
        }
    }
}

/// libpq's `target_session_attrs`: which of several hosts will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetSession {
    /// The first that lets us in.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that takes none.
    ReadOnly,
    /// One that is not in recovery.
    Primary,
    /// One that is in recovery.
    Standby,
    /// One that is in recovery, or else any.
    PreferStandby,
}

impl TargetSession {
    /// The word in the URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::ReadWrite => "read-write",
            Self::ReadOnly => "read-only",
            Self::Primary => "primary",
            Self::Standby => "standby",
            Self::PreferStandby => "prefer-standby",
        }
    }
}

/// libpq's `load_balance_hosts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostOrder {
    /// `disable`: the first that will do.
    AsWritten,
    /// `random`: a new order for each connection.
    Random,
}

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A host name or an IP address.
    Tcp(String),
    /// The directory of a Unix socket, which is named `.s.PGSQL.<port>`.
    Unix(PathBuf),
}

/// libpq's `sslmode`. `require` together with `sslrootcert` arrives here as [`SslMode::VerifyCa`],
/// because that is how libpq understands it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// TLS when the server refuses to do without.
    Allow,
    /// TLS when the server offers it (libpq's default).
    Prefer,
    /// TLS, whoever the server is.
    Require,
    /// TLS with a certificate that the root has signed.
    VerifyCa,
    /// The same, and the certificate must name the host.
    VerifyFull,
}

/// libpq's `sslrootcert`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCertificates {
    /// `sslrootcert=system`: the machine's own store.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// `[pool]`.
#[derive(Debug, Clone)]
pub struct Pool {
    /// How long a client keeps its server connection.
    pub mode: PoolMode,
    /// How long a client waits for a server connection.
    pub checkout_timeout: Duration,
    /// How long a client waits while the database is paused; that time does not count above.
    pub pause_timeout: Duration,
    /// An unused server connection is closed after this time.
    pub idle_timeout: Duration,
    /// A server connection is not handed out again after this time.
    pub max_lifetime: Duration,
    /// A short read may be sent behind those of other clients with the same claims, on the same
    /// server connection, where they take no longer than this altogether; 0 for never. In
    /// transaction mode only.
    pub multiplex_wait: Duration,
}

/// How long a client keeps its server connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolMode {
    /// Until it disconnects.
    Session,
    /// Until its transaction ends.
    Transaction,
}

/// `[auth]`.
#[derive(Debug, Clone)]
pub struct Auth {
    /// What `iss` must be, when given.
    pub issuer: Option<String>,
    /// One of these must be in `aud`, when there are any.
    pub audience: Vec<String>,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Whether tokens are taken over TLS only (loopback is exempt).
    pub require_tls: bool,
    /// `[[auth.key]]`: at least one unless there is a JWKS.
    pub keys: Vec<JwtKey>,
    /// `[auth.jwks]`.
    pub jwks: Option<Jwks>,
}

/// A key that signs tokens.
#[derive(Debug, Clone)]
pub struct JwtKey {
    /// The `kid` that selects it; without it, the key is tried for tokens that name none.
    pub id: Option<String>,
    /// The one algorithm that it is used with, whatever the token says.
    pub algorithm: JwtAlgorithm,
    /// The key itself.
    pub material: KeyMaterial,
}

/// The shortest HMAC secret: a shorter one can be guessed from one token. (RFC 7518, section 3.2,
/// wants as many bits as the hash has; common providers give 32 bytes for all of them.)
pub const HMAC_SECRET_BYTES_MIN: usize = 32;

/// A key's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyMaterial {
    /// The secret of an HMAC.
    Secret(Secret),
    /// The PEM text of a public key.
    PublicKeyPem(String),
}

/// The algorithms that a key may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are those of RFC 7518 and RFC 8037")]
pub enum JwtAlgorithm {
    Hs256,
    Hs384,
    Hs512,
    Rs256,
    Rs384,
    Rs512,
    Ps256,
    Ps384,
    Ps512,
    Es256,
    Es384,
    EdDsa,
}

impl JwtAlgorithm {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// The name in a token's header and in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Whether one secret both signs and verifies.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Where a key set is fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Jwks {
    /// From this address.
    Url(String),
    /// From this file.
    File(PathBuf),
}

/// `[limits]`.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Clients at once, over all listeners.
    pub client_connections: usize,
    /// From accept to a verified token; the server's greeting gets as long again.
    pub handshake_timeout: Duration,
    /// Connections of one address that have not logged in yet; 0 for any number.
    pub handshakes_per_address: usize,
    /// Failed logins of one address before it is told to come later; 0 for any number.
    pub failed_logins_per_minute: usize,
    /// The longest token.
    pub token_bytes: usize,
    /// The longest protocol message from a client.
    pub message_bytes: usize,
    /// What the messages of all clients may hold at once, beyond 64 KiB of each.
    pub total_message_bytes: usize,
    /// The plan cache, in bytes.
    pub plan_cache_bytes: usize,
    /// The longest statement text.
    pub statement_bytes: usize,
    /// How long TERM waits for transactions to end.
    pub drain_timeout: Duration,
    /// Threads that sessions run on.
    pub worker_threads: usize,
    /// How long a session that is alone on its thread looks for what will come before it sleeps;
    /// zero for never.
    pub busy_poll: Duration,
}

/// `[audit]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Where audit lines go.
    pub target: AuditTarget,
    /// Which statements get a line.
    pub statements: AuditStatements,
}

/// Where audit lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditTarget {
    /// To standard output.
    Stdout,
    /// To the end of this file.
    File(PathBuf),
}

/// Which statements are audited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditStatements {
    /// Refused ones.
    Denied,
    /// Refused ones and those that write.
    Writes,
    /// All.
    All,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A `tracing-subscriber` filter, such as `info` or `pgwarden=debug,warn`.
    pub filter: String,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Database {
    /// [`Database::catalog_interval`] unless the file says otherwise.
    pub const CATALOG_INTERVAL: Duration = Duration::from_secs(5);

    /// [`Database::max_replica_lag`] where standbys are read from, unless the file says otherwise.
    pub const MAX_REPLICA_LAG: Duration = Duration::from_secs(5);
}
