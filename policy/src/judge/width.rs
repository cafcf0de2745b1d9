//! How many columns a statement may spread.
//!
//! A star doubles them where it stands over two references to what a star has made, so a few hundred bytes of WITH could
//! mean billions, each remembered with its name and type. PostgreSQL has limits for a target list and
//! a join; the sum over all that is referred to is bounded here, too.

use super::Judge;
use crate::deny::{Denial, DenyReason};

/// `MaxTupleAttributeNumber`.
const TARGETS_MAX: usize = 1664;

/// `MaxAttrNumber`.
const JOINED_MAX: usize = 32_767;

/// Of all FROM items and stars of a message together.
const COLUMNS_MAX: usize = 250_000;

impl Judge<'_> {
    /// Notes that so many columns are remembered once more.
    pub(super) fn spread(&self, columns: usize) {
        self.spread.set(self.spread.get().saturating_add(columns));
    }

    /// Refuses a statement that has spread too many.
    pub(super) fn check_spread(&self) -> Result<(), Denial> {
        if self.spread.get() <= COLUMNS_MAX {
            return Ok(());
        }
        let text =
            format!("statement refers to tables of more than {COLUMNS_MAX} columns together");
        Err(Denial {
            sqlstate: "54000",
            ..Denial::new(DenyReason::TooComplex, text)
        })
    }
}

/// The limit of a target list.
pub(super) fn check_targets(columns: usize) -> Result<(), Denial> {
    let text = || format!("target lists can have at most {TARGETS_MAX} entries");
    check(columns <= TARGETS_MAX, text)
}

/// The limit of a join.
pub(super) fn check_joined(columns: usize) -> Result<(), Denial> {
    let text = || format!("joins can have at most {JOINED_MAX} columns");
    check(columns <= JOINED_MAX, text)
}

fn check(fits: bool, text: impl Fn() -> String) -> Result<(), Denial> {
    if fits {
        return Ok(());
    }
    Err(Denial {
        sqlstate: "54011",
        ..Denial::new(DenyReason::TooComplex, text())
    })
}
