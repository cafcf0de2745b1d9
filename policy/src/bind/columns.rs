//! Which columns a claim can be compared with, and what they may lose of it.
//!
//! A claim is compared as `uuid`, `bigint` or `text`. For each of the types below, and for domains over
//! them, pg_catalog has one operator that the server takes for that comparison, whatever else is there: of
//! a domain it looks at the type under it, and `text` is the preferred type of all that are strings.
//!
//! Some of them keep less than they are given, without an error: `char(n)` and `varchar(n)` cut blanks
//! beyond their length, which `char(n)` does not compare either, and `name` cuts what is beyond 63 bytes. Such a
//! value would be stored as another tenant's. Row level security looks at what is stored and refuses it;
//! here the claim itself is refused.

use std::collections::HashMap;

use super::{Binder, Guard, Guarded, Key};
use crate::catalog::{Catalog, Oid, Relation};
use crate::tenant::ValueType;

const CHAR: Oid = 1042;
const VARCHAR: Oid = 1043;
const NAME: Oid = 19;

/// What `name` holds (`NAMEDATALEN` less its end).
const NAME_MAX: usize = 63;

/// Whether a column of this type compares with a claim of that one.
pub(crate) fn fits(catalog: &Catalog, value_type: ValueType, column: Oid) -> bool {
    let column = catalog.base_type(column);
    match value_type {
        ValueType::Uuid => column == 2950,
        ValueType::Bigint => matches!(column, 20 | 21 | 23),
        ValueType::Text => matches!(column, 25 | CHAR | VARCHAR | NAME),
    }
}

/// What a column may lose of a text that it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cut {
    /// Blanks at its end.
    blanks: bool,
    /// What is beyond 63 bytes.
    long: bool,
}

impl Cut {
    fn of(column: Oid) -> Self {
        Self {
            blanks: matches!(column, CHAR | VARCHAR),
            long: column == NAME,
        }
    }

    fn or(self, other: Self) -> Self {
        Self {
            blanks: self.blanks || other.blanks,
            long: self.long || other.long,
        }
    }

    /// Whether nothing of this text would be lost.
    pub(crate) fn keeps(self, text: &str) -> bool {
        !(self.blanks && text.ends_with(' ') || self.long && text.len() > NAME_MAX)
    }
}

impl Binder<'_> {
    /// Notes what the columns of each claim may lose.
    pub(super) fn note_cuts(&mut self, guarded: &HashMap<Oid, Guarded>) {
        for relation in &self.catalog.parts().relations {
            let keys = match guarded.get(&relation.oid).map(|it| &it.guard) {
                Some(Guard::Keys(keys) | Guard::View(keys)) => keys,
                _ => continue,
            };
            for key in keys.iter().filter(|key| key.via.is_none()) {
                self.note_cut(relation, key);
            }
        }
    }

    fn note_cut(&mut self, relation: &Relation, key: &Key) {
        let Some(column) = relation.column(&key.column) else {
            return;
        };
        let cut = Cut::of(self.catalog.base_type(column.type_oid));
        if let Some(slot) = self.slots.get_mut(key.slot) {
            slot.cut = slot.cut.or(cut);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_would_cut_is_not_kept() {
        let [text, char, varchar, name] = [25, CHAR, VARCHAR, NAME].map(Cut::of);
        let long = "x".repeat(NAME_MAX + 1);
        for (cut, blanks, longer) in [
            (text, true, true),
            (char, false, true),
            (varchar, false, true),
            (name, true, false),
            (char.or(name), false, false),
        ] {
            assert!(cut.keeps("north") && cut.keeps(" n o"));
            assert_eq!(cut.keeps("north "), blanks);
            assert_eq!(cut.keeps(&long), longer);
        }
    }
}
