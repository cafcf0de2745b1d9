//! The audit trail: one JSON object a line (README, "Audit").
//!
//! Lines are written by a thread of their own behind a bounded queue. A session never waits for
//! the target: what does not fit is lost, and counted in `pgwarden_audit_dropped_total`. No line
//! holds a literal, a parameter's value or any part of a token.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use pgwarden_config::settings::{self, AuditStatements, AuditTarget};
use pgwarden_policy::DenyReason;
use serde::{Serialize, Serializer};

use crate::metrics::{Metrics, Outcome};
use crate::timestamp;

/// How many lines may wait.
const QUEUE_LINES: usize = 16_384;

/// A line is on its way to the target after this time, at the latest.
const FLUSH_AFTER: Duration = Duration::from_millis(100);

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A client has logged in.
    Connect,
    /// A session has ended.
    Disconnect,
    /// A client was refused.
    AuthFailure,
    /// A statement was judged.
    Statement,
    /// The policy was loaded again.
    Reload,
}

/// Who a session belongs to: the part of its lines that stays the same.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Session {
    /// The session's number in this process.
    pub session: u64,
    /// The client's address.
    pub client: String,
    /// The database that the client asked for.
    pub database: Option<String>,
    /// The user name that it gave (which decides nothing).
    pub user: Option<String>,
    /// `application_name`.
    pub application: Option<String>,
    /// The tenant.
    pub org: Option<String>,
    /// The token's `sub`.
    pub sub: Option<String>,
    /// The token's `role`.
    pub role: Option<String>,
}

/// One line. Fields that don't apply are left out of it.
#[derive(Debug, Serialize)]
pub struct Event {
    ts: String,
    event: EventKind,
    #[serde(flatten, serialize_with = "session_fields")]
    session: Option<Arc<Session>>,
    /// `pass`, `rewrite` or `deny`; `would_rewrite` or `would_deny` where that is only observed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<&'static str>,
    /// Why it was, or would be, denied or refused: a code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'static str>,
    /// The statement's kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<&'static str>,
    /// The relations it uses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// The number of its shape, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The SQLSTATE that the client got, if it got one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sqlstate: Option<String>,
    /// The rows of its CommandComplete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// From the statement's arrival to the end of its answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_us: Option<u64>,
    /// The policy's revision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
}

/// The session's fields among the line's own; none for a line about the process.
fn session_fields<S: Serializer>(
    session: &Option<Arc<Session>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    session.as_deref().serialize(serializer)
}

impl Event {
    /// A line about a session, or about the process.
    pub fn new(event: EventKind, session: Option<&Arc<Session>>) -> Self {
        Self {
            ts: timestamp::rfc3339(SystemTime::now()),
            event,
            session: session.map(Arc::clone),
            verdict: None,
            reason: None,
            kind: None,
            tables: Vec::new(),
            fingerprint: None,
            sqlstate: None,
            rows: None,
            duration_us: None,
            policy: None,
        }
    }

    /// Adds why.
    pub fn denied(mut self, reason: DenyReason, sqlstate: &str) -> Self {
        self.verdict = Some(Outcome::Deny.as_str());
        self.reason = Some(reason.code());
        self.sqlstate = Some(sqlstate.to_owned());
        self
    }
}

/// What the writer is sent.
enum Message {
    /// A line to write.
    Line(Box<Event>),
    /// Write out everything before this, then answer.
    Flush(SyncSender<()>),
}

/// Where events go. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Audit {
    statements: AuditStatements,
    queue: SyncSender<Message>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Opens the target and starts the thread that writes to it.
    ///
    /// # Errors
    /// When the file can't be opened.
    pub fn open(settings: &settings::Audit, metrics: Arc<Metrics>) -> io::Result<Self> {
        let target: Box<dyn Write + Send> = match &settings.target {
            AuditTarget::Stdout => Box::new(io::stdout()),
            AuditTarget::File(path) => {
                Box::new(OpenOptions::new().create(true).append(true).open(path)?)
            }
        };
        let (queue, lines) = sync_channel(QUEUE_LINES);
        let writer = Writer {
            lines,
            target: BufWriter::new(target),
            metrics: Arc::clone(&metrics),
        };
        std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self {
            statements: settings.statements,
            queue,
            metrics,
        })
    }

    /// Whether a statement gets a line. What is only observed gets one always. Break-glass sessions (`enforced` is false) get one always.
    pub fn wants(&self, outcome: Outcome, writes: bool, enforced: bool) -> bool {
        let refused = matches!(
            outcome,
            Outcome::Deny | Outcome::WouldDeny | Outcome::WouldRewrite
        );
        if !enforced || refused {
            return true;
        }
        match self.statements {
            AuditStatements::Denied => false,
            AuditStatements::Writes => writes,
            AuditStatements::All => true,
        }
    }

    /// Queues a line. Never waits.
    pub fn record(&self, event: Event) {
        if self.queue.try_send(Message::Line(Box::new(event))).is_err() {
            self.metrics.audit_dropped.increment();
        }
    }

    /// Waits until all lines so far have been handed to the target, or for `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, flushed) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            let _ = flushed.recv_timeout(patience);
        }
    }
}

struct Writer {
    lines: Receiver<Message>,
    target: BufWriter<Box<dyn Write + Send>>,
    metrics: Arc<Metrics>,
}

impl Writer {
    /// Writes until every [`Audit`] is gone.
    fn run(mut self) {
        let mut unflushed = false;
        loop {
            match self.lines.recv_timeout(FLUSH_AFTER) {
                Ok(Message::Line(event)) => {
                    self.write(&event);
                    unflushed = true;
                }
                Ok(Message::Flush(done)) => {
                    self.flush();
                    unflushed = false;
                    let _ = done.send(());
                }
                Err(RecvTimeoutError::Timeout) if unflushed => {
                    self.flush();
                    unflushed = false;
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.flush(),
            }
        }
    }

    fn write(&mut self, event: &Event) {
        let written = serde_json::to_writer(&mut self.target, event).map_err(io::Error::from);
        if written.and_then(|()| self.target.write_all(b"\n")).is_err() {
            self.metrics.audit_dropped.increment();
        }
    }

    fn flush(&mut self) {
        if self.target.flush().is_err() {
            self.metrics.audit_dropped.increment();
        }
    }
}
