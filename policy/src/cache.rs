//! The plan cache: shapes and their variants, bounded in bytes.
//!
//! A shape whose verdict read no literal has its plan right there. Otherwise the shape's entry
//! names the literals that were read, and the plan is a variant under a longer key. Verdicts are a
//! function of the key and of the literals that they read, so a variant keyed by those literals (or
//! more) stands for every text that agrees in them.
//!
//! Entries live in shards, each with a lock that readers share; nothing is parsed under a lock.

use std::fmt;
use std::hash::RandomState;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{Lifecycle, Weighter};

use crate::plan::Plan;
use crate::template::Template;

/// What the cache did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheStats {
    /// Verdicts that were found.
    pub hits: u64,
    /// Verdicts that were made.
    pub misses: u64,
    /// Entries that were dropped for want of space.
    pub evictions: u64,
    /// Entries that are there.
    pub entries: usize,
    /// The bytes that they take.
    pub bytes: u64,
}

/// A verdict that is kept: the plan and the text to send.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) plan: Arc<Plan>,
    pub(crate) template: Template,
}

/// What stands under a key.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// The verdict.
    Judged(Arc<Judged>),
    /// The verdict depends on these literals.
    Pinned(Arc<[u32]>),
}

type Entries = Cache<Box<[u8]>, Entry, ByBytes, RandomState, Evictions>;

/// The cache.
pub(crate) struct PlanCache {
    entries: Option<Entries>,
    hits: AtomicU64,
    misses: AtomicU64,
    evictions: Arc<AtomicU64>,
}

/// A rough size of a plan's own parts and of the cache's bookkeeping for one entry.
const ENTRY_BYTES: usize = 512;

/// What an entry is expected to take, for the sizing of the shards.
const TYPICAL_BYTES: usize = 2 << 10;

impl PlanCache {
    /// A cache of at most so many bytes; 0 keeps nothing.
    pub(crate) fn new(bytes: usize) -> Self {
        let evictions = Arc::new(AtomicU64::new(0));
        let entries = (bytes > 0).then(|| {
            Cache::with(
                (bytes / TYPICAL_BYTES).max(16),
                bytes as u64,
                ByBytes,
                RandomState::new(),
                Evictions(Arc::clone(&evictions)),
            )
        });
        Self {
            entries,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            evictions,
        }
    }

    /// What stands under a key.
    pub(crate) fn get(&self, key: &[u8]) -> Option<Entry> {
        self.entries.as_ref()?.get(key)
    }

    /// Puts something under a key. An entry too large for its shard is not kept.
    pub(crate) fn insert(&self, key: &[u8], entry: Entry) {
        if let Some(entries) = &self.entries {
            entries.insert(key.into(), entry);
        }
    }

    pub(crate) fn count_hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
            entries: self.entries.as_ref().map_or(0, Cache::len),
            bytes: self.entries.as_ref().map_or(0, Cache::weight),
        }
    }
}

impl fmt::Debug for PlanCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stats().fmt(f)
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Box<[u8]>, Entry> for ByBytes {
    fn weight(&self, key: &Box<[u8]>, entry: &Entry) -> u64 {
        let held = match entry {
            Entry::Judged(judged) => judged.template.bytes() + judged.plan.heap_bytes(),
            Entry::Pinned(pins) => size_of_val(&**pins),
        };
        (ENTRY_BYTES + key.len() + held) as u64
    }
}

#[derive(Clone)]
struct Evictions(Arc<AtomicU64>);

impl Lifecycle<Box<[u8]>, Entry> for Evictions {
    type RequestState = ();

    fn on_evict(&self, _: &mut (), _: Box<[u8]>, _: Entry) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
