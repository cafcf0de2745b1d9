//! The URL of a server: `postgres://user:password@host:port/dbname?sslmode=…`, as libpq reads it.
//! <https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING-URIS>
//!
//! No message repeats a part of the URL that could be a secret.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::reader::Complaint;
use crate::secret::Secret;
use crate::settings::{HostOrder, RootCertificates, ServerAddress, SslMode, TargetSession};
use crate::suggest;
use crate::unsupported;

mod hosts;

const KNOWN: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "target_session_attrs",
    "load_balance_hosts",
];

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("allow", SslMode::Allow),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// What a URL says, with libpq's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DatabaseUrl {
    pub(crate) hosts: Vec<ServerAddress>,
    pub(crate) target: TargetSession,
    pub(crate) order: HostOrder,
    pub(crate) user: String,
    pub(crate) password: Option<Secret>,
    pub(crate) dbname: Option<String>,
    pub(crate) ssl_mode: SslMode,
    pub(crate) ssl_root: Option<RootCertificates>,
}

/// The parts as they are written, decoded; empty ones are absent.
#[derive(Default)]
struct Parts {
    hosts: hosts::Written,
    user: Option<String>,
    password: Option<String>,
    dbname: Option<String>,
    ssl_mode: Option<String>,
    ssl_root: Option<String>,
}

impl DatabaseUrl {
    /// Reads a URL; everything that is wrong with it.
    pub(crate) fn parse(url: &str) -> Result<Self, Vec<Complaint>> {
        let mut complaints = Vec::new();
        let parts = Parts::parse(url, &mut complaints);
        let read = parts.resolve(&mut complaints);
        match read {
            Some(read) if complaints.is_empty() => Ok(read),
            Some(_) | None => Err(complaints),
        }
    }
}

impl Parts {
    fn parse(url: &str, complaints: &mut Vec<Complaint>) -> Self {
        let mut parts = Self::default();
        let scheme = ["postgres://", "postgresql://"];
        let Some(rest) = scheme.iter().find_map(|scheme| url.strip_prefix(scheme)) else {
            complaints.push(
                Complaint::new("not the URL of a PostgreSQL server")
                    .help("write \"postgres://user@host:5432/database\""),
            );
            return parts;
        };
        let (location, query) = match rest.split_once('?') {
            Some((location, query)) => (location, query),
            None => (rest, ""),
        };
        // As libpq does it: whatever stands before the last "@" of the authority is the user, so
        // that a forgotten escape in a password is noticed as one.
        let (authority, path) = match location.split_once('/') {
            Some((authority, path)) => (authority, path),
            None => (location, ""),
        };
        let address = match authority.rsplit_once('@') {
            Some((credentials, address)) => {
                parts.take_credentials(credentials, complaints);
                address
            }
            None => authority,
        };
        parts.hosts.take_addresses(address, complaints);
        parts.dbname = decode(path, "the database's name", complaints);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            parts.take_parameter(pair, complaints);
        }
        parts
    }

    fn take_credentials(&mut self, credentials: &str, complaints: &mut Vec<Complaint>) {
        if credentials.contains('@') {
            complaints.push(
                Complaint::new("\"@\" in the user or the password is not escaped")
                    .help("write %40"),
            );
        }
        let (user, password) = match credentials.split_once(':') {
            Some((user, password)) => (user, password),
            None => (credentials, ""),
        };
        self.user = decode(user, "the user", complaints);
        self.password = decode(password, "the password", complaints);
    }

    fn take_parameter(&mut self, pair: &str, complaints: &mut Vec<Complaint>) {
        let Some((name, value)) = pair.split_once('=') else {
            complaints.push(Complaint::new("a parameter after \"?\" has no value"));
            return;
        };
        if unsupported::URL_PARAMETERS.contains(&name) {
            let message = format!("parameter \"{name}\" is not supported yet");
            complaints.push(Complaint::new(message).help("leave it out"));
            return;
        }
        let field = match name {
            "host" => return self.hosts.take_hosts(value, complaints),
            "port" => return self.hosts.take_ports(value, complaints),
            "target_session_attrs" => &mut self.hosts.target,
            "load_balance_hosts" => &mut self.hosts.order,
            "user" => &mut self.user,
            "password" => &mut self.password,
            "dbname" => &mut self.dbname,
            "sslmode" => &mut self.ssl_mode,
            "sslrootcert" => &mut self.ssl_root,
            other => {
                let help = suggest::did_you_mean(other, KNOWN.iter().copied());
                let help = help.or_else(|| Some(format!("known are {}", KNOWN.join(", "))));
                let message = format!("unknown parameter \"{other}\"");
                complaints.push(Complaint::new(message).maybe(help));
                return;
            }
        };
        *field = decode(value, &format!("parameter \"{name}\""), complaints);
    }

    fn resolve(self, complaints: &mut Vec<Complaint>) -> Option<DatabaseUrl> {
        let before = complaints.len();
        let (ssl_mode, ssl_root) = self.tls(complaints);
        let hosts = self.hosts.resolve(complaints);
        if self.user.is_none() && before == 0 {
            complaints.push(
                Complaint::new("the URL names no user")
                    .help("write \"postgres://user@host:5432/database\""),
            );
        }
        Some(DatabaseUrl {
            hosts: hosts.addresses,
            target: hosts.target,
            order: hosts.order,
            user: self.user?,
            password: self.password.map(Secret::new),
            dbname: self.dbname,
            ssl_mode,
            ssl_root,
        })
    }

    /// libpq's rules: `system` demands `verify-full`, and `require` with a root verifies it.
    fn tls(&self, complaints: &mut Vec<Complaint>) -> (SslMode, Option<RootCertificates>) {
        let system = self.ssl_root.as_deref() == Some("system");
        let default = if system { "verify-full" } else { "prefer" };
        let written = self.ssl_mode.as_deref().unwrap_or(default);
        let found = SSL_MODES.iter().find(|(name, _)| *name == written);
        let Some((_, mode)) = found.copied() else {
            let names: Vec<&str> = SSL_MODES.iter().map(|(name, _)| *name).collect();
            let help = suggest::did_you_mean(written, names.iter().copied());
            let help = help.unwrap_or_else(|| format!("write {}", suggest::one_of(&names)));
            complaints.push(Complaint::new("unknown sslmode").help(help));
            return (SslMode::VerifyFull, None);
        };
        match (&self.ssl_root, mode) {
            (Some(_), SslMode::VerifyFull) if system => (mode, Some(RootCertificates::System)),
            (Some(_), _) if system => {
                let message = "sslrootcert=system needs sslmode=verify-full";
                complaints.push(Complaint::new(message));
                (mode, None)
            }
            (None, SslMode::VerifyCa | SslMode::VerifyFull) => {
                let message = format!("sslmode={written} needs the parameter sslrootcert");
                complaints.push(Complaint::new(message).help(
                    "name a PEM file, or write sslrootcert=system for the machine's own store",
                ));
                (mode, None)
            }
            (Some(file), SslMode::Require) => (SslMode::VerifyCa, root_file(file)),
            (Some(file), _) => (mode, root_file(file)),
            (None, _) => (mode, None),
        }
    }
}

