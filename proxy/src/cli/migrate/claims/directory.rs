//! Where users are kept.

use super::Failure;
use super::database::Table;
use super::decision::{Change, User};
use super::gotrue::GoTrue;

/// Where users are kept.
pub(super) enum Directory<'a> {
    /// A table.
    Database(Table<'a>),
    /// An API.
    GoTrue(Box<GoTrue>),
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Changed {
    /// It was made.
    Yes,
    /// The user is not what it was, or not there any more. The next round sees.
    Meanwhile,
    /// It was refused.
    Refused(String),
}

impl Directory<'_> {
    /// From the first user again.
    pub(super) fn rewind(&mut self) {
        match self {
            Self::Database(table) => table.rewind(),
            Self::GoTrue(api) => api.rewind(),
        }
    }

    /// About how many users there are; 0 where nobody knows.
    pub(super) async fn estimate(&mut self) -> Result<i64, Failure> {
        match self {
            Self::Database(table) => table.estimate().await,
            Self::GoTrue(api) => Ok(api.total()),
        }
    }

    /// The next users; none at the end.
    pub(super) async fn page(&mut self, size: u16) -> Result<Vec<User>, Failure> {
        match self {
            Self::Database(table) => table.page(size).await,
            Self::GoTrue(api) => api.page(size).await,
        }
    }

    /// Makes changes; what came of each, in their order.
    pub(super) async fn change(&mut self, changes: &[Change]) -> Result<Vec<Changed>, Failure> {
        match self {
            Self::Database(table) => table.change(changes).await,
            Self::GoTrue(api) => api.change(changes).await,
        }
    }
}
