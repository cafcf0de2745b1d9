//! Noticing that somebody has changed the catalogue.
//!
//! A control connection asks for the catalogue's fingerprint every `catalog_interval`, and sooner
//! when something hints at a change: a relation, column or function that the engine does not know,
//! the server's own word that it has none of the name, DDL that went through the proxy. When the
//! fingerprint is another, the catalogue is read in the same snapshot, bound, and put in force in one
//! step: every statement that is judged from then on goes by it, as after a reload.
//!
//! So verdicts rest on a catalogue that was the server's at most `catalog_interval`, and the time of
//! one reading, ago. What is new in that time is not known, hence denied; what was dropped or lost
//! a column is the server's own error. What remains is an object put in the place of another of the
//! same name, for that long. While reading fails, the last catalogue stays in use, and readiness,
//! the log and `pgwarden_catalog_age_seconds` say so.
//!
//! While the database is paused the server is left alone, and before it is resumed it is asked: what
//! was changed meanwhile is known before the first statement.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use pgwarden_schema::Fingerprint;
use tokio::sync::Notify;

use super::Database;
use super::control::Control;
use crate::backend::ConnectError;
use crate::metrics::CatalogCheck;

/// Hints, however many there are, have the server asked no more often than this, unless somebody
/// waits for the answer.
const PAUSE: Duration = Duration::from_millis(250);

/// Asking takes no more than one part in so many of the time.
const SHARE: u32 = 10;

/// The server is asked again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// What sessions and operators see of the watching.
#[derive(Debug)]
pub(super) struct Watch {
    hint: Notify,
    /// Somebody waits for the answer.
    urgent: Arc<Notify>,
    /// When the server was asked the last time, whatever it answered.
    asked: tokio::sync::watch::Sender<Instant>,
    /// How often DDL went through the proxy.
    ddl_count: AtomicU64,
    /// When the last was committed.
    ddl: Mutex<Option<Instant>>,
    /// Whether the server could be asked the last time.
    answered: AtomicBool,
    /// How often the server's catalogue was another than before.
    generation: AtomicU64,
    opened: Instant,
    /// When the catalogue was last known to be the server's, in milliseconds since it was opened.
    confirmed: AtomicU64,
}

impl Watch {
    /// Of a catalogue that was asked for at this moment.
    pub(super) fn since(asked: Instant) -> Self {
        Self {
            hint: Notify::new(),
            urgent: Arc::default(),
            asked: tokio::sync::watch::Sender::new(asked),
            ddl_count: AtomicU64::new(0),
            ddl: Mutex::default(),
            answered: AtomicBool::new(true),
            generation: AtomicU64::new(0),
            opened: asked,
            confirmed: AtomicU64::new(0),
        }
    }

    /// Something hints at a change. Costs nothing.
    pub(super) fn hint(&self) {
        self.hint.notify_one();
    }

    /// DDL was committed that is not known yet. Gives when.
    pub(super) fn note_ddl(&self) -> Instant {
        let now = Instant::now();
        *self.ddl.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        self.ddl_count.fetch_add(1, Ordering::AcqRel);
        now
    }

    pub(super) fn ddl_count(&self) -> u64 {
        self.ddl_count.load(Ordering::Acquire)
    }

    /// When the last DDL was committed, if the server was not asked since.
    pub(super) fn unread_ddl(&self) -> Option<Instant> {
        let committed = *self.ddl.lock().unwrap_or_else(PoisonError::into_inner);
        committed.filter(|committed| *self.asked.borrow() <= *committed)
    }

    /// Has the server asked at once, and waits until it was asked after this moment.
    pub(super) async fn until_asked_after(&self, moment: Instant) {
        let mut asked = self.asked.subscribe();
        self.hint.notify_one();
        self.urgent.notify_one();
        // The sender is ours: it can't be gone.
        let _ = asked.wait_for(|asked| *asked > moment).await;
    }

    /// What cuts the pause between two questions short.
    pub(super) fn urgent(&self) -> Arc<Notify> {
        Arc::clone(&self.urgent)
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// How long ago the catalogue was certainly the server's.
    pub(super) fn age(&self) -> Duration {
        let confirmed = Duration::from_millis(self.confirmed.load(Ordering::Relaxed));
        self.opened.elapsed().saturating_sub(confirmed)
    }

    fn confirm(&self, asked: Instant) {
        let since = asked.saturating_duration_since(self.opened).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.confirmed.store(since, Ordering::Relaxed);
        self.answered.store(true, Ordering::Relaxed);
    }
}

/// Watches until the database is gone; `urgent` is that of its [`Watch`].
pub(super) async fn watch(database: Weak<Database>, urgent: Arc<Notify>, interval: Duration) {
    let mut pause = PAUSE.min(interval);
    loop {
        let _ = tokio::time::timeout(pause, urgent.notified()).await;
        let Some(database) = database.upgrade() else {
            return;
        };
        let patience = match database.watch.is_answered() {
            true => interval.saturating_sub(pause),
            false => Duration::ZERO,
        };
        // Whether there was a hint or not, it is time.
        let _ = tokio::time::timeout(patience, database.watch.hint.notified()).await;
        let mut watcher = database.watcher.lock().await;
        if database.pool.is_paused() {
            watcher.rest();
            continue;
        }
        let asked = Instant::now();
        pause = match watcher.ask(&database).await {
            Ok(()) => (asked.elapsed() * SHARE).max(PAUSE.min(interval)),
            Err(_) => RETRY,
        };
    }
}

/// Who asks the server, and what it said.
#[derive(Debug)]
pub(super) struct Watcher {
    control: Option<Control>,
    /// The fingerprint of the catalogue that was read last.
    known: Fingerprint,
}

impl Watcher {
    pub(super) fn new(control: Control, known: Fingerprint) -> Self {
        Self {
            control: Some(control),
            known,
        }
    }

    /// Closes the connection to the server until it is asked again.
    pub(super) fn rest(&mut self) {
        self.control = None;
    }

    /// Asks the server for its catalogue, and puts it in force if it is another. What comes of it
    /// is counted, and a failure logged.
    pub(super) async fn ask(&mut self, database: &Database) -> Result<(), ConnectError> {
        let asked = Instant::now();
        let answer = match self.check(database).await {
            Ok(outcome) => {
                database.watch.confirm(asked);
                database.metrics.catalog_check(outcome);
                Ok(())
            }
            Err(error) => {
                database.watch.answered.store(false, Ordering::Relaxed);
                database.metrics.catalog_check(CatalogCheck::Failed);
                tracing::error!(database = database.name, %error, "the catalogue can't be read");
                Err(error)
            }
        };
        database.watch.asked.send_replace(asked);
        answer
    }

    async fn check(&mut self, database: &Database) -> Result<CatalogCheck, ConnectError> {
        let control = match self.control.take() {
            Some(control) if !control.is_closed() => control,
            _ => Control::connect(&database.upstream).await?,
        };
        let read = control.read_changed(Some(&self.known)).await?;
        self.control = Some(control);
        let Some(reading) = read else {
            return Ok(CatalogCheck::Unchanged);
        };
        // Before the engine: a session that has the new one asks for its facts again.
        database.watch.generation.fetch_add(1, Ordering::AcqRel);
        self.known = reading.fingerprint;
        let catalog = Arc::new(reading.catalog);
        Ok(if database.take_over(catalog, reading.guarantees) {
            CatalogCheck::Changed
        } else {
            CatalogCheck::Unchanged
        })
    }
}
