//! How far a standby is behind its primary.
//!
//! The primary is asked for the end of its WAL now and then, a standby for how far it has replayed.
//! A standby that has replayed what the primary had at some moment shows, from then on, every
//! transaction that had ended by that moment. So it is known *as of when* it is current: a bound that
//! holds whatever the clocks of the servers say, and that gets worse by itself when somebody can't be
//! asked any more. Positions compare within one timeline only.

use std::collections::VecDeque;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A moment of this process, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Moment(pub(super) u64);

impl Moment {
    /// The last millisecond that has begun.
    pub fn now() -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        // Nothing is current as of 0.
        Self(millis(START.elapsed()).saturating_add(1))
    }

    /// The first one that has not begun.
    pub fn next() -> Self {
        Self(Self::now().0.saturating_add(1))
    }

    /// The moment of a number that [`Moment::as_millis`] gave.
    pub fn of_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// As a number.
    pub fn as_millis(self) -> u64 {
        self.0
    }

    /// So long before.
    pub fn before(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(millis(time)))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A place in the WAL: its end on a primary, what was replayed on a standby.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The timeline.
    pub timeline: i32,
    /// Bytes.
    pub lsn: i64,
}

/// Where the primary was when.
#[derive(Debug)]
pub struct Progress {
    /// No longer than this is of interest.
    kept: Duration,
    samples: Mutex<VecDeque<(Moment, Position)>>,
}

impl Progress {
    /// Of which the last so and so long is kept.
    pub fn keeping(kept: Duration) -> Self {
        Self {
            kept,
            samples: Mutex::default(),
        }
    }

    /// The primary was there, asked at this moment or later.
    pub fn primary(&self, asked: Moment, position: Position) {
        let samples = self.samples.lock();
        let mut samples = samples.unwrap_or_else(PoisonError::into_inner);
        let oldest = asked.before(self.kept);
        samples.retain(|(at, it)| *at >= oldest && it.timeline == position.timeline);
        samples.push_back((asked, position));
    }

    /// As of when a standby that is there is current.
    pub fn standby(&self, position: Position) -> Option<Moment> {
        let samples = self.samples.lock();
        let samples = samples.unwrap_or_else(PoisonError::into_inner);
        let reached = |it: Position| it.timeline == position.timeline && it.lsn <= position.lsn;
        let mut newest_first = samples.iter().rev();
        newest_first.find(|(_, it)| reached(*it)).map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(timeline: i32, lsn: i64) -> Position {
        Position { timeline, lsn }
    }

    #[test]
    fn a_standby_is_current_as_of_what_it_has_replayed() {
        let progress = Progress::keeping(Duration::from_millis(100));
        assert_eq!(progress.standby(at(1, 5)), None);
        progress.primary(Moment(1000), at(1, 10));
        progress.primary(Moment(1050), at(1, 20));
        assert_eq!(progress.standby(at(1, 9)), None);
        assert_eq!(progress.standby(at(1, 19)), Some(Moment(1000)));
        assert_eq!(progress.standby(at(1, 20)), Some(Moment(1050)));
        // Too long ago.
        progress.primary(Moment(1120), at(1, 30));
        assert_eq!(progress.standby(at(1, 19)), None);
    }

    #[test]
    fn positions_of_another_timeline_say_nothing() {
        let progress = Progress::keeping(Duration::from_secs(1));
        progress.primary(Moment(1000), at(1, 10));
        assert_eq!(progress.standby(at(2, 99)), None);
        progress.primary(Moment(1001), at(2, 5));
        assert_eq!(progress.standby(at(1, 99)), None);
    }
}
