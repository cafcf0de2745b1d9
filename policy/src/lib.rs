//! The engine of pgwarden: a statement, the session's facts, the database's catalogue and the
//! client's tenant go in; a verdict comes out.
//!
//! ```text
//!  text ─▶ scan ─▶ shape ──hit──▶ plan ─▶ fill ─▶ Cleared text
//!                    │miss
//!                    ▼
//!  parse ─▶ resolve ─▶ judge ─▶ rewrite ─▶ deparse ─▶ prove ─▶ second reader ─▶ plan (cached)
//! ```
//!
//! The crate is pure: it opens no sockets, reads no files, looks at no clock and spawns nothing.
//! What it lets through gives exactly what PostgreSQL gives under forced row level security; all
//! else is a [`Denial`]. [`Engine::judge`] is the one decision function of every path.

// A position in a text may lie within a character; tests know their texts.
#![cfg_attr(not(test), warn(clippy::string_slice))]

mod bind;
pub mod builtin;
mod cache;
pub mod catalog;
mod clock;
pub mod copy;
pub mod deny;
pub mod engine;
mod judge;
mod kind;
mod limits;
mod lookup;
pub mod migration;
mod needed;
mod newer;
mod observe;
mod parse;
pub mod plan;
mod positions;
mod prove;
mod recent;
mod rewrite;
pub mod rewriting;
pub mod rules;
mod scan;
pub mod scopes;
pub mod script;
mod second_reader;
pub mod session;
mod shape;
mod spelling;
mod template;
pub mod temporary;
pub mod tenant;
#[cfg(test)]
mod testing;
mod tree;
mod verdict;

pub use cache::CacheStats;
pub use catalog::Catalog;
pub use clock::reads_clock;
pub use deny::{Denial, DenyReason};
pub use engine::{Cleared, Engine, Request, Scratch};
pub use lookup::Lookup;
pub use parse::parse;
pub use plan::{Effect, Observed, Plan, StatementKind, Verdict};
pub use rules::Policy;
pub use session::{Protocol, SessionFacts};
pub use tenant::{ScopeValue, ScopeValues, ValueType};
