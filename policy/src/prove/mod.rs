//! The proof: the rewritten text, parsed again, against the client's tree.
//!
//! Both trees are walked in step, in their generic form. They must be equal but for the closed list
//! of forms that the rewriter injects, each recognised exactly; every relation must be one that the
//! judge decided on; and every key of a scoped relation must be compared with the session's value
//! in a place that guards it. None of this shares code with the judge or the rewriter. Whatever is
//! not recognised fails the proof, and a failed proof is a denial.
//!
//! The walk also pairs places of the two texts, for error positions and for the plan's holes.

mod assignments;
mod channel;
mod copy;
mod cursor;
mod ddl;
mod described;
mod filter;
mod forms;
mod fresh;
mod insert;
mod insert_select;
mod lock;
mod merge;
mod named;
mod relation;
mod sources;
mod temporary;
mod value;
mod via;
mod view;
mod with;
mod wrapped;
mod written_view;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use self::assignments::Target;
use crate::catalog::Catalog;
use crate::deny::{Denial, DenyReason};
use crate::judge::{Decision, Findings, Held, Places, Views};
use crate::scan::LiteralKind;
use crate::template::Constant;
use crate::temporary::Temporaries;
use crate::tenant::ScopeValues;
use crate::tree::{self, Node, Value, is_location};
use sources::Source;
use value::Untyped;
use with::Ctes;

/// What the judge claims, and what the proof may look up to check it.
#[derive(Clone, Copy)]
pub(crate) struct Claims<'a> {
    /// The judge's findings.
    pub(crate) findings: &'a Findings,
    /// The number of the client's own parameters.
    pub(crate) own: u16,
    /// The types that the client declares for them.
    pub(crate) declared: &'a [u32],
    /// The database.
    pub(crate) catalog: &'a Catalog,
    /// The stored queries of its views.
    pub(crate) views: &'a Views,
    /// The session's values: a written literal must be one of them.
    pub(crate) values: &'a ScopeValues,
    /// The session's search path.
    pub(crate) search_path: &'a [String],
    /// The session's temporary relations.
    pub(crate) temporaries: &'a Temporaries,
    /// Whether relations must be guarded at all: `false` for a break-glass role, whose statements
    /// must then be unchanged.
    pub(crate) enforce: bool,
    /// Whether the session may change what is not scoped.
    pub(crate) ddl: bool,
    /// Whether the session may lock tables in modes that hold up others.
    pub(crate) lock: bool,
    /// The channels that may be notified.
    pub(crate) channels: &'a [String],
}

/// What the walk found beside the proof.
#[derive(Debug, Default)]
pub(crate) struct Paired {
    /// Bytes of the rewritten text and of the client's that mean the same node.
    pub(crate) places: Vec<(i32, i32)>,
    /// The constants of both.
    pub(crate) constants: Vec<Constant>,
}

/// Why a proof failed; for the tests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Gap(&'static str);

type Step = Result<(), Gap>;

fn gap(why: &'static str) -> Step {
    Err(Gap(why))
}

fn need(holds: bool, why: &'static str) -> Step {
    if holds { Ok(()) } else { Err(Gap(why)) }
}

/// Proves that the rewritten tree is the client's, guarded.
///
/// # Errors
/// `proof_failed`: a bug of the rewriter, or an attack that found one.
pub(crate) fn prove(
    original: &Node,
    rewritten: &Node,
    claims: Claims<'_>,
) -> Result<Paired, Denial> {
    walk(original, rewritten, claims).map_err(|Gap(why)| {
        Denial::new(
            DenyReason::ProofFailed,
            format!("rewritten statement could not be proven: {why}"),
        )
        .hint("This is a fault of pgwarden; please report the statement.")
    })
}

/// Whether two trees are equal, locations aside; for tests.
#[cfg(test)]
pub(crate) fn prove_equal(one: &Node, other: &Node) -> Result<(), Denial> {
    let same = one.same(other);
    let failed = || Denial::new(DenyReason::ProofFailed, "trees differ");
    same.then_some(()).ok_or_else(failed)
}

