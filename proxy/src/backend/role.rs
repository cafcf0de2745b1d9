//! Asking a server whether it is the primary.
//!
//! It is asked in words, on every version: what the server reports by itself since version 14 would
//! also show what the client asked for in its start-up packet.

use super::error::ConnectError;
use super::progress::Position;
use super::{Backend, frames};

/// Whether the server is in recovery, and whether it takes no writes for another reason: the second
/// leaves out what the session has asked for itself.
pub(super) const ASK: &str = "SELECT pg_catalog.pg_is_in_recovery(), EXISTS (\
    SELECT FROM pg_catalog.pg_settings AS s \
    WHERE s.name OPERATOR(pg_catalog.=) 'default_transaction_read_only' \
    AND s.setting OPERATOR(pg_catalog.=) 'on' AND s.source OPERATOR(pg_catalog.<>) 'client')";

/// The answer: two booleans as text, with their lengths.
const ROW: usize = 2 + 2 * 5;

/// What a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Role {
    /// It is in recovery.
    pub standby: bool,
    /// Its transactions are read-only unless they say otherwise.
    pub read_only: bool,
}

impl Role {
    /// For logs, metrics and readiness.
    pub fn as_str(self) -> &'static str {
        match self {
            Self { standby: true, .. } => "standby",
            Self {
                read_only: true, ..
            } => "read_only",
            Self { .. } => "primary",
        }
    }

    /// From the answer to [`ASK`].
    pub(super) async fn of_control(client: &tokio_postgres::Client) -> Result<Self, ConnectError> {
        let row = client.query_one(ASK, &[]).await;
        let row = row.map_err(|error| super::control::connect_error(&error))?;
        match (row.try_get(0), row.try_get(1)) {
            (Ok(standby), Ok(read_only)) => Ok(Self { standby, read_only }),
            _ => Err(odd()),
        }
    }

    fn of_row(body: &[u8]) -> Option<Self> {
        let body: &[u8; ROW] = body.try_into().ok()?;
        let flag = |at: usize| match body.get(at) {
            Some(b't') => Some(true),
            Some(b'f') => Some(false),
            _ => None,
        };
        Some(Self {
            standby: flag(6)?,
            read_only: flag(11)?,
        })
    }
}

/// What a host is, and how far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sighting {
    /// What it is.
    pub role: Role,
    /// How far it has come; `None` where the login role may not know.
    pub position: Option<Position>,
}

/// The end of the WAL of a primary, with what is not written out yet: a transaction that has ended
/// is before it. Of a standby, what it has replayed; its timeline is that of the last restartpoint,
/// so after a failover it takes a while until it is known to follow the new primary.
const POSITION: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
    THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_replay_lsn(), '0/0') \
    ELSE pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_insert_lsn(), '0/0') \
    END::pg_catalog.int8, \
    CASE WHEN pg_catalog.pg_is_in_recovery() \
    THEN (SELECT c.timeline_id FROM pg_catalog.pg_control_checkpoint() AS c) \
    ELSE ('x' OPERATOR(pg_catalog.||) pg_catalog.left(pg_catalog.pg_walfile_name(\
    pg_catalog.pg_current_wal_insert_lsn()), 8))::pg_catalog.bit(32)::pg_catalog.int4 END, \
    pg_catalog.pg_is_in_recovery()";

impl Sighting {
    pub(super) async fn of_control(client: &tokio_postgres::Client) -> Result<Self, ConnectError> {
        let role = Role::of_control(client).await?;
        let position = match client.query_one(POSITION, &[]).await {
            // It may have been promoted between the two questions.
            Ok(row) if row.try_get(2).ok() == Some(role.standby) => {
                match (row.try_get(1), row.try_get(0)) {
                    (Ok(timeline), Ok(lsn)) => Some(Position { timeline, lsn }),
                    _ => None,
                }
            }
            Ok(_) | Err(_) => None,
        };
        Ok(Self { role, position })
    }
}

impl Backend {
    /// Asks for the server's role; nothing of it stays on the connection.
    pub(super) async fn role(&mut self) -> Result<Role, ConnectError> {
        self.outbox.own_query(ASK);
        self.flush().await?;
        let mut role = None;
        loop {
            let frame = frames::read_frame(&mut self.stream, &mut self.inbox).await?;
            match frame.tag {
                b'D' => role = Role::of_row(frame.body()),
                b'T' | b'C' | b'N' | b'S' => {}
                b'Z' => return role.ok_or_else(odd),
                _ => return Err(odd()),
            }
        }
    }
}

fn odd() -> ConnectError {
    ConnectError::Protocol("an odd answer to the question for its role")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_read() {
        let row = b"\0\x02\0\0\0\x01t\0\0\0\x01f";
        let role = Role {
            standby: true,
            read_only: false,
        };
        assert_eq!(Role::of_row(row), Some(role));
        assert_eq!(Role::of_row(b"\0\x02\0\0\0\x01x\0\0\0\x01f"), None);
        assert_eq!(Role::of_row(b"\0\x01\0\0\0\x01t"), None);
    }
}
