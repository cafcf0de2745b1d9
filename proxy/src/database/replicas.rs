//! Reading from standbys, where `reads = "prefer_replica"`.
//!
//! A pool of its own leads to the standbys among the hosts. A statement goes there when its verdict
//! says that a standby answers as the primary does, and only to a standby that is known to be current
//! as of a moment: no longer ago than `max_replica_lag`, after the session's own last write, and
//! after the last change of the catalogue that the verdict rests on. Where that is not known, it
//! goes to the primary.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::backend::{Moment, Position, Progress, Seen, Upstream};
use crate::metrics::Metrics;
use crate::pool::Pool;
use pgwarden_config::settings;

/// The standbys are asked this often while they may lag.
const ASKED_WITHIN_LAG: u32 = 8;

/// The standbys of a database.
#[derive(Debug)]
pub(crate) struct Replicas {
    upstream: Arc<Upstream>,
    pool: Arc<Pool>,
    max_lag: Duration,
    progress: Progress,
    /// The last change of the catalogue.
    changed: AtomicU64,
}

impl Replicas {
    pub(super) fn new(
        primary: &Upstream,
        pool: settings::Pool,
        limit: usize,
        max_lag: Duration,
        metrics: &Arc<Metrics>,
    ) -> Arc<Self> {
        let upstream = Arc::new(primary.standbys());
        let pool = Pool::new(Arc::clone(&upstream), pool, limit, Arc::clone(metrics));
        pool.spawn_sweeper();
        Arc::new(Self {
            upstream,
            pool,
            max_lag,
            progress: Progress::keeping(max_lag),
            changed: AtomicU64::new(0),
        })
    }

    /// The connections to them.
    pub(crate) fn pool(&self) -> &Arc<Pool> {
        &self.pool
    }

    /// As of when a standby must be current, for a session that has written last before `wrote`.
    pub(crate) fn since(&self, wrote: Moment) -> Moment {
        let changed = Moment::of_millis(self.changed.load(Ordering::Acquire));
        let lag = Moment::now().before(self.max_lag);
        lag.max(wrote).max(changed)
    }

    /// Whether there is one.
    pub(crate) fn any_since(&self, since: Moment) -> bool {
        self.upstream.hosts().any_since(since)
    }

    /// How often hosts are asked.
    pub(super) fn ask_every(&self) -> Duration {
        let often = self.max_lag / ASKED_WITHIN_LAG;
        often.clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// The catalogue was another: a standby that lags may still have the old one.
    pub(super) fn note_change(&self) {
        self.changed
            .store(Moment::next().as_millis(), Ordering::Release);
    }

    /// The primary has told its position.
    pub(super) fn note_primary(&self, asked: Moment, position: Position) {
        self.progress.primary(asked, position);
    }

    /// Something was seen of a host, by its place in the list.
    pub(super) fn note(&self, at: usize, seen: Seen, position: Option<Position>) {
        let hosts = self.upstream.hosts();
        let Some(site) = hosts.sites().get(at) else {
            return;
        };
        let current = position.and_then(|position| self.progress.standby(position));
        if let Some(moment) = current {
            site.is_current_as_of(moment);
        }
        hosts.saw(site, seen);
    }
}