fn walk(original: &Node, rewritten: &Node, claims: Claims<'_>) -> Result<Paired, Gap> {
    let mut walk = Walk {
        claims,
        index: Index::new(claims.findings)?,
        untyped: Untyped::of(original, &claims),
        in_view: false,
        ctes: Ctes::default(),
        levels: Vec::new(),
        at_target: false,
        in_conflict: false,
        seen: HashSet::new(),
        cursors: 0,
        scoped: 0,
        seen_views: HashSet::new(),
        seen_joins: HashSet::new(),
        made: HashSet::new(),
        making: None,
        gone: HashSet::new(),
        going: Vec::new(),
        fresh: fresh::Fresh::default(),
        paired: Paired::default(),
    };
    walk.node(original, rewritten)?;
    walk.all_seen()?;
    walk.all_declared()?;
    named::named(original, claims.findings)?;
    Ok(walk.paired)
}

/// The judge's findings, indexed: a long statement has tens of thousands of each.
struct Index<'a> {
    decisions: HashMap<i32, &'a Decision>,
    pinned: HashSet<i32>,
    checks: HashSet<(i64, usize)>,
    held: HashMap<i32, &'a Held>,
    fences: HashSet<i32>,
    fenced_views: HashSet<i32>,
    fenced_joins: HashSet<(i32, &'a str)>,
}

impl<'a> Index<'a> {
    fn new(findings: &'a Findings) -> Result<Self, Gap> {
        let checks = findings.checks.iter();
        Ok(Self {
            pinned: findings.pinned.iter().copied().collect(),
            checks: checks.map(|c| (c.parameter.into(), c.slot)).collect(),
            ..Self::of(&findings.places)?
        })
    }

    /// What is claimed of a text of which nothing is pinned nor checked.
    fn of(places: &'a Places) -> Result<Self, Gap> {
        let mut decisions = HashMap::with_capacity(places.decisions.len());
        for (at, decision) in &places.decisions {
            let former = decisions.insert(*at, decision);
            let consistent = former.is_none_or(|former| former == decision);
            need(consistent, "a relation was decided on twice")?;
        }
        let mut held = HashMap::with_capacity(places.held.len());
        for claim in &places.held {
            let former = held.insert(claim.at, claim);
            let consistent = former.is_none_or(|former| former == claim);
            need(consistent, "a condition was judged twice")?;
        }
        let joins = places.fenced_joins.iter();
        Ok(Self {
            decisions,
            pinned: HashSet::new(),
            checks: HashSet::new(),
            held,
            fences: places.fences.iter().copied().collect(),
            fenced_views: places.fenced_views.iter().copied().collect(),
            fenced_joins: joins.map(|(at, alias)| (*at, alias.as_str())).collect(),
        })
    }

    /// The barriers and fences that are claimed.
    fn claimed(&self) -> usize {
        self.held.len() + self.fences.len() + self.fenced_views.len() + self.fenced_joins.len()
    }
}

/// The walk's state at a pair of nodes.
struct Walk<'a> {
    claims: Claims<'a>,
    index: Index<'a>,
    /// The parameters whose types are not known from where they are written.
    untyped: Untyped,
    /// The CTEs in scope.
    ctes: Ctes<'a>,
    /// The guardable relations of the queries around, innermost last.
    levels: Vec<Vec<Source<'a>>>,
    /// The name of a written table is looked up: it never means a CTE.
    at_target: bool,
    /// In the query of a view, whose places are not the client's.
    in_view: bool,
    /// In ON CONFLICT DO UPDATE, where `excluded` is the row that was to be inserted.
    in_conflict: bool,
    /// The barriers and fences that were claimed and seen.
    seen: HashSet<i32>,
    /// The cursors that were claimed to lock their rows and seen.
    cursors: usize,
    /// How many names of scoped relations were seen.
    scoped: usize,
    /// The views that were claimed to be fences and seen.
    seen_views: HashSet<i32>,
    /// The joins with an alias that were claimed to be fences and seen.
    seen_joins: HashSet<(i32, &'a str)>,
    /// The temporary tables that the statements before this one make, and the one that this one makes.
    made: HashSet<&'a str>,
    making: Option<&'a str>,
    /// Those that the statements before this one drop, and those that this one drops.
    gone: HashSet<&'a str>,
    going: Vec<&'a str>,
    /// What the statements before this one have done to lasting relations.
    fresh: fresh::Fresh<'a>,
    paired: Paired,
}

impl<'a> Walk<'a> {
    fn value(&mut self, original: &'a Value, rewritten: &'a Value) -> Step {
        match (original, rewritten) {
            (Value::Node(original), Value::Node(rewritten)) => self.node(original, rewritten),
            (Value::List(original), Value::List(rewritten)) => self.list(original, rewritten),
            (original, rewritten) => need(original == rewritten, "a field differs"),
        }
    }

