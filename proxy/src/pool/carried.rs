//! What a server connection carries from one session to the next.
//!
//! A session's *setup* is what must be in force on a server connection before a statement of its
//! runs: its claims, its role and the settings that it has changed. A connection remembers the
//! setup that it carries; where that can't be known (an error or a rollback may have undone it), it
//! carries none, and nothing runs on it until one was set.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, LazyLock};

use super::statements::{Prepared, Under};

/// Settings by name.
pub(crate) type Settings = Vec<(String, String)>;

/// What a session needs to be in force.
#[derive(PartialEq, Eq)]
pub(crate) struct Setup {
    /// Compared first.
    hash: u64,
    /// Of the settings that a statement may be parsed or planned by.
    parsing: u64,
    /// `request.jwt.claims`.
    pub(crate) claims: Box<str>,
    /// The server role.
    pub(crate) role: Option<Box<str>>,
    /// Settings that the session has changed, as the server has told them.
    pub(crate) settings: Settings,
}

impl Setup {
    /// A setup.
    pub(crate) fn new(claims: &str, role: Option<&str>, settings: Settings) -> Arc<Self> {
        static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        let parsing: Vec<_> = settings
            .iter()
            .filter(|(name, _)| !is_of_no_statement(name))
            .collect();
        Arc::new(Self {
            hash: KEYS.hash_one((claims, role, &settings)),
            parsing: KEYS.hash_one(parsing),
            claims: claims.into(),
            role: role.map(Into::into),
            settings,
        })
    }

    /// What statements are parsed under while it is in force.
    pub(crate) fn under(&self) -> Under {
        Under::Settings(self.parsing)
    }
}

/// Settings by which no statement is parsed or planned; of any other it is taken to be. The
/// `search_path` is known to statements by what is effective of it.
pub(crate) fn is_of_no_statement(name: &str) -> bool {
    matches!(
        name,
        "application_name"
            | "client_min_messages"
            | "default_transaction_deferrable"
            | "default_transaction_isolation"
            | "default_transaction_read_only"
            | "idle_in_transaction_session_timeout"
            | "idle_session_timeout"
            | "lock_timeout"
            | "search_path"
            | "statement_timeout"
            | "transaction_timeout"
    )
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Setup({} settings)", self.settings.len())
    }
}

/// What is known of a server connection when no session has it.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// What is in force on it; `None` when that is not known.
    pub(crate) setup: Option<Arc<Setup>>,
    /// The effective `search_path` under the setup.
    pub(crate) search_path: Arc<[String]>,
    /// The state of the catalogue that the `search_path` was asked for in.
    pub(crate) generation: u64,
    /// Settings, or traces of statements, may be left on it: it must be swept before another setup
    /// is put in force.
    pub(crate) unswept: bool,
    /// The setup whose settings were put in force on it and are there still, if any were.
    pub(crate) in_place: Option<Arc<Setup>>,
    /// Somebody's function ran on it since it was swept, which may have changed settings unseen.
    pub(crate) strayed: bool,
    /// A role was put in force on it since it was swept: it stays until another is, or a sweep.
    pub(crate) roled: bool,
    /// A prepared statement may be left on it that nobody knows of: it must be reset whole.
    pub(crate) soiled: bool,
    /// Its prepared statements.
    pub(crate) prepared: Prepared,
}

impl Carried {
    /// Whether a session with this setup can go on at once.
    pub(crate) fn carries(&self, wanted: &Arc<Setup>) -> bool {
        self.setup
            .as_ref()
            .is_some_and(|setup| Arc::ptr_eq(setup, wanted) || setup == wanted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_fits_by_everything_that_is_in_force() {
        let settings = || vec![("timezone".to_owned(), "UTC".to_owned())];
        let setup = Setup::new("{}", Some("r"), settings());
        let carried = Carried {
            setup: Some(Arc::clone(&setup)),
            ..Carried::default()
        };
        assert!(carried.carries(&setup));
        assert!(carried.carries(&Setup::new("{}", Some("r"), settings())));
        assert!(!carried.carries(&Setup::new("{ }", Some("r"), settings())));
        assert!(!carried.carries(&Setup::new("{}", None, settings())));
        assert!(!carried.carries(&Setup::new("{}", Some("r"), Vec::new())));
        assert!(!Carried::default().carries(&setup));
    }

    #[test]
    fn statements_are_shared_where_the_settings_that_they_read_are_equal() {
        let under = |name: &str, value: &str| {
            Setup::new("{}", None, vec![(name.to_owned(), value.to_owned())]).under()
        };
        let none = Setup::new("{ }", Some("r"), Vec::new()).under();
        assert_eq!(under("application_name", "a"), none);
        assert_ne!(under("TimeZone", "UTC"), none);
        assert_ne!(under("TimeZone", "UTC"), under("TimeZone", "Asia/Tokyo"));
        assert_ne!(under("not.known", "1"), none);
    }

    #[test]
    fn claims_are_not_shown() {
        let setup = Setup::new("{\"sub\":\"somebody\"}", None, Vec::new());
        assert_eq!(format!("{setup:?}"), "Setup(0 settings)");
    }
}
