//! Where a database is and how to log in to it.

use std::sync::Arc;

use pgwarden_config::Secret;
use pgwarden_config::settings::{Database, Host, SslMode};

use crate::tls::{self, TlsError};

/// One database of one server, and pgwarden's own login there.
#[derive(Clone)]
pub struct Upstream {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) database: String,
    pub(super) ssl_mode: SslMode,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

impl Upstream {
    /// The login for clients that asked for the database `requested`.
    ///
    /// # Errors
    /// When the root certificates can't be read.
    pub fn new(settings: &Database, requested: &str) -> Result<Self, TlsError> {
        Ok(Self {
            host: settings.host.clone(),
            port: settings.port,
            user: settings.user.clone(),
            password: settings.password.clone(),
            database: settings.dbname_for(requested).to_owned(),
            ssl_mode: settings.ssl_mode,
            tls: tls::client_config(settings.ssl_mode, settings.ssl_root.as_ref())?,
        })
    }

    /// The database's name on the server.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(host) => write!(f, "{host}:{}/{}", self.port, self.database),
            Host::Unix(path) => write!(f, "{}:{}/{}", path.display(), self.port, self.database),
        }
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({self})")
    }
}
