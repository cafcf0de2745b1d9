//! The gate: no message goes on before the session is still good and the server connection known to
//! be its own.

use std::sync::Arc;
use std::time::Instant;

use pgwarden_policy::{Denial, DenyReason, Effect, Plan, StatementKind};

use super::ahead::Ahead;
use super::claims::Known;
use super::judging::Facts;
use super::names::Statement;
use super::queue::Expect;
use super::sharing::Sharing;
use super::{Session, Stop};
use crate::backend::Outbox;
use crate::wire::Report;

/// Whether a message that runs, binds or prepares something may go on.
pub(super) enum Gate {
    Open,
    Later,
    Refuse(Report),
}

impl Session {
    /// Whether the session is still good, and the server connection known to be its own.
    pub(super) fn gate(&mut self, server: &mut Outbox) -> Result<Gate, Stop> {
        let gate = self.look_through(server)?;
        self.known.awaited = matches!(gate, Gate::Later);
        Ok(gate)
    }

    fn look_through(&mut self, server: &mut Outbox) -> Result<Gate, Stop> {
        if Instant::now() >= self.expires {
            return Err(Stop::Fatal(Report::fatal(
                "28000",
                "pgwarden: the token has expired",
            )));
        }
        if self.unread.is_some() {
            return Ok(Gate::Later);
        }
        if let Some(report) = self.uncommitted.failure().filter(|_| self.queue.is_empty()) {
            return Ok(Gate::Refuse(report.clone()));
        }
        let passing = self.judging.is_passing();
        match self.judging.refresh() {
            Ok(Facts::Hold) => {}
            Ok(Facts::Stale) => self.known.distrust(),
            Ok(Facts::AnotherRole) => self.known.lose(),
            Err(error) => {
                tracing::info!(session = self.who.session, %error, "no access under the new policy");
                let message = "pgwarden: the token gives no access to this database any more";
                return Err(Stop::Fatal(Report::fatal("28000", message)));
            }
        }
        if passing && !self.judging.is_passing() {
            self.must_read();
        }
        self.note_beginning();
        self.known.floats = self.judging.floats();
        if self.judging.expire() {
            self.identity_changed();
        }
        self.refresh_setup();
        let unread = self.uncommitted.must_be_read();
        if self.known.settled && !self.queue.unsettles() && !unread {
            self.nudged = false;
            return Ok(Gate::Open);
        }
        if self.can_go_ahead() {
            self.nudged = false;
            self.send_ahead(server);
            return Ok(Gate::Open);
        }
        if !self.queue.is_empty() {
            // The server holds its answers back until it is asked for them.
            self.nudge(server);
            return Ok(Gate::Later);
        }
        self.nudged = false;
        if self.pipeline_open && self.status == b'E' {
            let message = "pgwarden: a statement before this one in the same pipeline changes \
                settings that this one depends on";
            return Ok(Gate::Refuse(
                Report::error("0A000", message).hint("Send Sync first."),
            ));
        }
        let placed = self.sharing.as_ref().is_none_or(|it| it.placed);
        if self.pipeline_open && !placed {
            // `must_place` keeps it from coming to this.
            let message = "pgwarden: the session's settings can't be put in force in a pipeline";
            return Ok(Gate::Refuse(
                Report::error("0A000", message).hint("Send Sync first."),
            ));
        }
        if self.status == b'E' {
            // Nothing can be asked now; `permit` lets only the transaction's end pass.
            return Ok(Gate::Open);
        }
        self.ask_facts(server);
        Ok(Gate::Later)
    }

    /// Whether a statement only ends a transaction that has failed. In one, nothing can be asked,
    /// and nothing that it needs could be known: it must pass, or nobody would get out.
    pub(super) fn ends_failed(&self, statement: Option<&Arc<Statement>>) -> bool {
        let plan = statement.map(|statement| &statement.plan);
        self.status == b'E' && plan.is_some_and(|plan| plan.kind == StatementKind::Transaction)
    }

    pub(super) fn gate_unless(&mut self, open: bool, server: &mut Outbox) -> Result<Gate, Stop> {
        if open {
            return Ok(Gate::Open);
        }
        self.gate(server)
    }

    /// Whether a message that neither runs nor prepares anything has to wait for the setup, in transaction mode. It
    /// opens a pipeline, in which nothing but the claims can be put in force: what follows would run under the
    /// settings and the role of whoever had the server connection before.
    pub(super) fn must_place(&mut self, server: &mut Outbox) -> bool {
        let placed = |it: &Sharing| it.placed && (self.pipeline_open || !it.asks && !it.restores);
        if self.sharing.as_deref().is_none_or(placed) || self.status != b'I' {
            return false;
        }
        if self.pipeline_open {
            // What has opened it is to be refused, and this to be skipped.
            self.nudge(server);
            return !self.queue.is_empty();
        }
        if self.queue.is_empty() {
            self.ask_facts(server);
        }
        true
    }