    fn list(&mut self, original: &'a [Value], rewritten: &'a [Value]) -> Step {
        need(
            original.len() == rewritten.len(),
            "a list has another length",
        )?;
        let mut pairs = original.iter().zip(rewritten);
        pairs.try_for_each(|(original, rewritten)| self.value(original, rewritten))
    }

    fn optional(&mut self, original: Option<&'a Node>, rewritten: Option<&'a Node>) -> Step {
        match (original, rewritten) {
            (None, None) => Ok(()),
            (Some(original), Some(rewritten)) => self.node(original, rewritten),
            _ => gap("a node is on one side only"),
        }
    }

    fn node(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(original.kind == rewritten.kind, "nodes differ")?;
        self.pair(original, rewritten);
        match original.kind {
            "RawStmt" => {
                self.fields(original, rewritten, &[])?;
                self.turn_own();
                self.turn_lasting(rewritten);
                Ok(())
            }
            "SelectStmt" => self.select(original, rewritten),
            "InsertStmt" => self.insert(original, rewritten),
            "UpdateStmt" => self.update(original, rewritten),
            "DeleteStmt" => self.delete(original, rewritten),
            "MergeStmt" => self.merge(original, rewritten),
            "CopyStmt" => self.copy(original, rewritten),
            "FuncCall" => self.called(original, rewritten),
            "TypeCast" => self.cast(original, rewritten),
            "LockStmt" => self.lock(original, rewritten),
            "DeclareCursorStmt" => self.declared(original, rewritten),
            "PrepareStmt" => {
                // Nobody binds its parameters under the session's eyes.
                need(self.index.checks.is_empty(), "PREPARE relies on a Bind")?;
                self.fields(original, rewritten, &[])
            }
            "RangeVar" => self.bare_relation(original, rewritten),
            "CreateStmt" => self.created(original, rewritten, "relation"),
            "IntoClause" => self.created(original, rewritten, "rel"),
            "Constraint" => self.constraint(original, rewritten),
            "TableLikeClause" => self.structure(original, rewritten),
            "IndexStmt" => self.index(original, rewritten),
            "VacuumRelation" => self.own_relation(original, rewritten),
            "TruncateStmt" => self.own_relations(original, rewritten),
            "DropStmt" => self.dropped(original, rewritten),
            "CommentStmt" => self.commented(original, rewritten),
            "AlterSeqStmt" => self.owned(original, rewritten),
            "CreateSeqStmt" => self.created(original, rewritten, "sequence"),
            "ViewStmt" => self.own_view(original, rewritten),
            "AlterTableStmt" | "RenameStmt" => self.lasting_changed(original, rewritten),
            "RangeSubselect" => self.derived(original, rewritten, "subquery"),
            "SubLink" if is_compared(original) => self.derived(original, rewritten, "subselect"),
            // Their RangeVars name aliases of the query and constraints, not relations.
            "LockingClause" | "ConstraintsSetStmt" => self.same(original, rewritten),
            _ => self.fields(original, rewritten, &[]),
        }
    }

    /// A cast, whose constant may be spelled out.
    fn cast(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        if !forms::is_spelled_out(original, rewritten) {
            return self.fields(original, rewritten, &[]);
        }
        if let (Some(before), Some(after)) = (original.node("arg"), rewritten.node("arg")) {
            self.pair(before, after);
        }
        self.fields(original, rewritten, &["arg"])
    }

    /// Notes where a pair of nodes stands.
    fn pair(&mut self, original: &Node, rewritten: &Node) {
        if self.in_view {
            return;
        }
        let (there, here) = (rewritten.location(), original.location());
        if here >= 0 && there >= 0 {
            self.paired.places.push((there, here));
        }
        if original.kind == "AConst" {
            let kind = match original.node("val").map(|value| value.kind) {
                Some("Integer") => LiteralKind::Integer,
                Some("Float") => LiteralKind::Number,
                Some("String") => LiteralKind::Text,
                _ => return,
            };
            self.paired.constants.push(Constant {
                original: here,
                rewritten: there,
                kind,
            });
        }
    }

