//! The prepared statements of a server connection that are known by their texts.
//!
//! A statement's name there says what it is: a keyed hash of its text and types, of the
//! `search_path` and the state of the catalogue that it was judged under, and of the settings that
//! it was parsed under. So all clients that prepare the same share one statement, whatever they call
//! it; the tenant is a parameter. The least recently used are closed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// So many texts are remembered as having come once, so many of them for the same hashes.
const SEEN_MAX: usize = 256;
const SEEN_WAYS: usize = 4;

/// A server connection has so many prepared statements, at most.
const STATEMENTS_MAX: usize = 256;

/// The settings that a statement is parsed and planned under. The server reads literals when it
/// parses (a `timestamptz` by `TimeZone`, a `date` by `DateStyle`) and chooses a plan by others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Under {
    /// Those with this hash, which any session may have.
    Settings(u64),
    /// Those of one session, which has changed some since the server last told them.
    Own { session: u64, changes: u64 },
}

/// What there is to do before a statement can be used.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// It is there.
    Nothing,
    /// It must be prepared, after the other was closed.
    Prepare(Option<Arc<str>>),
}

/// The statements that are there once everything that was sent is worked off.
#[derive(Debug, Default)]
pub(crate) struct Prepared {
    known: HashMap<Arc<str>, Entry>,
    clock: u64,
    /// Hashes of names that were asked for once, the last first among those of a place.
    seen: Box<[u64]>,
}

#[derive(Debug)]
struct Entry {
    /// When it was last used; 0 for one that no other session can use, which is the first to go.
    used: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Prepared when somebody's function may have changed settings: good until the connection is
    /// swept of them.
    Stray,
    /// It must be prepared again before it is used.
    Stale,
}

impl Prepared {
    /// A statement is about to be used; if need be, it counts as prepared from now on, under
    /// settings that may be others than those of its name when it is a `stray`.
    pub(crate) fn need(&mut self, name: &str, under: Under, stray: bool) -> Need {
        if self.is_ready(name) {
            return Need::Nothing;
        }
        let entry = Entry {
            used: match under {
                Under::Settings(_) => self.clock,
                Under::Own { .. } => 0,
            },
            state: if stray { State::Stray } else { State::Good },
        };
        if let Some(stale) = self.known.get_mut(name) {
            *stale = entry;
            return Need::Prepare(Some(name.into()));
        }
        let full = self.known.len() >= STATEMENTS_MAX;
        let oldest = self.known.iter().min_by_key(|(_, entry)| entry.used);
        let oldest = oldest.filter(|_| full).map(|(name, _)| Arc::clone(name));
        if let Some(oldest) = &oldest {
            self.known.remove(oldest);
        }
        self.known.insert(name.into(), entry);
        Need::Prepare(oldest)
    }

    /// Whether it can be used as it is; then this counts as a use.
    pub(crate) fn is_ready(&mut self, name: &str) -> bool {
        self.clock += 1;
        match self.known.get_mut(name) {
            Some(entry) if entry.state != State::Stale => {
                if entry.used > 0 {
                    entry.used = self.clock;
                }
                true
            }
            Some(_) | None => false,
        }
    }

    /// Whether a name was asked for before: what comes once only is not worth a statement that stays.
    pub(crate) fn comes_again(&mut self, name: &str) -> bool {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        if self.known.contains_key(name) {
            return true;
        }
        if self.seen.is_empty() {
            self.seen = vec![0; SEEN_MAX].into_boxed_slice();
        }
        let hash = KEYS.hash_one(name);
        let places = (SEEN_MAX / SEEN_WAYS) as u64;
        let place = usize::try_from(hash % places).unwrap_or_default();
        let Some(seen) = self.seen.chunks_exact_mut(SEEN_WAYS).nth(place) else {
            return false;
        };
        if seen.contains(&hash) {
            return true;
        }
        seen.rotate_right(1);
        if let Some(first) = seen.first_mut() {
            *first = hash;
        }
        false
    }

    /// It could not be prepared.
    pub(crate) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// It was not closed after all.
    pub(crate) fn restore(&mut self, name: Arc<str>) {
        let (used, state) = (0, State::Stale);
        self.known.insert(name, Entry { used, state });
    }

    /// It must be prepared again before it is used.
    pub(crate) fn distrust_one(&mut self, name: &str) {
        if let Some(entry) = self.known.get_mut(name) {
            entry.state = State::Stale;
        }
    }

    /// Something that they depend on has changed: each is prepared again before it is used.
    pub(crate) fn distrust(&mut self) {
        for entry in self.known.values_mut() {
            entry.state = State::Stale;
        }
    }

    /// The connection is swept of settings that nobody knows.
    pub(crate) fn distrust_strays(&mut self) {
        for entry in self.known.values_mut() {
            if entry.state == State::Stray {
                entry.state = State::Stale;
            }
        }
    }

    /// None is left.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: Under = Under::Settings(1);

    #[test]
    fn the_least_recently_used_is_closed() {
        let mut prepared = Prepared::default();
        for at in 0..STATEMENTS_MAX {
            let name = at.to_string();
            assert_eq!(prepared.need(&name, SHARED, false), Need::Prepare(None));
        }
        assert_eq!(prepared.need("0", SHARED, false), Need::Nothing);
        let evicts = |name: &str| Need::Prepare(Some(name.into()));
        assert_eq!(prepared.need("new", SHARED, false), evicts("1"));
        assert!(!prepared.is_ready("1") && prepared.is_ready("0"));
        // What only one session can use goes before what all can.
        let own = Under::Own {
            session: 1,
            changes: 1,
        };
        assert_eq!(prepared.need("own", own, false), evicts("2"));
        assert!(prepared.is_ready("own"));
        assert_eq!(prepared.need("newer", SHARED, false), evicts("own"));
    }

    #[test]
    fn what_comes_once_is_not_remembered_for_long() {
        let mut prepared = Prepared::default();
        assert!(!prepared.comes_again("a") && prepared.comes_again("a"));
        for at in 0..100 * SEEN_MAX {
            assert!(!prepared.comes_again(&at.to_string()));
        }
        assert!(!prepared.comes_again("a"));
        prepared.need("b", SHARED, false);
        assert!(prepared.comes_again("b"));
    }

    #[test]
    fn a_stale_statement_is_closed_and_prepared_again() {
        let mut prepared = Prepared::default();
        let again = |name: &str| Need::Prepare(Some(name.into()));
        prepared.need("a", SHARED, false);
        prepared.distrust();
        assert_eq!(prepared.need("a", SHARED, false), again("a"));
        assert_eq!(prepared.need("a", SHARED, false), Need::Nothing);
        prepared.restore("b".into());
        assert_eq!(prepared.need("b", SHARED, false), again("b"));
        prepared.remove("b");
        assert_eq!(prepared.need("b", SHARED, false), Need::Prepare(None));
    }

    #[test]
    fn what_was_prepared_under_unknown_settings_ends_with_them() {
        let mut prepared = Prepared::default();
        prepared.need("good", SHARED, false);
        prepared.need("stray", SHARED, true);
        assert!(prepared.is_ready("stray"));
        prepared.distrust_strays();
        assert!(prepared.is_ready("good") && !prepared.is_ready("stray"));
    }
}
