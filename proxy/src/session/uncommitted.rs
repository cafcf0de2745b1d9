//! DDL of the session's own that is not committed yet: what its transaction sees, and nobody else.
//!
//! The catalogue is read again through the session's own server connection, between two statements
//! of the client's, and an engine is bound to it that only this transaction uses, with its own plans.
//! It goes with the transaction; a rollback to a savepoint, or a change of the shared catalogue or of the
//! policy, has it read anew.
//!
//! What the engine lets through as DDL changes nothing that a verdict rests on (`judge/ddl.rs` in the policy
//! crate), so a reading waits for a statement that would be denied: a migration of many statements reads
//! seldom. A procedure may have done anything: behind it nothing is judged before the reading.
//!
//! A reading that fails fails the transaction, as a denial does. So does nothing else. An old snapshot (REPEATABLE READ,
//! SERIALIZABLE) shows what the transaction has made, and of others' changes none since it began: it is read only while
//! the shared catalogue is the one of then. Otherwise the statement is left to the shared one.

use pgwarden_policy::{Plan, StatementKind};
use pgwarden_schema::uncommitted::{self, Uncommitted as Gathering};

use super::claims::{first_column, own_statement};
use super::queue::{Expect, Pending};
use super::unread::makes_lasting;
use super::{Passed, Session, Skip, Stop, Taken};
use crate::backend::{Forward, Outbox};
use crate::wire::{Report, answer, report};

/// What has to be read before a statement is judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    #[default]
    Nothing,
    /// Only before one is denied.
    BeforeDenial,
    /// If the transaction has written to the system tables at all.
    IfWritten,
    BeforeAll,
}

/// What a session knows of such DDL.
#[derive(Debug, Default)]
pub(super) struct Uncommitted {
    need: Need,
    /// The state of the shared catalogue when the transaction began, or an earlier one.
    begun: u64,
    /// A batch of questions is on its way.
    asked: bool,
    /// What the server has told so far.
    gathering: Option<Box<Gathering>>,
    failure: Option<Box<Failure>>,
}

/// Why a reading has failed, for the statement that waits for it.
#[derive(Debug)]
struct Failure {
    report: Report,
    /// The server has failed the transaction, too.
    by_server: bool,
}

impl Failure {
    fn of_ours() -> Box<Self> {
        Box::new(Self {
            report: unreadable(),
            by_server: false,
        })
    }
}

impl Uncommitted {
    /// Whether nothing is judged before the catalogue was read.
    pub(super) fn must_be_read(&self) -> bool {
        self.need >= Need::IfWritten
    }

    /// Why it can't be.
    pub(super) fn failure(&self) -> Option<&Report> {
        self.failure.as_ref().map(|failure| &failure.report)
    }

    /// Whether a batch with the question is not answered yet.
    pub(super) fn is_asked(&self) -> bool {
        self.asked
    }

    /// The batch is answered.
    pub(super) fn answered(&mut self) {
        self.asked = false;
    }
}

impl Session {
    /// A statement with this tag has made something that lasts; its transaction may go on.
    pub(super) fn note_own_ddl(&mut self, tag: &[u8]) {
        if !self.judging.access().enforce {
            return;
        }
        let opaque = tag.starts_with(b"CALL") || tag.starts_with(b"DO");
        let need = if opaque {
            Need::IfWritten
        } else {
            Need::BeforeDenial
        };
        self.uncommitted.need = self.uncommitted.need.max(need);
    }

    /// A transaction or a savepoint has ended, and another transaction or the outer one goes on.
    pub(super) fn transaction_turned(&mut self) {
        if self.judging.is_passing() {
            self.must_read();
        }
    }

    /// What was seen of the transaction no longer holds.
    pub(super) fn must_read(&mut self) {
        self.uncommitted.need = Need::BeforeAll;
        self.known.lose();
    }

    /// The transaction has ended: what it made is everybody's, or nobody's.
    pub(super) fn end_uncommitted(&mut self) {
        self.uncommitted.need = Need::Nothing;
        if self.judging.is_passing() {
            self.judging.leave_passing();
            // The schemas of the search_path may be others.
            self.known.lose();
        }
    }

    /// Whether the transaction, or what is owed before the next statement, may have made what is not known yet.
    pub(super) fn has_unknown(&self) -> bool {
        let open = self.status == b'T' || self.pipeline_open;
        let made = open && self.uncommitted.need == Need::BeforeDenial || self.queue.any(is_ddl);
        made && self.status != b'E' && self.judging.access().enforce
    }

    /// Whether a statement that would be denied may not be when it is known what the transaction has
    /// made so far.
    pub(super) fn may_be_own(&mut self) -> bool {
        if self.status == b'E' || !self.judging.access().enforce {
            return false;
        }
        let open = self.status == b'T' || self.pipeline_open;
        if open && self.uncommitted.need == Need::BeforeDenial {
            self.uncommitted.need = Need::BeforeAll;
        } else if !self.queue.any(is_ddl) {
            return false;
        }
        self.known.distrust();
        true
    }