fn root_file(path: &str) -> Option<RootCertificates> {
    Some(RootCertificates::File(PathBuf::from(path)))
}

fn decode(written: &str, what: &str, complaints: &mut Vec<Complaint>) -> Option<String> {
    if written.is_empty() {
        return None;
    }
    match percent_decode_str(written).decode_utf8() {
        Ok(text) if !text.contains('\0') => Some(text.into_owned()),
        Ok(_) | Err(_) => {
            complaints.push(Complaint::new(format!("{what} is not UTF-8 text")));
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Host;

    fn at(host: Host, port: u16) -> ServerAddress {
        ServerAddress { host, port }
    }

    fn tcp(name: &str) -> Host {
        Host::Tcp(name.to_owned())
    }

    fn read(url: &str) -> DatabaseUrl {
        DatabaseUrl::parse(url).unwrap()
    }

    fn complaints(url: &str) -> Vec<String> {
        let complaints = DatabaseUrl::parse(url).unwrap_err();
        complaints.into_iter().map(|it| it.message).collect()
    }

    #[test]
    fn all_parts() {
        let url = read("postgres://bob%40x:p%3Aw@db.example:6000/my%20app?sslmode=require");
        assert_eq!(url.hosts, [at(tcp("db.example"), 6000)]);
        assert_eq!(url.user, "bob@x");
        assert_eq!(url.password.unwrap().expose(), "p:w");
        assert_eq!(url.dbname.as_deref(), Some("my app"));
        assert_eq!(url.ssl_mode, SslMode::Require);
    }

    #[test]
    fn defaults_are_those_of_libpq() {
        let url = read("postgresql://bob@");
        assert_eq!(url.hosts, [at(tcp("localhost"), 5432)]);
        assert_eq!((url.dbname, url.ssl_mode), (None, SslMode::Prefer));
        assert_eq!(url.target, TargetSession::Any);
    }

    #[test]
    fn unix_sockets_and_ipv6() {
        let socket = [at(Host::Unix("/run/postgresql".into()), 5432)];
        assert_eq!(read("postgres://bob@%2Frun%2Fpostgresql/app").hosts, socket);
        assert_eq!(
            read("postgres://bob@/app?host=/run/postgresql").hosts,
            socket
        );
        let url = read("postgres://bob@[::1]:6000/app");
        assert_eq!(url.hosts, [at(tcp("::1"), 6000)]);
    }

    #[test]
    fn root_certificates_follow_libpq() {
        let url = read("postgres://bob@h/?sslrootcert=system");
        assert_eq!(url.ssl_mode, SslMode::VerifyFull);
        assert_eq!(url.ssl_root, Some(RootCertificates::System));
        let url = read("postgres://bob@h/?sslmode=require&sslrootcert=root.pem");
        assert_eq!(url.ssl_mode, SslMode::VerifyCa);
        assert_eq!(
            complaints("postgres://bob@h/?sslmode=verify-full"),
            ["sslmode=verify-full needs the parameter sslrootcert"]
        );
        assert_eq!(
            complaints("postgres://bob@h/?sslmode=require&sslrootcert=system"),
            ["sslrootcert=system needs sslmode=verify-full"]
        );
    }

    #[test]
    fn everything_wrong_is_said_at_once() {
        assert_eq!(
            complaints("postgres://bob@a,b/app?sslmod=require&connect_timeout=5"),
            [
                "unknown parameter \"sslmod\"",
                "parameter \"connect_timeout\" is not supported yet",
            ]
        );
        assert_eq!(
            complaints("mysql://x"),
            ["not the URL of a PostgreSQL server"]
        );
        assert_eq!(
            complaints("postgres://h:99999/app"),
            [
                "the port must be a number from 1 to 65535",
                "the URL names no user"
            ]
        );
        assert_eq!(
            complaints("postgres://bob:p@w@h/app"),
            ["\"@\" in the user or the password is not escaped"]
        );
    }
}
