//! The settings of a session that keeps its server connection: nobody asks what they are, but what may
//! change them is counted.
//!
//! The server reads a statement's literals by them when it parses, so a statement that was prepared in
//! one era serves no Parse of another. A new one begins with SET and its kind, with statements that may do
//! anything, with a new value that the server tells (as it does of `TimeZone`, `DateStyle` and `IntervalStyle`,
//! whoever sets them), and with the end of a transaction in which any of it was.

use pgwarden_policy::{Effect, Plan, StatementKind};

use crate::pool::{Under, is_of_no_statement};

/// How often settings may have changed.
#[derive(Debug, Default)]
pub(super) struct Era {
    number: u64,
    /// Something since the session was idle may have changed them: its end may bring them back.
    moving: bool,
}

impl Era {
    /// The statement of a plan is on its way.
    pub(super) fn follow(&mut self, plan: &Plan) {
        if may_move(plan) {
            self.touch();
        }
    }

    /// Some may be others now.
    pub(super) fn touch(&mut self) {
        self.number += 1;
        self.moving = true;
    }

    /// No transaction is open, and the server owes nothing.
    pub(super) fn rest(&mut self) {
        if std::mem::take(&mut self.moving) {
            self.number += 1;
        }
    }

    /// What a statement is parsed under now.
    pub(super) fn under(&self) -> Under {
        Under::Settings(self.number)
    }
}

/// Whether a setting that statements are parsed by may have another value behind a plan.
fn may_move(plan: &Plan) -> bool {
    let moves = |effect: &Effect| match effect {
        Effect::Setting(name) => !is_of_no_statement(name),
        Effect::SearchPath | Effect::ClaimsLost | Effect::Temporaries | Effect::RollbackTo => true,
        Effect::DeallocateAll
        | Effect::Deallocate(_)
        | Effect::Prepare(_)
        | Effect::Execute(_)
        | Effect::Declare { .. }
        | Effect::CurrentOf { .. }
        | Effect::Hold(_)
        | Effect::Fetch(_)
        | Effect::Close(_)
        | Effect::CloseAll
        | Effect::Listen
        | Effect::Unlisten
        | Effect::Lock
        | Effect::Unlock => false,
    };
    // What nobody has judged may have done anything.
    let unread = plan.observed.as_ref().is_some_and(|it| it.reason.is_some());
    let opaque = matches!(plan.kind, StatementKind::Utility | StatementKind::Several);
    unread || opaque || plan.effects.iter().any(moves)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_ends_with_what_may_have_changed_it_and_again_with_its_transaction() {
        let mut era = Era::default();
        let first = era.under();
        era.rest();
        assert_eq!(era.under(), first);
        era.touch();
        let inside = era.under();
        assert_ne!(inside, first);
        era.rest();
        let behind = era.under();
        assert!(behind != inside && behind != first);
        era.rest();
        assert_eq!(era.under(), behind);
    }
}