    /// All fields of both but those in `apart`, which the caller compares.
    fn fields(&mut self, original: &'a Node, rewritten: &'a Node, apart: &[&str]) -> Step {
        for (name, value) in &original.fields {
            if apart.contains(name) || is_place(name, value) {
                continue;
            }
            self.value(value, rewritten.field(name))?;
        }
        let added = |(name, value): &(&'static str, Value)| {
            let absent = matches!(original.field(name), Value::Default);
            absent && !apart.contains(name) && !is_place(name, value)
        };
        need(!rewritten.fields.iter().any(added), "a field was added")
    }

    /// Equal without any injected form.
    fn same(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        need(original.same(rewritten), "nodes differ")
    }

    fn select(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            walk.from(original.list("from_clause"), rewritten.list("from_clause"))?;
            walk.filter(
                original.node("where_clause"),
                rewritten.node("where_clause"),
            )?;
            walk.conjuncts(
                original.node("having_clause"),
                rewritten.node("having_clause"),
            )?;
            walk.fence(original, rewritten)?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "from_clause",
                    "where_clause",
                    "having_clause",
                    "limit_offset",
                    "limit_option",
                ],
            )?;
            walk.all_guarded()
        })
    }

    fn update(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            walk.target(original, rewritten)?;
            walk.from(original.list("from_clause"), rewritten.list("from_clause"))?;
            walk.written_rows_of(original, rewritten)?;
            walk.assignments(
                original.list("target_list"),
                rewritten.list("target_list"),
                Target {
                    source: 0,
                    alone: original.list("from_clause").is_empty(),
                },
            )?;
            walk.fields(
                original,
                rewritten,
                &[
                    "with_clause",
                    "relation",
                    "from_clause",
                    "where_clause",
                    "target_list",
                ],
            )?;
            walk.all_guarded()
        })
    }

    fn delete(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        self.scoped_by_ctes(original, rewritten, |walk| {
            walk.levels.push(Vec::new());
            walk.target(original, rewritten)?;
            walk.from(
                original.list("using_clause"),
                rewritten.list("using_clause"),
            )?;
            walk.written_rows_of(original, rewritten)?;
            walk.fields(
                original,
                rewritten,
                &["with_clause", "relation", "using_clause", "where_clause"],
            )?;
            walk.all_guarded()
        })
    }

    /// Closes a text: each barrier and fence that is claimed was found.
    fn all_seen(&self) -> Step {
        need(
            self.seen.len() + self.seen_views.len() + self.seen_joins.len() == self.index.claimed(),
            "a barrier or a fence was not found",
        )
    }

    /// Closes a query: each key of each relation was compared.
    fn all_guarded(&mut self) -> Step {
        let sources = self.levels.pop().unwrap_or_default();
        need(
            sources.iter().all(Source::is_guarded),
            "a scoped relation has no guard",
        )
    }

    /// A query in FROM or that values are compared with; the judge may have claimed that it is a fence.
    fn derived(&mut self, original: &'a Node, rewritten: &'a Node, query: &str) -> Step {
        if let (false, Some(before)) = (self.index.fences.is_empty(), original.node(query)) {
            let at = tree::anchor(before);
            if self.index.fences.contains(&at) {
                self.seen.insert(at);
                let there = rewritten.node(query);
                let fenced = there.is_some_and(|query| query.node("limit_offset").is_some());
                need(fenced, "a subquery is not a fence")?;
            }
        }
        self.fields(original, rewritten, &[])
    }

    /// `OFFSET 0` may have been added where there was no OFFSET.
    fn fence(&mut self, original: &'a Node, rewritten: &'a Node) -> Step {
        let (before, after) = (
            original.node("limit_offset"),
            rewritten.node("limit_offset"),
        );
        let options = (original.int("limit_option"), rewritten.int("limit_option"));
        match (before, after) {
            (None, Some(fence)) if forms::is_zero(fence) => need(
                options.0 == options.1 || options == forms::FENCED,
                "a LIMIT's option differs",
            ),
            _ => {
                self.optional(before, after)?;
                need(options.0 == options.1, "a LIMIT's option differs")
            }
        }
    }
}

fn is_place(name: &str, value: &Value) -> bool {
    is_location(name) && matches!(value, Value::Int(_) | Value::Default)
}

/// Whether a subquery is one of IN, ANY or ALL. Of others none is a fence, and `EXISTS (SELECT FROM (…))` begins where
/// a query in its FROM does.
fn is_compared(sublink: &Node) -> bool {
    matches!(sublink.int("sub_link_type"), 2 | 3)
}
