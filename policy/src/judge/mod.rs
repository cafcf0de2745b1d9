//! The judge (a stub until it lands).

use pg_query::protobuf::ParseResult;

use crate::deny::{Denial, DenyReason};
use crate::engine::Request;
use crate::plan::{BindCheck, Effect, RelationUse, StatementKind, Verdict};
use crate::tenant::ValueType;

/// A key that scopes a relation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) column: String,
    pub(crate) slot: usize,
    pub(crate) value_type: ValueType,
}

/// What a RangeVar is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "the stub decides nothing"))]
pub(crate) enum Decision {
    Cte,
    Relation {
        schema: String,
        name: String,
        scoped: Vec<Key>,
    },
}

/// What the judge found.
#[derive(Debug)]
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
    pub(crate) kind: StatementKind,
    pub(crate) statements: usize,
    pub(crate) hidden: Vec<usize>,
    pub(crate) checks: Vec<BindCheck>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) relations: Vec<RelationUse>,
    pub(crate) pinned: Vec<i32>,
    pub(crate) decisions: Vec<(i32, Decision)>,
    pub(crate) changed: bool,
}

/// What the policy means in this database.
#[derive(Debug)]
pub(crate) struct Bound;

/// A judge.
pub(crate) type Judge = fn(&Bound, &Request<'_>, u16, &mut ParseResult) -> Result<Findings, Denial>;

pub(crate) fn judge(
    _: &Bound,
    _: &Request<'_>,
    _: u16,
    _: &mut ParseResult,
) -> Result<Findings, Denial> {
    Err(Denial::new(
        DenyReason::UnsupportedStatement,
        "statement is not supported yet",
    ))
}
