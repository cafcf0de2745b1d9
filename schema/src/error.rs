//! Why a catalogue can't be read.

use std::fmt;

use tokio_postgres::error::SqlState;

/// Why a catalogue can't be read.
#[derive(Debug)]
pub enum Error {
    /// The connection broke, or the server refused a query.
    Server(tokio_postgres::Error),
    /// The server is older than PostgreSQL 13; this is its `server_version_num`.
    TooOld(u32),
    /// The server is newer than PostgreSQL 18; this is its `server_version_num`.
    TooNew(u32),
    /// The server's answer to a query of the audit is not what was asked for.
    Document(serde_json::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // tokio-postgres itself only says "db error".
            Self::Server(error) => match error.as_db_error() {
                Some(db) => write!(f, "{} ({})", db.message(), db.code().code()),
                None => write!(f, "{error}"),
            },
            Self::Document(error) => write!(f, "an object can't be understood: {error}"),
            Self::TooOld(number) => write!(
                f,
                "the server is PostgreSQL {}; 13 is the oldest that pgwarden reads",
                number / 10_000
            ),
            Self::TooNew(number) => write!(
                f,
                "the server is PostgreSQL {}; the newest whose grammar pgwarden reads is 18",
                number / 10_000
            ),
        }
    }
}

impl Error {
    /// Whether the reading met somebody's DDL. What tells the text of an object (`pg_get_viewdef`)
    /// locks it, and looks at what is there now, the rest at a snapshot.
    pub(crate) fn is_of_ddl(&self) -> bool {
        let Self::Server(error) = self else {
            return false;
        };
        let codes = [&SqlState::INTERNAL_ERROR, &SqlState::T_R_DEADLOCK_DETECTED];
        error.code().is_some_and(|code| codes.contains(&code))
    }
}

impl std::error::Error for Error {}

impl From<tokio_postgres::Error> for Error {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}
