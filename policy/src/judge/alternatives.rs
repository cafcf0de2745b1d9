//! Expressions of which the server takes one, and brings all to one type.

use super::compare;
use super::expression::{Facts, computed};
use super::names::Ty;

/// The results of CASE, COALESCE or ARRAY[]. Where their types differ they are cast to one of them,
/// and such a cast may refuse a value (a date that no timestamp can hold).
#[derive(Debug, Default)]
pub(super) struct Alternatives {
    facts: Facts,
    pub(super) types: Vec<Ty>,
    ty: Option<Ty>,
    mixed: bool,
}

impl Alternatives {
    pub(super) fn add(&mut self, one: Facts) {
        self.facts.absorb(&one);
        self.types.push(one.ty);
        self.ty = match (self.ty, one.ty) {
            (None | Some(Ty::Adaptable), ty) => Some(ty),
            (known, Ty::Adaptable) => known,
            (Some(known), ty) => {
                self.mixed |= !compare::one_family(known, ty);
                Some(known)
            }
        };
    }

    /// The facts of what is brought to one type.
    pub(super) fn facts(self) -> Facts {
        if self.mixed {
            self.facts.risky()
        } else {
            computed(self.facts)
        }
    }

    /// The facts of what stays as it is.
    pub(super) fn parts(self) -> Facts {
        self.facts
    }
}
