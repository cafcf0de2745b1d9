//! DDL that the catalogue does not show yet.
//!
//! After its own DDL a session's next statement waits until the catalogue was read: what was made is known
//! to it, as it would be to the server. DDL of others through this proxy, on another connection of the
//! same application perhaps, is waited for only by a statement that would be denied: it may name what
//! nobody knows yet, or make what is gone. So is it by one that takes something not to be there.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Denial, DenyReason, Effect, Plan};

use super::Session;
use crate::database::Database;

/// What a session knows of such DDL.
#[derive(Debug, Default)]
pub(super) struct Unread {
    /// When it was committed; the next statement waits for it.
    committed: Option<Instant>,
    /// The last one that was waited for: should it not be known then, it never is.
    awaited: Option<Instant>,
}

impl Unread {
    pub(super) fn is_some(&self) -> bool {
        self.committed.is_some()
    }

    pub(super) fn is_none(&self) -> bool {
        self.committed.is_none()
    }
}

impl Session {
    /// DDL went through in the transaction that has just ended.
    pub(super) fn ddl_has_ended(&mut self) {
        let database = self.judging.database();
        database.suspect_change();
        if !std::mem::take(&mut self.makes_lasting) {
            return;
        }
        let committed = database.note_ddl();
        // Nobody judges what a break-glass role does next.
        if self.judging.access().enforce {
            self.unread.committed = Some(committed);
        }
    }

    /// Whether a statement that would be denied may not be when the catalogue is read; it is waited for.
    pub(super) fn may_be_unread(&mut self) -> bool {
        let unread = self.judging.database().unread_ddl();
        let waits = unread.is_some() && unread > self.unread.awaited;
        if waits {
            self.unread.committed = unread;
        }
        waits
    }

    /// Whether something may be there that the catalogue does not show yet.
    pub(super) fn has_unread(&self) -> bool {
        let database = self.judging.database();
        let unread = || {
            let committed = database.unread_ddl();
            committed.is_some() && committed > self.unread.awaited
        };
        self.has_unknown() || database.ddl_count() > 0 && unread()
    }

    /// When the DDL was committed that is waited for, and where the catalogue is read.
    pub(crate) fn unread_ddl(&self) -> Option<(Instant, Arc<Database>)> {
        let committed = self.unread.committed?;
        Some((committed, Arc::clone(self.judging.database())))
    }

    /// The catalogue shows what was committed up to this moment, or will not soon.
    pub(crate) fn caught_up(&mut self, moment: Instant) {
        self.unread.awaited = Some(moment);
        if self.unread.committed == Some(moment) {
            self.unread.committed = None;
        }
    }
}

/// What is taken not to be there is looked for first, where it may have been made: judged again, the
/// statement is about something else.
pub(super) fn permit_absent(has_unread: bool, plan: &Plan) -> Result<(), Denial> {
    if has_unread && plan.absent {
        let text = "what IF EXISTS asks for may have been made just now";
        return Err(Denial::new(DenyReason::UnknownRelation, text));
    }
    Ok(())
}

/// Whether DDL of a plan makes, changes or drops what does not end with the session.
pub(super) fn makes_lasting(plan: &Plan) -> bool {
    plan.statements > 1 || !plan.effects.contains(&Effect::Temporaries)
}
