//! A statement as the rewriter wrote it, before anything is proven of it.
//!
//! The proof is worth what it refuses. This lets the mutation suite break a rewritten text on
//! purpose, and ask whether the proof would take the broken one in its place, or the whole one with what the judge
//! claims beside it made wrong (`misclaim`). Nothing that is made
//! here can be sent: only [`Engine::judge`](crate::Engine::judge) makes a `Cleared`.

mod misclaim;

pub use misclaim::Misclaim;

use crate::deny::{Denial, DenyReason};
use crate::judge::{Findings, Views};
use crate::prove::{Claims, prove};
use crate::rules::Ddl;
use crate::scan::Scan;
use crate::tree::{self, Node};
use crate::{limits, parse};

/// A rewritten statement.
pub struct Rewriting<'a> {
    /// The text, with the session's values as parameters behind the client's own.
    pub text: String,
    /// The number of the client's own parameters.
    pub own: u16,
    pub(crate) original: Node,
    pub(crate) findings: Findings,
    pub(crate) lookups: Lookups<'a>,
}

impl std::fmt::Debug for Rewriting<'_> {
    /// Leaves the text and its tree out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rewriting")
            .field("own", &self.own)
            .finish_non_exhaustive()
    }
}

/// What the proof may look up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookups<'a> {
    pub(crate) catalog: &'a crate::Catalog,
    pub(crate) views: &'a Views,
    pub(crate) values: &'a crate::ScopeValues,
    pub(crate) facts: &'a crate::SessionFacts,
    /// The types that the client declares for its parameters.
    pub(crate) declared: &'a [u32],
    /// What the policy says of DDL.
    pub(crate) ddl: Ddl,
    /// What it says of LOCK.
    pub(crate) lock: bool,
    /// The channels that it lists.
    pub(crate) channels: &'a [String],
}

impl<'a> Lookups<'a> {
    /// The judge's findings, to be proven.
    pub(crate) fn claims<'c>(&self, own: u16, findings: &'c Findings) -> Claims<'c>
    where
        'a: 'c,
    {
        Claims {
            findings,
            own,
            catalog: self.catalog,
            views: self.views,
            values: self.values,
            declared: self.declared,
            search_path: &self.facts.search_path,
            temporaries: &self.facts.temporaries,
            enforce: self.facts.enforce,
            ddl: self.facts.ddl.unwrap_or(self.ddl) == Ddl::Unscoped,
            lock: self.facts.lock.unwrap_or(self.lock),
            channels: self.channels,
        }
    }
}

impl Rewriting<'_> {
    /// The slots of the session's values, in the order of their parameters.
    pub fn hidden(&self) -> &[usize] {
        &self.findings.hidden
    }

    /// Whether a text would be taken for the rewritten statement.
    ///
    /// # Errors
    /// A syntax error, or `proof_failed`.
    pub fn proves(&self, text: &str) -> Result<(), Denial> {
        let mut scan = Scan::default();
        scan.read(text)?;
        limits::with_stack(&scan, self.lookups.views.tokens(), || {
            let parsed = parse::parse(text)?;
            let tree = tree::of(&parsed).map_err(|_| unreadable())?;
            let claims = self.lookups.claims(self.own, &self.findings);
            prove(&self.original, &tree, claims).map(drop)
        })
    }
}

fn unreadable() -> Denial {
    Denial::new(DenyReason::ProofFailed, "the tree can't be read")
}
