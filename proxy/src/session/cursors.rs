//! FETCH, MOVE and CLOSE of a portal that a Bind message has made.
//!
//! A cursor of DECLARE is known to change nothing of the session when it goes on. A portal of the
//! protocol may (`SELECT set_config('search_path', …)`), which is noticed at its Execute and
//! nowhere else; so FETCH and MOVE of one pass only where it is a query that changes nothing, and
//! its verdict is of now. PostgreSQL keeps both in one space of names.

use pgwarden_policy::{Denial, DenyReason, Effect, Plan, StatementKind};

use super::Session;
use super::names::{Basis, Change, Names, Statement};

/// Refuses FETCH and MOVE of a portal of the protocol that may do more than read.
pub(super) fn check_fetches(names: &Names, now: Basis, plan: &Plan) -> Result<(), Denial> {
    let reads = |statement: &Statement| {
        let plan = &statement.plan;
        plan.kind == StatementKind::Select
            && plan.effects.is_empty()
            && !plan.writes()
            && !plan.leaves_traces()
            && statement.basis == now
    };
    let refused = |effect: &Effect| match effect {
        Effect::Fetch(name) => {
            let portal = names.portal(name.as_bytes());
            portal.is_some_and(|statement| !reads(statement))
        }
        _ => false,
    };
    if !plan.effects.iter().any(refused) {
        return Ok(());
    }
    let text = "FETCH and MOVE of a portal that a Bind message has made, and that may do more \
        than read, are not supported";
    Err(Denial::new(DenyReason::UnsupportedStatement, text)
        .hint("Use Execute messages, or declare a cursor."))
}

impl Session {
    /// CLOSE closes portals of the protocol, too. It fails in a failed transaction, whose portals may
    /// come back with a savepoint; so they are forgotten only where it can't fail.
    pub(super) fn close_cursors(&mut self, plan: &Plan) -> Option<Change> {
        if self.status == b'E' || !self.queue.is_empty() {
            return None;
        }
        let closed = plan.effects.iter().filter_map(|effect| match effect {
            Effect::Close(name) if self.names.portal(name.as_bytes()).is_some() => Some(
                self.names
                    .close_portal(name.as_bytes(), self.transaction + 1),
            ),
            _ => None,
        });
        closed.reduce(Change::and)
    }
}
