//! The way into the proxy: an address without a token, and with one a session of one organisation.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use pgwarden_config::settings::{
    self, Host, HostOrder, Listener, ListenerAuth, RootCertificates, ServerAddress, SslMode,
    TargetSession,
};
use pgwarden_config::{Environment, Secret, Settings, read_database};

use super::Failure;
use crate::backend::{self, Mark, Upstream};

/// Who connects. The proxy goes by the token alone.
const USER: &str = "pgwarden_orgs";

/// A cancelled session gets this long to end.
const ENDING_TIME: Duration = Duration::from_secs(5);

/// Where sessions are opened.
#[derive(Debug, Clone)]
pub(super) struct Door(settings::Database);

/// A session of one organisation.
pub(super) struct Session {
    pub(super) client: tokio_postgres::Client,
    upstream: Arc<Upstream>,
    mark: Mark,
}

impl Door {
    /// The proxy at a URL. A password in it or in PGPASSWORD is not used: the token is.
    pub(super) fn of_url(url: &str) -> Result<Self, Failure> {
        let read = read_database(url, &Environment::default());
        let door = read.map_err(|problems| {
            Failure::usage(format!("--proxy: {}", problems.join("\n--proxy: ")))
        })?;
        Ok(Self(door))
    }

    /// The first address of the settings that takes a password.
    pub(super) fn of_settings(
        settings: &Settings,
        database: Option<&str>,
    ) -> Result<Self, Failure> {
        let takes_password = |it: &&Listener| it.auth == ListenerAuth::Password;
        let listener = settings.listen.iter().find(takes_password);
        let listener = listener.ok_or_else(|| {
            Failure::usage("no address of --config takes a password; give --proxy")
        })?;
        let mut named = settings.databases.named.keys();
        let database = match (database, named.next(), named.next()) {
            (Some(name), _, _) => name.to_owned(),
            (None, Some(only), None) => only.clone(),
            (None, _, _) => {
                return Err(Failure::usage(
                    "--config has several databases; give --database",
                ));
            }
        };
        let address = reachable(listener.address);
        Ok(Self(settings::Database {
            hosts: vec![ServerAddress {
                host: Host::Tcp(address.ip().to_string()),
                port: address.port(),
            }],
            target: TargetSession::Any,
            order: HostOrder::AsWritten,
            user: USER.to_owned(),
            password: None,
            dbname: Some(database),
            ssl_mode: match &listener.tls {
                Some(_) => SslMode::Require,
                None => SslMode::Disable,
            },
            ssl_root: None,
            max_server_connections: 1,
            catalog_interval: settings::Database::CATALOG_INTERVAL,
            max_replica_lag: None,
        }))
    }

    /// The database that is asked for.
    pub(super) fn database(&self) -> &str {
        self.0.dbname_for(&self.0.user)
    }

    /// Opens a session.
    pub(super) async fn open(&self, token: &Secret) -> Result<Session, String> {
        let mut at = self.0.clone();
        at.password = Some(token.clone());
        let upstream = Upstream::new(&at, &at.user).map_err(|error| error.to_string())?;
        let upstream = Arc::new(upstream);
        let connected = backend::connect_control(&upstream).await;
        let (client, mark) =
            connected.map_err(|error| format!("can't connect to {upstream}: {error}"))?;
        Ok(Session {
            client,
            upstream,
            mark,
        })
    }

    /// What a command's environment says of it, as libpq and most others read it.
    pub(super) fn variables(&self, token: &Secret) -> Vec<(&'static str, String)> {
        let all = |write: fn(&ServerAddress) -> String| {
            let parts = self.0.hosts.iter().map(write);
            parts.collect::<Vec<_>>().join(",")
        };
        let mode = ssl_mode(self.0.ssl_mode);
        let url = format!(
            "postgres://{}:{}@{}/{}?sslmode={mode}",
            escaped(&self.0.user),
            escaped(token.expose()),
            all(|it| match &it.host {
                Host::Tcp(_) => it.to_string(),
                Host::Unix(path) => format!("{}:{}", escaped(&path.display().to_string()), it.port),
            }),
            escaped(self.database()),
        );
        let root = match &self.0.ssl_root {
            Some(RootCertificates::File(path)) => Some(path.display().to_string()),
            Some(RootCertificates::System) => Some("system".to_owned()),
            None => None,
        };
        let mut variables = vec![
            ("DATABASE_URL", url),
            (
                "PGHOST",
                all(|it| match &it.host {
                    Host::Tcp(name) => name.clone(),
                    Host::Unix(path) => path.display().to_string(),
                }),
            ),
            ("PGPORT", all(|it| it.port.to_string())),
            ("PGUSER", self.0.user.clone()),
            ("PGPASSWORD", token.expose().to_owned()),
            ("PGDATABASE", self.database().to_owned()),
            ("PGSSLMODE", mode.to_owned()),
        ];
        variables.extend(root.map(|it| ("PGSSLROOTCERT", it)));
        variables
    }
}

impl Session {
    /// Ends it, whatever it is at: a statement that runs is cancelled, a transaction undone.
    pub(super) async fn cancel(self) {
        let ended = async {
            let token = self.client.cancel_token();
            let _ = backend::cancel_control(&self.upstream, &self.mark, token).await;
            // Behind the answer to what was cancelled.
            let _ = self.client.batch_execute("ROLLBACK").await;
        };
        let _ = tokio::time::timeout(ENDING_TIME, ended).await;
    }
}

/// An address that one can connect to, of one that is listened on.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

fn ssl_mode(mode: SslMode) -> &'static str {
    match mode {
        SslMode::Disable => "disable",
        SslMode::Allow => "allow",
        SslMode::Prefer => "prefer",
        SslMode::Require => "require",
        SslMode::VerifyCa => "verify-ca",
        SslMode::VerifyFull => "verify-full",
    }
}

/// A part of a URL: all but RFC 3986's unreserved characters are escaped.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_holds_any_name_and_token() {
        let door = Door::of_url("postgres://a%40b@[::1]:6432/my%2Fdb?sslmode=require").ok();
        let variables = door.map(|it| it.variables(&Secret::new("a.b+c/d")));
        let url = variables.and_then(|it| it.into_iter().next());
        let wanted = "postgres://a%40b:a.b%2Bc%2Fd@[::1]:6432/my%2Fdb?sslmode=require";
        assert_eq!(url, Some(("DATABASE_URL", wanted.to_owned())));
    }

    #[test]
    fn any_address_is_reached_on_loopback() {
        let of = |text: &str| text.parse().map(reachable).map(|it| it.to_string());
        assert_eq!(of("0.0.0.0:1"), Ok("127.0.0.1:1".to_owned()));
        assert_eq!(of("[::]:1"), Ok("[::1]:1".to_owned()));
        assert_eq!(of("10.0.0.1:1"), Ok("10.0.0.1:1".to_owned()));
    }
}
