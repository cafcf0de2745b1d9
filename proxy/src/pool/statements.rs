//! The prepared statements of a server connection in transaction mode.
//!
//! A statement's name there says what it is: a keyed hash of its text and types, and of the
//! `search_path` and the state of the catalogue that it was judged under. So all clients that prepare the same share one statement,
//! whatever they call it; the tenant is a parameter. The least recently used are closed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

/// A server connection has so many prepared statements, at most.
const STATEMENTS_MAX: usize = 256;

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
    /// With when they were used, and whether they are stale.
    known: HashMap<Arc<str>, (u64, bool)>,
    clock: u64,
}

impl Prepared {
    /// A statement is about to be used; if need be, it counts as prepared from now on.
    pub(crate) fn need(&mut self, name: &str) -> Need {
        self.clock += 1;
        match self.known.get_mut(name) {
            Some((used, false)) => {
                *used = self.clock;
                return Need::Nothing;
            }
            Some((used, stale)) => {
                (*used, *stale) = (self.clock, false);
                return Need::Prepare(Some(name.into()));
            }
            None => {}
        }
        let full = self.known.len() >= STATEMENTS_MAX;
        let oldest = self.known.iter().min_by_key(|(_, (used, _))| *used);
        let oldest = oldest.filter(|_| full).map(|(name, _)| Arc::clone(name));
        if let Some(oldest) = &oldest {
            self.known.remove(oldest);
        }
        self.known.insert(name.into(), (self.clock, false));
        Need::Prepare(oldest)
    }

    /// Whether it can be used as it is; then this counts as a use.
    pub(crate) fn is_ready(&mut self, name: &str) -> bool {
        self.clock += 1;
        match self.known.get_mut(name) {
            Some((used, false)) => {
                *used = self.clock;
                true
            }
            Some((_, true)) | None => false,
        }
    }

    /// It could not be prepared.
    pub(crate) fn remove(&mut self, name: &str) {
        self.known.remove(name);
    }

    /// It was not closed after all.
    pub(crate) fn restore(&mut self, name: Arc<str>) {
        self.known.insert(name, (0, true));
    }

    /// It must be prepared again before it is used.
    pub(crate) fn distrust_one(&mut self, name: &str) {
        if let Some((_, stale)) = self.known.get_mut(name) {
            *stale = true;
        }
    }

    /// Something that they depend on has changed: each is prepared again before it is used.
    pub(crate) fn distrust(&mut self) {
        for (_, stale) in self.known.values_mut() {
            *stale = true;
        }
    }

    /// None is left.
    pub(crate) fn clear(&mut self) {
        self.known.clear();
    }
}

/// The name of a statement, which nobody outside can find another statement for; `catalog` counts the
/// states of the catalogue and the DDL that went through, which the server's parameter types may
/// be of before; `whose` is set for one that is not to be shared.
///
/// Who prepares it after DDL gets another than who did before: what the latter may not see (`cached
/// plan must not change result type`) is right for the former.
pub(crate) fn name_of(
    text: &str,
    types: &[u32],
    search_path: &[String],
    catalog: (u64, u64),
    whose: Option<(u64, u64)>,
) -> Box<str> {
    static KEYS: LazyLock<[RandomState; 2]> =
        LazyLock::new(|| [RandomState::new(), RandomState::new()]);
    let [first, second] = KEYS
        .each_ref()
        .map(|keys| keys.hash_one((text, types, search_path, catalog, whose)));
    format!("pgwarden_{first:016x}{second:016x}").into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_statement_is() {
        let path = vec!["public".to_owned()];
        let name = name_of("SELECT $1", &[25], &path, (1, 0), None);
        assert_eq!(name, name_of("SELECT $1", &[25], &path, (1, 0), None));
        assert_ne!(name, name_of("SELECT $1", &[23], &path, (1, 0), None));
        assert_ne!(name, name_of("SELECT $2", &[25], &path, (1, 0), None));
        assert_ne!(name, name_of("SELECT $1", &[25], &[], (1, 0), None));
        assert_ne!(name, name_of("SELECT $1", &[25], &path, (2, 0), None));
        assert_ne!(name, name_of("SELECT $1", &[25], &path, (1, 1), None));
    }

    #[test]
    fn the_least_recently_used_is_closed() {
        let mut prepared = Prepared::default();
        for at in 0..STATEMENTS_MAX {
            assert_eq!(prepared.need(&at.to_string()), Need::Prepare(None));
        }
        assert_eq!(prepared.need("0"), Need::Nothing);
        assert_eq!(prepared.need("new"), Need::Prepare(Some("1".into())));
        assert!(!prepared.is_ready("1") && prepared.is_ready("0"));
    }

    #[test]
    fn a_stale_statement_is_closed_and_prepared_again() {
        let mut prepared = Prepared::default();
        prepared.need("a");
        prepared.distrust();
        assert_eq!(prepared.need("a"), Need::Prepare(Some("a".into())));
        assert_eq!(prepared.need("a"), Need::Nothing);
        prepared.restore("b".into());
        assert_eq!(prepared.need("b"), Need::Prepare(Some("b".into())));
        prepared.remove("b");
        assert_eq!(prepared.need("b"), Need::Prepare(None));
    }
}
