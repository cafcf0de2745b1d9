//! FETCH, MOVE and CLOSE of a portal that a Bind message has made.
//!
//! A cursor of DECLARE is known to change nothing of the session when it goes on. A portal of the
//! protocol may (`SELECT set_config('search_path', …)`), which is noticed at its Execute and
//! nowhere else; so FETCH and MOVE of one are refused. PostgreSQL keeps both in one space of names.

use pgwarden_policy::{Denial, DenyReason, Effect, Plan};

use super::Session;
use super::names::{Change, Names};

/// Refuses FETCH and MOVE of a portal of the protocol.
pub(super) fn check_fetches(names: &Names, plan: &Plan) -> Result<(), Denial> {
    let of_the_protocol = |effect: &Effect| match effect {
        Effect::Fetch(name) => names.portal(name.as_bytes()).is_some(),
        _ => false,
    };
    if !plan.effects.iter().any(of_the_protocol) {
        return Ok(());
    }
    let text = "FETCH and MOVE of a portal that a Bind message has made are not supported";
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
            Effect::Close(name) if self.names.portal(name.as_bytes()).is_some() => {
                Some(self.names.close_portal(name.as_bytes()))
            }
            _ => None,
        });
        closed.reduce(Change::and)
    }
}
