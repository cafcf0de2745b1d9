//! The name of a prepared statement on a server connection.
//!
//! One is made for each Parse and Query that comes, to ask whether it is there. So it takes no allocation.

use std::fmt::{self, Write};
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Deref;
use std::sync::LazyLock;

use super::statements::Under;

/// How names begin on the server that the client never gave.
const PREFIX: &str = "pgwarden_";

const BYTES_MAX: usize = PREFIX.len() + 2 * HASH_DIGITS;
const HASH_DIGITS: usize = 2 * size_of::<u64>();

/// A name, or the empty one of the unnamed statement.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name {
    length: u8,
    bytes: [u8; BYTES_MAX],
}

impl Default for Name {
    fn default() -> Self {
        Self {
            length: 0,
            bytes: [0; BYTES_MAX],
        }
    }
}

impl Name {
    /// One that a session counts by itself.
    pub(crate) fn numbered(number: u64) -> Self {
        Self::written(format_args!("{PREFIX}{number}"))
    }

    fn hashed(what: impl Hash) -> Self {
        static KEYS: LazyLock<[RandomState; 2]> =
            LazyLock::new(|| [RandomState::new(), RandomState::new()]);
        let [first, second] = KEYS.each_ref().map(|keys| keys.hash_one(&what));
        Self::written(format_args!("{PREFIX}{first:016x}{second:016x}"))
    }

    fn written(text: fmt::Arguments<'_>) -> Self {
        let mut name = Self::default();
        // The longest that there is has room.
        let _ = name.write_fmt(text);
        name
    }
}

impl Write for Name {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let start = usize::from(self.length);
        let end = start + text.len();
        let room = self.bytes.get_mut(start..end).ok_or(fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = u8::try_from(end).map_err(|_| fmt::Error)?;
        Ok(())
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length));
        // Only whole texts are written into it.
        std::str::from_utf8(bytes.unwrap_or_default()).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
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
    under: Under,
    whose: Option<(u64, u64)>,
) -> Name {
    Name::hashed((text, types, search_path, catalog, under, whose))
}

/// The name of a statement that has a name, prepared under other settings.
pub(crate) fn name_under(name: &str, under: Under) -> Name {
    Name::hashed((name, under))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_statement_is() {
        let path = vec!["public".to_owned()];
        let under = Under::Settings(1);
        let of = |text, types, path, catalog| name_of(text, types, path, catalog, under, None);
        let name = of("SELECT $1", &[25], &path, (1, 0));
        assert_eq!(name, of("SELECT $1", &[25], &path, (1, 0)));
        assert_ne!(name, of("SELECT $1", &[23], &path, (1, 0)));
        assert_ne!(name, of("SELECT $2", &[25], &path, (1, 0)));
        assert_ne!(name, of("SELECT $1", &[25], &[], (1, 0)));
        assert_ne!(name, of("SELECT $1", &[25], &path, (2, 0)));
        assert_ne!(name, of("SELECT $1", &[25], &path, (1, 1)));
        let own = |changes| {
            let session = 1;
            let under = Under::Own { session, changes };
            name_of("SELECT $1", &[25], &path, (1, 0), under, None)
        };
        assert_eq!(own(1), own(1));
        assert_ne!(own(1), own(2));
        assert_ne!(own(1), name);
    }

    #[test]
    fn a_name_is_whole() {
        let name = name_under("pgwarden_1", Under::Settings(1));
        let digits = name.strip_prefix(PREFIX).expect("the prefix");
        assert_eq!(digits.len(), 2 * HASH_DIGITS);
        assert!(u128::from_str_radix(digits, 16).is_ok());
        assert_eq!(&*Name::numbered(7), "pgwarden_7");
        let last = Name::numbered(u64::MAX);
        assert_eq!(&*last, "pgwarden_18446744073709551615");
        assert_eq!(&*Name::default(), "");
    }
}
