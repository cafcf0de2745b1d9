//! Denied messages.
//!
//! Outside of a transaction and with nothing outstanding they are answered here. Everywhere else
//! the server gets a message in their place that it must refuse, and its ErrorResponse is replaced
//! by ours: so the order of replies, the skipping up to Sync, the state of the transaction and
//! ReadyForQuery are the server's own.

use pgwarden_policy::{Denial, DenyReason, StatementKind};

use super::names::Change;
use super::queue::{Expect, Pending};
use super::record::fingerprint;
use super::{Copy, Session, Skip};
use crate::audit::{Event, EventKind};
use crate::backend::{Forward, Outbox};
use crate::metrics::Outcome;
use crate::wire::{Report, answer};

/// A name that no statement and no portal ever has on the server.
pub(super) const NOBODY: &str = "pgwarden_refused";

/// A text that PostgreSQL can parse and must refuse: so it says 25P02 where that is due.
const REFUSED: &str = "SELECT pgwarden_refused";

/// SQLSTATE of statements in a failed transaction.
pub(super) const IN_FAILED_TRANSACTION: &str = "25P02";

impl Session {
    /// Refuses a message for a reason of the engine, and records it.
    pub(super) fn deny(
        &mut self,
        denial: Denial,
        expect: Expect,
        change: Option<Change>,
        server: &mut Outbox,
    ) {
        let denial = self.judging.explain(denial);
        // What is refused while it boards is sent again elsewhere, and refused there.
        if !self.boards {
            self.record_denial(&denial);
        }
        self.refuse(Report::from(denial), expect, change, server);
    }

    /// Fails the COPY that is running: the server forgets its rows, and its error is replaced.
    pub(super) fn fail_copy(&mut self, denial: Denial, server: &mut Outbox) {
        self.record_denial(&denial);
        server.forward(Forward::CopyFail, b"pgwarden: refused\0");
        if let Some(front) = self.queue.front_mut() {
            front.refused = Some(Box::new(Report::from(denial)));
        }
        self.copy = Copy::Awaited;
    }

    fn record_denial(&self, denial: &Denial) {
        let kind = denial.kind.unwrap_or(StatementKind::Utility);
        let metrics = self.proxy.metrics();
        metrics.statement(Outcome::Deny, kind);
        metrics.denial(denial.reason);
        if matches!(
            denial.reason,
            DenyReason::ProofFailed | DenyReason::ReaderDisagreement
        ) {
            tracing::error!(
                session = self.who.session,
                reason = denial.reason.code(),
                "denied"
            );
        }
        self.record_refused(denial);
    }

    /// The line of a statement that was refused, by us or, as the rewritten statement has it, by the server.
    pub(super) fn record_refused(&self, denial: &Denial) {
        let mut event = Event::new(EventKind::Statement, Some(&self.who))
            .denied(denial.reason, denial.sqlstate);
        event.kind = denial.kind.map(StatementKind::as_str);
        event.tables.extend(denial.table.clone());
        event.fingerprint = denial.fingerprint.map(fingerprint);
        event.policy = Some(self.judging.engine().policy().revision.clone());
        self.proxy.audit().record(event);
    }

    /// Refuses a message.
    pub(super) fn refuse(
        &mut self,
        report: Report,
        expect: Expect,
        change: Option<Change>,
        server: &mut Outbox,
    ) {
        if self.tell_failure(expect, server) {
            return;
        }
        if self.is_idle() {
            report.write(&mut self.to_client);
            if expect.is_extended() {
                self.skip = Skip::Local;
            } else {
                answer::ready(&mut self.to_client, self.status);
            }
            return;
        }
        self.end_ahead(server);
        send_refused(expect, server);
        if expect.is_extended() {
            self.pipeline_open = true;
        } else {
            self.transaction += 1;
            self.pipeline_open = false;
        }
        self.queue.push(Pending {
            refused: Some(Box::new(report)),
            change,
            unsettles: self.ends_pipeline(expect),
            transaction: self.transaction,
            ..Pending::new(expect)
        });
    }

    /// What the client is told when the server has refused a stand-in.
    pub(super) fn refused_report(&self, report: &Report, server_sqlstate: &[u8]) -> RefusedAs {
        // PostgreSQL looks at the grammar, at names and at the message itself before it looks at
        // the transaction.
        let comes_first = matches!(
            report.sqlstate(),
            "42601" | "26000" | "34000" | "08P01" | "22021"
        );
        if comes_first {
            RefusedAs::Own
        } else if server_sqlstate == IN_FAILED_TRANSACTION.as_bytes() {
            RefusedAs::Server
        } else if self.status == b'E' {
            RefusedAs::InFailedTransaction
        } else {
            RefusedAs::Own
        }
    }
}

/// How a stand-in's refusal is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RefusedAs {
    /// In our words.
    Own,
    /// As the server says it.
    Server,
    /// As the server would have said it of the message itself: 25P02.
    InFailedTransaction,
}

fn send_refused(expect: Expect, server: &mut Outbox) {
    let nobody = [NOBODY.as_bytes(), &[0]].concat();
    match expect {
        Expect::Parse | Expect::Parsed | Expect::Tried | Expect::Prepare => {
            server.own_parse(NOBODY, REFUSED, &[]);
        }
        Expect::Bind => {
            server.forward(Forward::Bind, &[&[0], &nobody[..], &[0; 6]].concat());
        }
        Expect::DescribeStatement { .. } | Expect::DescribePortal => {
            server.forward(Forward::Describe, &[b"S", &nobody[..]].concat());
        }
        Expect::Execute => server.forward(Forward::Execute, &[&nobody[..], &[0; 4]].concat()),
        // A Close is never refused, and the others are simple queries.
        Expect::Query
        | Expect::Spread
        | Expect::Looked
        | Expect::Parts
        | Expect::OwnPrepare
        | Expect::Close
        | Expect::Evict
        | Expect::Sync
        | Expect::Deallocate
        | Expect::DeallocateExecute
        | Expect::Own
        | Expect::OwnTemporaries
        | Expect::OwnWritten
        | Expect::OwnCatalog
        | Expect::OwnClose
        | Expect::OwnSync
        | Expect::OwnQuery
        | Expect::OwnReplay
        | Expect::OwnSettings => {
            server.own_query(REFUSED);
        }
    }
}
