//! Why a migration stops.

use std::fmt;

use super::file::UnreadableStep;
use super::phase::Phase;
use super::script::Script;

/// Why a migration stops. Whatever it was, running it again goes on where it stopped.
#[derive(Debug)]
pub enum MigrateError {
    /// The server refused something, or the connection broke.
    Server(tokio_postgres::Error),
    /// The same, at a step.
    Step {
        /// The step's file.
        name: String,
        /// What the server said.
        error: tokio_postgres::Error,
        /// What the file says that people should look at.
        look_at: Vec<String>,
    },
    /// A file is not a step.
    Unreadable(UnreadableStep),
    /// Another run has the lock.
    Busy,
    /// A step's file is not the one that was run.
    Changed(String),
    /// A step that was run has no file.
    Unknown(String),
    /// A lock could not be had in all attempts.
    Locked(String),
    /// A check of a step failed.
    Check {
        /// The step's file.
        name: String,
        /// The query, which should give 0.
        query: String,
        /// What it gave.
        found: i64,
    },
    /// A backfill would change more than the tenant.
    Differs {
        /// The step's file.
        name: String,
        /// How many rows of its batch.
        rows: i64,
    },
    /// Rows get a tenant from nobody.
    Nobodys {
        /// The step's file.
        name: String,
        /// How many rows.
        rows: i64,
    },
    /// A later phase was begun.
    Depends {
        /// The phase to undo.
        phase: Phase,
        /// What depends on it.
        later: Phase,
    },
}

impl fmt::Display for MigrateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server(error) => server(f, error),
            Self::Step {
                name,
                error,
                look_at,
            } => {
                write!(f, "{name}: ")?;
                server(f, error)?;
                look_at
                    .iter()
                    .try_for_each(|it| write!(f, "\nlook at: {it}"))
            }
            Self::Unreadable(it) => write!(f, "{it}"),
            Self::Busy => write!(f, "another migration of this database is running"),
            Self::Changed(name) => write!(
                f,
                "{name} is not the file that was run; put that back, or undo its phase with it first"
            ),
            Self::Unknown(name) => write!(f, "{name} was run, but the plan has no such file"),
            Self::Locked(name) => write!(
                f,
                "{name}: the lock could not be had; try again when less is going on"
            ),
            Self::Check { name, query, found } => {
                write!(f, "{name}: the check gives {found} instead of 0: {query}")
            }
            Self::Differs { name, rows } => write!(
                f,
                "{name}: a trigger changes more than the tenant in {rows} rows of a batch; nothing of it was kept \
                 (name the trigger under \"hold\" in the mapping, and plan again)"
            ),
            Self::Nobodys { name, rows } => write!(
                f,
                "{name}: {rows} rows get a tenant from nobody; give them one, or name a default tenant or a \
                 quarantine in the mapping, undo the phases, and plan again"
            ),
            Self::Depends { phase, later } => {
                write!(
                    f,
                    "{phase} can't be undone: {later} was begun; undo that first"
                )
            }
        }
    }
}

/// tokio-postgres itself only says "db error".
fn server(f: &mut fmt::Formatter<'_>, error: &tokio_postgres::Error) -> fmt::Result {
    match error.as_db_error() {
        Some(db) => {
            write!(f, "{} ({})", db.message(), db.code().code())?;
            db.hint().map_or(Ok(()), |hint| write!(f, "\n{hint}"))
        }
        None => write!(f, "{error}"),
    }
}

impl std::error::Error for MigrateError {}

impl From<tokio_postgres::Error> for MigrateError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl MigrateError {
    /// Says at which step it was.
    pub(super) fn at(self, script: &Script) -> Self {
        match self {
            Self::Server(error) => Self::Step {
                name: script.name.clone(),
                error,
                look_at: script.look_at.clone(),
            },
            other => other,
        }
    }

    /// Whether it may go well the next time: a lock that others had, a deadlock.
    pub(super) fn is_passing(&self) -> bool {
        let (Self::Server(error) | Self::Step { error, .. }) = self else {
            return false;
        };
        let code = error.code().map(|it| it.code());
        matches!(code, Some("55P03" | "40P01" | "40001"))
    }
}
