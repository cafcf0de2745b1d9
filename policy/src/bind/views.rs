//! The stored queries of views, parsed once for each catalogue.
//!
//! A view that clients may read is read as its query: the judge puts the guarded query in the view's
//! place, and the proof compares it with the one that is kept here. A query that can't be read, or
//! that is longer than any sensible one, is left out, and its view is denied.

use std::collections::HashMap;

use pg_query::NodeEnum;
use pg_query::protobuf::SelectStmt;

use crate::catalog::{Catalog, Oid, Relation, RelationKind};
use crate::limits;
use crate::parse;
use crate::scan::Scan;
use crate::tree::{self, Node};

/// How deep views may stand on views.
const GENERATIONS: u8 = 16;

/// A view's query.
#[derive(Debug)]
pub(crate) struct View {
    /// The query, to be judged.
    pub(crate) query: SelectStmt,
    /// The same, for the proof.
    tree: Node,
    /// Whether the view promises that no condition runs before its own (`security_barrier`).
    pub(crate) barrier: bool,
    tokens: usize,
}

/// All that can be read.
#[derive(Debug, Default)]
pub(crate) struct Views {
    queries: HashMap<Oid, View>,
    tokens: usize,
}

impl Views {
    /// Reads the views of a catalogue, those of extensions and the system excepted.
    pub(crate) fn read(catalog: &Catalog) -> Self {
        let relations = catalog.parts().relations.iter();
        let own = relations.filter(|it| it.kind == RelationKind::View && it.extension.is_none());
        let read = |relation: &Relation| Some((relation.oid, View::read(relation)?));
        let queries: HashMap<Oid, View> = own.filter_map(read).collect();
        let tokens = |oid: &Oid| tokens(catalog, &queries, *oid, GENERATIONS);
        Self {
            tokens: queries.keys().map(tokens).max().unwrap_or(0),
            queries,
        }
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.queries.is_empty()
    }

    /// The query of a view.
    pub(crate) fn of(&self, view: Oid) -> Option<&View> {
        self.queries.get(&view)
    }

    /// The tokens by which a statement may nest deeper than its text shows.
    pub(crate) fn tokens(&self) -> usize {
        self.tokens
    }
}

/// The tokens of a view and of the longest that it stands on.
fn tokens(catalog: &Catalog, queries: &HashMap<Oid, View>, view: Oid, generations: u8) -> usize {
    let (Some(query), true) = (queries.get(&view), generations > 0) else {
        return 0;
    };
    let below = catalog.relation_by_oid(view).map(|it| &it.depends_on);
    let below = below.into_iter().flatten();
    let longest = below.map(|oid| tokens(catalog, queries, *oid, generations - 1));
    query.tokens + longest.max().unwrap_or(0)
}

impl View {
    fn read(relation: &Relation) -> Option<Self> {
        let text = relation.definition.as_deref()?;
        let mut scan = Scan::default();
        limits::check_text(text, limits::LONGEST_VIEW).ok()?;
        scan.read(text).ok()?;
        limits::check_tokens(&scan).ok()?;
        limits::with_stack(&scan, 0, || {
            let mut parsed = parse::parse(text).ok()?;
            let tree = tree::of(&parsed).ok()?;
            let only = parsed.stmts.pop().filter(|_| parsed.stmts.is_empty())?;
            match only.stmt?.node? {
                NodeEnum::SelectStmt(query) => Some(Self {
                    query: *query,
                    tree,
                    barrier: relation.security_barrier,
                    tokens: scan.tokens.len(),
                }),
                _ => None,
            }
        })
    }

    /// The query as the proof reads it.
    pub(crate) fn tree(&self) -> Option<&Node> {
        let [only] = self.tree.list("stmts") else {
            return None;
        };
        only.as_node()?.node("stmt")
    }
}
