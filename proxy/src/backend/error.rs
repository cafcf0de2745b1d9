//! Why there is no connection to the server, and what the client is told about it.

use std::fmt;
use std::io;

use bytes::Bytes;
use pgwarden_config::settings::TargetSession;

use crate::refusal::Refusal;

/// Why there is no connection to the server.
#[derive(Debug)]
pub enum ConnectError {
    /// The socket could not be opened, or broke.
    Unreachable(io::Error),
    /// The TLS handshake failed: the certificate, mostly.
    Tls(io::Error),
    /// `sslmode` wants TLS and the server has none.
    NoTls,
    /// The server answered with an error.
    Server(ServerError),
    /// The server does not speak as PostgreSQL does, or asks for what pgwarden doesn't have.
    Protocol(&'static str),
    /// The server did not prove in its SCRAM exchange that it knows the password.
    Scram(io::Error),
    /// The server asks for a password and none is configured.
    NoPassword,
    /// All server connections of the database stayed in use.
    PoolFull,
    /// The database stayed paused.
    Paused,
    /// The client has cancelled what it waited for.
    CalledOff,
    /// None of the hosts has the wanted role now.
    NoSuchRole(TargetSession),
    /// The catalogue can't be read, or the policy does not fit it.
    Catalogue(String),
}

/// An ErrorResponse during start-up.
#[derive(Debug, Clone)]
pub struct ServerError {
    /// Field C.
    pub sqlstate: String,
    /// Field M.
    pub message: String,
    /// The whole frame, as it came.
    pub frame: Bytes,
}

impl ConnectError {
    /// Whether another attempt, with TLS or without, can help: the server (its `pg_hba.conf`) or
    /// the handshake refused this kind of connection.
    pub(super) fn is_about_encryption(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            Self::Server(error) => error.sqlstate == "28000",
            Self::Unreachable(_)
            | Self::NoSuchRole(_)
            | Self::NoTls
            | Self::Protocol(_)
            | Self::Scram(_)
            | Self::NoPassword
            | Self::PoolFull
            | Self::Paused
            | Self::CalledOff
            | Self::Catalogue(_) => false,
        }
    }

    /// Whether the server is down, or on its way down or up: a moment later it may answer.
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::NoSuchRole(_) => true,
            Self::Server(error) => ["57P01", "57P02", "57P03"].contains(&error.sqlstate.as_str()),
            Self::Tls(_)
            | Self::NoTls
            | Self::Protocol(_)
            | Self::Scram(_)
            | Self::NoPassword
            | Self::PoolFull
            | Self::Paused
            | Self::CalledOff
            | Self::Catalogue(_) => false,
        }
    }

    /// What a client that waits for its session is told. A failed login of pgwarden's own is
    /// nothing that it can do anything about; the log says more.
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::Server(error) if !error.sqlstate.starts_with("28") => {
                Refusal::Server(error.frame.clone())
            }
            Self::PoolFull => Refusal::new("53300", "pgwarden: too many connections to the server"),
            Self::Paused => Refusal::new("57P03", "pgwarden: the database is paused"),
            Self::Server(_)
            | Self::Unreachable(_)
            | Self::NoSuchRole(_)
            | Self::Tls(_)
            | Self::NoTls
            | Self::Protocol(_)
            | Self::Scram(_)
            | Self::NoPassword
            | Self::CalledOff
            | Self::Catalogue(_) => Refusal::new(
                "57P03",
                "pgwarden: the database server can't be reached now",
            ),
        }
    }
}

impl From<io::Error> for ConnectError {
    fn from(error: io::Error) -> Self {
        Self::Unreachable(error)
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => write!(f, "{error}"),
            Self::Tls(error) => write!(f, "TLS: {error}"),
            Self::NoTls => f.write_str("the server has no TLS, and sslmode demands it"),
            Self::Server(error) => write!(f, "{} ({})", error.message, error.sqlstate),
            Self::Protocol(what) => write!(f, "the server sent {what}"),
            Self::Scram(error) => write!(f, "SCRAM: {error}"),
            Self::NoPassword => {
                f.write_str("the server asks for a password, and none is configured")
            }
            Self::PoolFull => f.write_str("all server connections are in use"),
            Self::CalledOff => f.write_str("the client has cancelled it"),
            Self::Paused => f.write_str("the database is paused"),
            Self::NoSuchRole(target) => {
                write!(
                    f,
                    "no host is what target_session_attrs={} wants",
                    target.as_str()
                )
            }
            Self::Catalogue(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ConnectError {}
