//! DETAIL of constraint errors: it shows values of a row, and under row level security PostgreSQL leaves them out.
//!
//! It stays where the error's own fields name a table that holds nothing of a tenant, and that refers to none that does.
//! Only errors that the server's own checks raise are believed: what a function of somebody's raises may name any table, and
//! tell of another.

use std::borrow::Cow;

use pgwarden_policy::Engine;

use crate::wire::report;

/// The class of integrity constraint violations.
const CONSTRAINT_CLASS: &[u8] = b"23";
/// A row that a view's WITH CHECK OPTION refuses.
const CHECK_OPTION: &[u8] = b"44000";
/// What raises the errors of foreign keys.
const FOREIGN_KEY: &[u8] = b"ri_ReportViolation";
/// What begins their DETAIL.
const KEY: &[u8] = b"Key ";

/// Where the server raises constraint errors whose table and schema are those of the row.
const ROUTINES: &[&[u8]] = &[
    b"_bt_check_unique",
    b"check_exclusion_or_unique_constraint",
    b"comparetup_index_btree",
    b"comparetup_index_btree_tiebreak",
    FOREIGN_KEY,
    b"ExecConstraints",
    b"ReportNotNullViolationError",
    b"ExecPartitionCheckEmitError",
    b"ExecFindPartition",
];

/// How DETAIL goes on behind the values, where a foreign key is violated. PostgreSQL says no more than this where
/// the values are not for the session.
const WITHOUT_VALUES: &[&[u8]] = &[
    b"is not present in table \"",
    b"is still referenced from table \"",
    b"is referenced from table \"",
];

/// What a client may see of an error's DETAIL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shown {
    All,
    /// Of a foreign key only which table it is about.
    Table,
    Nothing,
}

impl Shown {
    /// Of an error whose constraint's values are not for everybody, unless they show to be.
    pub(super) fn of(engine: &Engine, sqlstate: &[u8], body: &[u8]) -> Self {
        if sqlstate == CHECK_OPTION {
            return Self::Nothing;
        }
        if !sqlstate.starts_with(CONSTRAINT_CLASS) {
            return Self::All;
        }
        let routine = report::field(body, b'R').unwrap_or_default();
        if !ROUTINES.contains(&routine) {
            return Self::Nothing;
        }
        let text = |code| report::field(body, code).and_then(|it| std::str::from_utf8(it).ok());
        let named = text(b's').zip(text(b't'));
        match named.is_some_and(|(schema, table)| engine.tells_of_no_tenant(schema, table)) {
            true => Self::All,
            false if routine == FOREIGN_KEY => Self::Table,
            false => Self::Nothing,
        }
    }

    /// What is left of it.
    pub(super) fn detail<'a>(self, detail: &'a [u8]) -> Option<Cow<'a, [u8]>> {
        match self {
            Self::All => Some(detail.into()),
            Self::Table => without_values(detail),
            Self::Nothing => None,
        }
    }
}

/// A foreign key's DETAIL without the values, if it is in words that are known. The values end before the last of these
/// words: what follows them is a table's name, and nothing else.
fn without_values<'a>(detail: &[u8]) -> Option<Cow<'a, [u8]>> {
    let begins = WITHOUT_VALUES.iter().filter_map(|words| {
        let mut places = detail.windows(words.len());
        places.rposition(|window| window == *words)
    });
    let tail = detail.get(begins.max()?..)?;
    let known = detail.starts_with(KEY) && tail.ends_with(b"\".");
    known.then(|| [KEY, tail].concat().into())
}

#[cfg(test)]
mod tests {
    use super::without_values;

    fn told(detail: &str) -> Option<String> {
        let told = without_values(detail.as_bytes())?;
        Some(String::from_utf8_lossy(&told).into_owned())
    }

    #[test]
    fn only_the_table_stays_of_a_foreign_key() {
        let detail = "Key (lead_id)=(7) is not present in table \"leads\".";
        let without = "Key is not present in table \"leads\".";
        assert_eq!(told(detail).as_deref(), Some(without));
        let value =
            "Key (a)=(x) is not present in table \"y\".) is still referenced from table \"t\".";
        let without = "Key is still referenced from table \"t\".";
        assert_eq!(told(value).as_deref(), Some(without));
    }

    #[test]
    fn what_has_no_such_words_is_left_out() {
        assert_eq!(told("Key (id)=(7) already exists."), None);
        assert_eq!(
            told("Schlüssel (id)=(7) ist nicht in Tabelle »t« vorhanden."),
            None
        );
        assert_eq!(told(""), None);
    }
}
