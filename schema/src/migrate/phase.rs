//! The phases of a migration, in their order.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A phase: each leaves the database in a state that can stay for as long as people like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The tenants, the function that says which is the session's, columns that may be empty.
    Expand,
    /// Every row gets its tenant.
    Backfill,
    /// Keys, indexes, NOT NULL.
    Constrain,
    /// A row's tenant stays, and tenants see their rows only.
    Enforce,
    /// Rows are not given a tenant any more by the database: the application (or pgwarden) does.
    Contract,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [
        Self::Expand,
        Self::Backfill,
        Self::Constrain,
        Self::Enforce,
        Self::Contract,
    ];

    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Backfill => "backfill",
            Self::Constrain => "constrain",
            Self::Enforce => "enforce",
            Self::Contract => "contract",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|it| it.name() == text);
        found.ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|it| it.name()).collect();
            format!("not a phase; write one of {}", names.join(", "))
        })
    }
}