    /// Whether what was just written for a message may leave. It is looked at once more, and for all messages in
    /// one place: whoever has let it through, nothing goes to a server connection that the session's setup is
    /// not in force on, and nothing runs there but under its claims. What only ends a transaction, or begins
    /// one, needs none. What stands in for a refused message runs nothing, whatever is in force.
    pub(super) fn may_leave(&self, tag: u8) -> bool {
        let last = self.queue.pending().next_back();
        if last.is_some_and(|last| last.refused.is_some()) {
            return true;
        }
        let in_place = |it: &Sharing| it.attached && it.placed;
        let placed = self.sharing.as_deref().is_none_or(in_place);
        match tag {
            b'S' | b'H' | b'd' | b'c' | b'f' => true,
            b'C' | b'D' => placed,
            _ => {
                placed && (self.known.settled || self.status == b'E' || self.last_needs_no_claims())
            }
        }
    }

    fn last_needs_no_claims(&self) -> bool {
        let needs_none =
            |plan: &Plan| matches!(plan.kind, StatementKind::Transaction | StatementKind::Empty);
        self.queue.pending().next_back().is_none_or(|last| {
            last.expect == Expect::Sync || last.plan.as_deref().is_some_and(needs_none)
        })
    }

    /// Asks for claims and facts as soon as the server owes nothing, so that the next statement
    /// need not wait.
    pub(crate) fn settle(&mut self, server: &mut Outbox) {
        let free = self.is_settled() && self.status == b'I';
        let due = !self.has_tried() && self.uncommitted.failure().is_none();
        if !self.known.settled && free && due {
            self.ask_facts(server);
        }
    }

    /// The same for a session that keeps its server connection. The next to have the connection may
    /// be another.
    pub(crate) fn settle_if_kept(&mut self, server: &mut Outbox) {
        if !self.known.settled && !self.can_detach() {
            self.settle(server);
        }
    }
}

/// What may not run in the session's state.
pub(super) fn permit(known: Known, plan: &Plan) -> Result<(), Denial> {
    let stays = |effect: &Effect| {
        matches!(
            effect,
            Effect::Hold(_) | Effect::Temporaries | Effect::Listen
        )
    };
    if known.floats && plan.kind != StatementKind::Setting && plan.effects.iter().any(stays) {
        let text = "what outlives the transaction (cursors WITH HOLD, temporary tables, LISTEN) is not \
            supported for a role with a tenant per transaction";
        return Err(Denial::new(DenyReason::UnsupportedStatement, text));
    }
    if known.on_standby && !plan.reads_only {
        let text = "the statement came to a standby, and is not one that only reads";
        return Err(Denial::new(DenyReason::UnsupportedStatement, text).hint("Send it again."));
    }
    let text = match plan.kind {
        StatementKind::Transaction | StatementKind::Empty => return Ok(()),
        // COMMIT or ROLLBACK in the middle would bring other settings back.
        StatementKind::Several if known.in_transaction && known.ahead != Ahead::Alone => {
            "several statements at once are not supported after SET search_path in a transaction"
        }
        _ if !known.settled => {
            "in a failed transaction that has changed settings only its end is supported"
        }
        _ => return Ok(()),
    };
    let denial = Denial::new(DenyReason::UnsupportedStatement, text);
    Err(denial.hint("Send the statements one by one."))
}

/// What may not run where other sessions used the server connection before.
pub(super) fn permit_last_value(known: Known, plan: &Plan) -> Result<(), Denial> {
    if !plan.last_value || !known.foreign_sequences {
        return Ok(());
    }
    let text = "currval and lastval tell in transaction mode only what the open transaction took";
    let hint = "Ask in the transaction of the INSERT, behind it, or use RETURNING.";
    Err(Denial::new(DenyReason::FunctionDenied, text).hint(hint))
}

/// Whether claims or facts may be others once the plan has run.
pub(super) fn unsettles(known: Known, plan: &Plan) -> bool {
    let changes = |effect: &Effect| {
        matches!(
            effect,
            Effect::SearchPath | Effect::ClaimsLost | Effect::Temporaries
        )
    };
    let ends = matches!(
        plan.kind,
        StatementKind::Transaction | StatementKind::Several
    );
    plan.effects.iter().any(changes) || (known.in_transaction && ends)
}
