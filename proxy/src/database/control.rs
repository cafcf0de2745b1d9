//! The connection by which pgwarden itself asks a database for its catalogue. Never a client's.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pgwarden_schema::{Fingerprint, Reading};

use crate::backend::{self, ConnectError, Mark, Upstream};

/// Reading the catalogue takes no longer than this.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// What the login role could do beyond reading and writing rows.
const ROLE: &str = "SELECT rolsuper AS superuser, rolbypassrls AS bypassrls, \
    rolcreaterole AS createrole, rolreplication AS replication, \
    EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relowner OPERATOR(pg_catalog.=) r.oid \
        AND c.relkind IN ('r', 'p')) AS owner \
    FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user";

/// A connection of pgwarden's own.
#[derive(Debug)]
pub(super) struct Control {
    client: tokio_postgres::Client,
    mark: Mark,
}

impl Control {
    pub(super) async fn connect(upstream: &Arc<Upstream>) -> Result<Self, ConnectError> {
        let (client, mark) = backend::connect_control(upstream).await?;
        Ok(Self { client, mark })
    }

    /// Says so when the login role can do more than it needs: pgwarden's verdicts are all that
    /// stands before it.
    pub(super) async fn warn_about_role(&self, database: &str) {
        let read = self.client.query_one(ROLE, &[]);
        let Ok(Ok(row)) = tokio::time::timeout(READ_TIMEOUT, read).await else {
            return;
        };
        for power in [
            "superuser",
            "bypassrls",
            "createrole",
            "replication",
            "owner",
        ] {
            if row.try_get(power).unwrap_or(false) {
                tracing::warn!(
                    database,
                    power,
                    "the login role can do more than pgwarden needs"
                );
            }
        }
    }

    /// Whether the connection is of no use any more.
    pub(super) fn is_closed(&self) -> bool {
        self.client.is_closed() || self.mark.is_retired()
    }

    /// The catalogue and what goes with it, unless it is still the known one.
    pub(super) async fn read_changed(
        &self,
        known: Option<&Fingerprint>,
    ) -> Result<Option<Reading>, ConnectError> {
        let reading = pgwarden_schema::read_changed(&self.client, known);
        match tokio::time::timeout(READ_TIMEOUT, reading).await {
            Ok(read) => read.map_err(|error| ConnectError::Catalogue(error.to_string())),
            Err(_) => Err(ConnectError::Unreachable(io::ErrorKind::TimedOut.into())),
        }
    }
}
