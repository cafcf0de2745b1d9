//! What the judge claims of places in the client's text, for the proof to hold the rewriter to.

use super::Key;

/// What a RangeVar of the client's text was resolved to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A relation; the keys that must guard it (none for global and system relations), and the
    /// schema that its name resolved to.
    Relation {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// Its keys.
        scoped: Vec<Key>,
    },
    /// A view, in whose place stands its query; what the names in that were resolved to.
    View {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// By byte location in the stored query.
        inside: Places,
    },
    /// A view that is written to, as it is: one table shown plainly, whose keys it shows under these
    /// names. What the names in its query were resolved to.
    WrittenView {
        /// Its schema.
        schema: String,
        /// Its name.
        name: String,
        /// The table's keys, by the view's columns.
        scoped: Vec<Key>,
        /// By byte location in the stored query.
        inside: Places,
    },
    /// A common table expression in scope.
    Cte,
}

/// A condition that can leak, and what must hold it back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    /// Where it begins.
    pub(crate) at: i32,
    /// The relations, by the place of their names, whose rows it may only see when they are admitted.
    pub(crate) by: Vec<i32>,
}

/// What is claimed of places in a text, for the proof to hold the rewriter to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// For every RangeVar, by byte location.
    pub(crate) decisions: Vec<(i32, Decision)>,
    /// The conditions that must stand behind a barrier. In HAVING no relation holds one back.
    pub(crate) held: Vec<Held>,
    /// The derived tables and CTEs that must be fences, by the place where their queries begin.
    pub(crate) fences: Vec<i32>,
    /// The views that must be fences, by the place of their names.
    pub(crate) fenced_views: Vec<i32>,
    /// The joins with an alias that must be fences, by the place where they begin, and the alias.
    pub(crate) fenced_joins: Vec<(i32, String)>,
}

impl Places {
    /// Whether no condition is claimed to be able to leak.
    pub(crate) fn is_quiet(&self) -> bool {
        self.held.is_empty()
            && self.fences.is_empty()
            && self.fenced_views.is_empty()
            && self.fenced_joins.is_empty()
    }
}
