//! What a foreign key does beside checking, as SQL: one that takes another's place goes on with it.

use crate::audit::snapshot::Constraint;

/// What it does when the parent's key changes. `None` when a key with the tenant in it can't do
/// that: the tenant can't be left alone there.
pub(super) fn updated(key: &Constraint) -> Option<&'static str> {
    match key.on_update {
        'a' => Some(""),
        'r' => Some(" ON UPDATE RESTRICT"),
        'c' => Some(" ON UPDATE CASCADE"),
        _ => None,
    }
}

/// When it is checked: who inserts a circle at once relies on it.
pub(super) fn timing(key: &Constraint) -> &'static str {
    match (key.deferrable, key.deferred) {
        (true, true) => " DEFERRABLE INITIALLY DEFERRED",
        (true, false) => " DEFERRABLE",
        (false, _) => "",
    }
}
