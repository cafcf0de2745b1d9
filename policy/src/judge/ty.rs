//! What is known of a value's type.

use crate::catalog::Oid;

/// `oid` of text.
pub(super) const TEXT: Oid = 25;

/// What is known of a value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ty {
    /// Nothing.
    #[default]
    Unknown,
    /// One of pg_catalog's.
    Builtin,
    /// A literal or parameter without a type of its own: it takes the other operand's.
    Adaptable,
    /// This type.
    Known(Oid),
}

impl Ty {
    /// What is left of the type behind a query's border: a literal is text there.
    pub(super) fn behind_border(self) -> Self {
        match self {
            Self::Adaptable => Self::Known(TEXT),
            Self::Unknown | Self::Builtin | Self::Known(_) => self,
        }
    }
}
