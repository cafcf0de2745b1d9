//! Where a database is and how to log in to it.

use std::sync::Arc;

use pgwarden_config::Secret;
use pgwarden_config::settings::{Database, SslMode};

use super::hosts::Hosts;
use crate::tls::{self, TlsError};

/// One database, and pgwarden's own login there.
#[derive(Clone)]
pub struct Upstream {
    hosts: Arc<Hosts>,
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
            hosts: Arc::new(Hosts::new(settings)),
            user: settings.user.clone(),
            password: settings.password.clone(),
            database: settings.dbname_for(requested).to_owned(),
            ssl_mode: settings.ssl_mode,
            tls: tls::client_config(settings.ssl_mode, settings.ssl_root.as_ref())?,
        })
    }

    /// The standbys among its hosts.
    pub(crate) fn standbys(&self) -> Self {
        Self {
            hosts: Arc::new(self.hosts.standbys()),
            ..self.clone()
        }
    }

    /// Its hosts.
    pub fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// The database's name on the server.
    pub fn database(&self) -> &str {
        &self.database
    }
}

impl std::fmt::Display for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, site) in self.hosts.sites().iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{}", site.address())?;
        }
        write!(f, "/{}", self.database)
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upstream({self})")
    }
}