    /// While nothing is open, and nothing is owed that may open something, the next transaction begins with what
    /// the catalogue is now.
    pub(super) fn note_beginning(&mut self) {
        let open = self.status != b'I' || self.pipeline_open || !self.queue.is_empty();
        if !open {
            self.uncommitted.begun = self.judging.generation();
        }
    }

    /// Has the server asked for what a statement waits for.
    pub(super) fn look_again(&mut self, server: &mut Outbox) -> Result<Taken, Stop> {
        self.gate(server)?;
        Ok(Taken::Later)
    }

    /// Sends the question, if it has to be asked.
    pub(super) fn ask_uncommitted(&mut self, server: &mut Outbox) {
        let open = self.status == b'T' || self.pipeline_open;
        if !open || !self.uncommitted.must_be_read() {
            return;
        }
        self.uncommitted.asked = true;
        if self.uncommitted.need == Need::IfWritten {
            own_statement(server, uncommitted::written(), &[]);
            self.owe(Expect::OwnWritten);
            return;
        }
        self.uncommitted.gathering = None;
        own_statement(server, uncommitted::BEFORE, &[]);
        self.owe(Expect::OwnReplay);
        let unchanged = self.uncommitted.begun == self.judging.generation();
        own_statement(server, uncommitted::question(unchanged), &[]);
        self.owe(Expect::OwnCatalog);
        own_statement(server, uncommitted::AFTER, &[]);
        self.owe(Expect::OwnReplay);
    }

    /// Whether the transaction has written to the system tables.
    pub(super) fn take_written(&mut self, row: &[u8]) -> Result<(), Stop> {
        let told = first_column(row).flatten();
        self.uncommitted.need = match told.ok_or_else(Stop::desynchronised)? {
            b"f" => Need::Nothing,
            _ => Need::BeforeAll,
        };
        Ok(())
    }

    /// A row of the answer.
    pub(super) fn take_object(&mut self, row: &[u8]) -> Result<(), Stop> {
        let object = first_column(row).flatten();
        let object = object.ok_or_else(Stop::desynchronised)?;
        let gathering = self.uncommitted.gathering.get_or_insert_default();
        if let Err(error) = gathering.add(object) {
            tracing::error!(%error, "an object of a transaction's catalogue can't be understood");
            self.uncommitted.failure = Some(Failure::of_ours());
        }
        Ok(())
    }

    /// The answer is complete.
    pub(super) fn take_catalog(&mut self) {
        self.uncommitted.need = Need::Nothing;
        let gathering = self.uncommitted.gathering.take().unwrap_or_default();
        match gathering.finish() {
            Ok(Some(catalog)) => self.judging.pass(catalog),
            Ok(None) => self.judging.leave_passing(),
            Err(error) => {
                tracing::error!(%error, "a transaction's catalogue can't be read");
                self.uncommitted.failure = Some(Failure::of_ours());
            }
        }
    }

    /// The server has refused the question, or a cancel or a time-out has hit it. It skips the rest of the batch.
    pub(super) fn reading_failed(&mut self, body: &[u8]) -> Passed {
        self.forget_batch();
        self.uncommitted.answered();
        self.uncommitted.gathering = None;
        let report = match report::field(body, b'C') {
            Some(b"57014") => {
                let message = report::field(body, b'M').unwrap_or_default();
                Report::error("57014", String::from_utf8_lossy(message).into_owned())
            }
            _ => unreadable(),
        };
        self.uncommitted.failure = Some(Box::new(Failure {
            report,
            by_server: true,
        }));
        Passed::Done
    }

    /// Tells the client that the server has failed its transaction, or the question that its message waits for, if
    /// that is why the message is refused. The server skips messages itself where no Sync of ours was sent.
    pub(super) fn tell_failure(&mut self, expect: Expect, server: &mut Outbox) -> bool {
        let failure = self.uncommitted.failure.take();
        let Some(failure) = failure.filter(|it| it.by_server) else {
            return false;
        };
        failure.report.write(&mut self.to_client);
        match (expect.is_extended(), self.pipeline_open) {
            (true, true) => self.skip = Skip::Server,
            (true, false) => self.skip = Skip::Local,
            (false, true) => {
                server.forward(Forward::Sync, &[]);
                self.transaction += 1;
                self.pipeline_open = false;
                self.queue.push(Pending {
                    transaction: self.transaction,
                    ..Pending::new(Expect::Sync)
                });
            }
            (false, false) => answer::ready(&mut self.to_client, self.status),
        }
        true
    }
}

/// Whether a message that is not answered yet may make something that lasts.
fn is_ddl(pending: &Pending) -> bool {
    let may = |plan: &Plan| {
        matches!(plan.kind, StatementKind::Utility | StatementKind::Several) && makes_lasting(plan)
    };
    pending.plan.as_deref().is_some_and(may)
}

fn unreadable() -> Report {
    let message = "pgwarden: what the transaction has made can't be read";
    Report::error("42501", message).hint("Commit the DDL first.")
}
