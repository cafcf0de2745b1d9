//! Claims that go ahead of a statement, in the same packet.
//!
//! A server connection that comes from another tenant gets the session's claims before anything of
//! the session runs. To wait for the answer costs a round trip for each transaction where tenants
//! take turns. Where nothing else has to be put in force, and the `search_path` is known, the claims
//! are sent right before the client's first message and *without a Sync in between*: should they fail,
//! the server skips everything up to the client's Sync. So a statement runs under its own claims or
//! not at all.
//!
//! They are part of the statement's transaction then, which takes them back when it fails: after an
//! error they count as unknown, and what is sent behind the client's Sync waits for its outcome. A
//! statement that must not share a transaction with another (BEGIN with its modes, VACUUM, SET) is sent
//! behind a Sync of our own. And because the server would leave a Query that comes in the middle
//! of extended messages inside an open transaction, a Query that can go is sent as Parse, Bind,
//! Describe, Execute and Sync, whose answers are those of a Query but for three, which are swallowed.

use pgwarden_policy::{Cleared, Plan, StatementKind};

use super::queue::{Expect, Pending};
use super::{Passed, Session, Stop, claims};
use crate::backend::{Forward, Outbox};
use crate::pool::Need;

/// Whether claims went ahead in the open transaction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Ahead {
    /// They did not, or an error may have taken them back.
    #[default]
    No,
    /// They did, and nothing of the client's follows yet.
    Alone,
    /// They did, and the client's messages follow.
    Followed,
}

impl Session {
    /// Whether nothing but the claims has to be sent before a statement.
    pub(super) fn can_go_ahead(&self) -> bool {
        let Some(sharing) = &self.sharing else {
            return false;
        };
        let idle = self.is_idle() && !self.temporaries && !self.known.floats;
        // A role is taken away by the long form only.
        let role_fits = !sharing.roled || sharing.setup.role.is_some();
        let placed = sharing.placed || sharing.setup.settings.is_empty();
        idle && sharing.attached
            && placed
            && role_fits
            && !sharing.asks
            && !sharing.unswept
            && !sharing.restores
            && sharing.path_asked == Some(self.judging.generation())
    }

    /// Sends the claims, without a Sync.
    pub(super) fn send_ahead(&mut self, server: &mut Outbox) {
        let role = self.judging.access().set_role.as_deref();
        let Some(sharing) = &mut self.sharing else {
            return;
        };
        let statement = claims::kept(role.is_some());
        let own = |expect, shared| Pending {
            shared,
            ..Pending::new(expect)
        };
        if let Need::Prepare(evicted) =
            self.prepared
                .need(statement.name, sharing.setup.under(), false)
        {
            if let Some(evicted) = evicted {
                server.forward_parts(Forward::Close, &[b"S", evicted.as_bytes(), &[0]]);
                self.queue.push(own(Expect::OwnClose, Some(evicted)));
            }
            server.own_parse(statement.name, statement.text, statement.types);
            let name = statement.name.into();
            self.queue.push(own(Expect::OwnPrepare, Some(name)));
        }
        let values = [Some(self.judging.identity().claims_json()), role];
        statement.run(values.into_iter().flatten(), server);
        self.queue.push(own(Expect::Own, None));
        self.queue.push(own(Expect::OwnClose, None));
        sharing.placed = true;
        sharing.roled |= role.is_some();
        self.judging.set_search_path(&sharing.search_path);
        self.known.settled = true;
        self.known.in_transaction = true;
        self.known.ahead = Ahead::Alone;
    }

    /// A statement is about to be sent. Gives whether it must wait, because it can't share a
    /// transaction with the claims that went ahead of it.
    pub(super) fn must_wait_for_claims(&mut self, plan: &Plan, server: &mut Outbox) -> bool {
        if self.known.ahead == Ahead::Alone && !may_follow(plan) {
            self.end_ahead(server);
            return true;
        }
        self.followed();
        false
    }

    /// A statement of the client's was sent behind the claims.
    pub(super) fn followed(&mut self) {
        if self.known.ahead == Ahead::Alone {
            self.known.ahead = Ahead::Followed;
        }
    }

    /// Nothing follows the claims: they are a transaction of their own.
    pub(crate) fn end_ahead(&mut self, server: &mut Outbox) {
        if self.known.ahead != Ahead::Alone {
            return;
        }
        self.own_sync(server);
        self.known.lose();
        self.known.ask();
        self.known.in_transaction = false;
    }

    /// Sends a Query as messages of the extended protocol.
    pub(super) fn spread(cleared: &Cleared<'_>, server: &mut Outbox) {
        server.parse("", cleared, &[]);
        server.forward(Forward::Bind, &[0; 8]);
        server.forward(Forward::Describe, b"P\0");
        server.forward(Forward::Execute, &[0; 5]);
        server.forward(Forward::Sync, &[]);
    }

    /// The claims that went ahead have failed, and with them the client's message: a cancel that was
    /// meant for it, or its statement_timeout, has met them.
    pub(super) fn fail_ahead(&mut self, body: &[u8]) -> Result<Passed, Stop> {
        self.skip_own();
        self.error(body)
    }
}

/// Whether a statement may share its transaction with the claims.
pub(super) fn may_follow(plan: &Plan) -> bool {
    let of_rows = matches!(
        plan.kind,
        StatementKind::Select
            | StatementKind::Insert
            | StatementKind::Update
            | StatementKind::Delete
            | StatementKind::Merge
    );
    of_rows && plan.statements == 1 && plan.effects.is_empty() && plan.observed.is_none()
}
