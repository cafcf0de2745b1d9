//! About how long statements take, by shape.
//!
//! Sessions wait behind each other's statements on one server connection only where that is short
//! (see [`super::line`]). A time is that of the quickest of late: what a busy machine adds to most
//! says nothing of the statement. The table is small and may forget: what it does not know is taken
//! to be long.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many shapes are known at once, at most.
const SHAPES: u64 = 1024;

/// Each time that is longer than what is known raises it by this part of the difference.
const RISE: u32 = 16;

/// A shape's upper half, and its time in µs, in one word.
const TIME_BITS: u64 = 0xffff_ffff;

/// Times by shape, without a lock.
#[derive(Debug)]
pub(super) struct Paces(Box<[AtomicU64]>);

impl Default for Paces {
    fn default() -> Self {
        Self((0..SHAPES).map(|_| AtomicU64::new(0)).collect())
    }
}

impl Paces {
    /// The time of a shape in µs, if it is known.
    pub(super) fn of(&self, shape: u64) -> Option<u32> {
        let known = self.entry(shape)?.load(Ordering::Relaxed);
        let time = u32::try_from(known & TIME_BITS).ok()?;
        (known & !TIME_BITS == shape & !TIME_BITS && time > 0).then_some(time)
    }

    /// A statement has taken this time.
    pub(super) fn note(&self, shape: u64, took: Duration) {
        let took = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1);
        let time = match self.of(shape) {
            Some(known) if took > known => known.saturating_add((took - known).div_ceil(RISE)),
            _ => took,
        };
        if let Some(entry) = self.entry(shape) {
            entry.store(shape & !TIME_BITS | u64::from(time), Ordering::Relaxed);
        }
    }

    fn entry(&self, shape: u64) -> Option<&AtomicU64> {
        self.0.get(usize::try_from(shape % SHAPES).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_of_late_counts() {
        let (paces, shape) = (Paces::default(), 0x1234_5678_9abc_def0);
        assert_eq!(paces.of(shape), None);
        let note = |micros| paces.note(shape, Duration::from_micros(micros));
        note(500);
        note(50);
        assert_eq!(paces.of(shape), Some(50));
        note(850);
        assert_eq!(paces.of(shape), Some(100));
        for _ in 0..200 {
            note(1000);
        }
        assert!(paces.of(shape) > Some(900));
    }

    #[test]
    fn another_shape_in_the_same_place_is_not_mistaken() {
        let (paces, shape) = (Paces::default(), 0x1234_5678_0000_0007);
        paces.note(shape, Duration::from_micros(10));
        assert_eq!(paces.of(shape ^ 0x1_0000_0000), None);
        assert_eq!(paces.of(shape ^ 1), None);
    }
}
