//! Judging: a parse tree is walked once, every node of it deliberately, and edited in place.
//!
//! The walk resolves every name ([`names`]), refuses what nobody knows ([`calls`], `builtin`),
//! places the tenant's predicates ([`from`], [`select`], [`modify`], [`insert`]), and keeps
//! expressions that can leak from seeing a row before its predicate did ([`barrier`]).
//!
//! What the walk may inject is a closed list (`rewrite`), which the proof knows too:
//!
//! | form | where |
//! |---|---|
//! | I1 guard join | a scoped relation that WHERE can't guard |
//! | I2 predicate | before WHERE |
//! | I3 barrier | around a conjunct of WHERE or ON, or each side of one of a FULL JOIN; with `count(*) >= 0` around one of HAVING |
//! | I4 fence | `OFFSET 0` on a derived table or a CTE, or around a join with an alias |
//! | I5 fill | tenant column and value of INSERT |
//! | I6 conflict | WHERE of ON CONFLICT DO UPDATE |
//! | I7 name | a relation's schema |
//! | I8 copied table | the query that COPY TO of a scoped table becomes |
//! | I9 copied rows | the column list of COPY FROM |
//! | I10 check | a tenant column that an INSERT computes |
//! | I11 reference | a `via` column that is written |
//! | I12 view | the guarded query of a view in its place |

mod alternatives;
mod assignments;
mod barrier;
mod calls;
mod channels;
mod coercion;
mod compare;
mod copy;
mod copy_options;
mod cursor;
mod ddl;
mod described;
mod drop_type;
mod expression;
mod filter;
mod foreign_key;
mod fresh;
mod from;
mod full_join;
mod groups;
mod insert;
mod insert_select;
mod join;
mod joined;
mod json;
mod labels;
mod lock;
mod made;
mod merge;
mod modify;
mod names;
mod needed;
mod observed;
mod operation;
mod order;
mod output;
mod own;
mod parameters;
mod places;
mod prepared;
mod relation;
mod result;
mod returning;
mod select;
mod sequences;
mod settings;
mod statement;
mod sublink;
mod table_function;
mod temporary;
mod temporary_view;
mod ty;
mod types;
mod utility;
mod value;
mod via;
mod view;
mod view_row;
mod width;
mod with;
mod written_view;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use pg_query::NodeEnum;
use pg_query::protobuf::{Node, ParseResult};

pub(crate) use crate::bind::{Bound, Key, Parent, Via, Views};
use crate::copy::Rows;
use crate::deny::{Denial, DenyReason};
use crate::engine::Request;
use crate::kind;
use crate::plan::{BindCheck, Effect, RelationUse, StatementKind, TextCheck, Verdict};
use crate::rewrite;
use crate::rules::{MissingFilter, MissingValue};
use crate::temporary::Temporaries;
use names::{Column, Env};
pub(crate) use observed::observe;
use parameters::Standing;
pub(crate) use places::{Decision, Held, Places};

/// Everything that the walk found out.
#[derive(Debug, Clone)]
pub(crate) struct Findings {
    pub(crate) verdict: Verdict,
    pub(crate) kind: StatementKind,
    pub(crate) statements: usize,
    /// Slots, in order: the tree names them `$n+1`…
    pub(crate) hidden: Vec<usize>,
    pub(crate) checks: Vec<BindCheck>,
    pub(crate) texts: Vec<TextCheck>,
    /// Whether it takes a number from a sequence by name.
    pub(crate) draws: bool,
    /// Whether it asks for what was taken last.
    pub(crate) last_value: bool,
    /// Whether something that it names is not known, and is taken not to be there.
    pub(crate) absent: std::cell::Cell<bool>,
    pub(crate) effects: Vec<Effect>,
    /// Of which statement of the text each of them is.
    pub(crate) steps: Vec<usize>,
    pub(crate) relations: Vec<RelationUse>,
    /// Whether code that nobody has read may run: a function that is not PostgreSQL's own.
    pub(crate) calls_users: std::cell::Cell<bool>,
    /// Whether it uses or sets the random numbers of the server connection.
    pub(crate) random: std::cell::Cell<bool>,
    /// Whether something in it can't be run on a standby, or would not answer there as on the
    /// primary.
    pub(crate) primary_only: std::cell::Cell<bool>,
    /// Byte locations of literals whose value the verdict depends on.
    pub(crate) pinned: Vec<i32>,
    /// What is claimed of places in the client's text.
    pub(crate) places: Places,
    /// What the rows of a COPY FROM must hold.
    pub(crate) rows: Option<Rows>,
    /// Whether the tree was edited.
    pub(crate) changed: bool,
}

/// A function that judges; tests put in others.
pub(crate) type JudgeFn =
    fn(&Bound, &Request<'_>, u16, &mut ParseResult) -> Result<Findings, Denial>;

/// Judges a tree and rewrites it in place.
pub(crate) fn judge(
    bound: &Bound,
    request: &Request<'_>,
    parameters: u16,
    tree: &mut ParseResult,
) -> Result<Findings, Denial> {
    walk(bound, request, parameters, tree, |judge, statement| {
        if request.facts.enforce {
            judge.declared_types()?;
            judge.statement(statement)
        } else {
            judge.break_glass(statement)
        }
    })
}

/// Judges every statement of a tree.
fn walk<'a>(
    bound: &'a Bound,
    request: &'a Request<'a>,
    parameters: u16,
    tree: &mut ParseResult,
    mut each: impl FnMut(&mut Judge<'a>, &mut NodeEnum) -> Result<StatementKind, Denial>,
) -> Result<Findings, Denial> {
    let mut judge = Judge::new(bound, request, parameters);
    judge.findings.statements = tree.stmts.len();
    if parameters > 0 {
        judge.standing = Standing::of(request.text, tree);
    }
    judge.names_beside(&tree.stmts)?;
    let mut kinds = Vec::with_capacity(tree.stmts.len());
    for (step, raw) in tree.stmts.iter_mut().enumerate() {
        let Some(statement) = raw.stmt.as_mut().and_then(|stmt| stmt.node.as_mut()) else {
            return Err(unsupported("an empty statement node"));
        };
        judge.refuse_stale_facts(statement)?;
        kinds.push(each(&mut judge, statement)?);
        judge.doubt_temporaries(statement);
        judge.doubt_fresh(statement);
        judge.refuse_unfiltered()?;
        let effects = judge.findings.effects.len();
        judge.findings.steps.resize(effects, step);
    }
    judge.effects_beside()?;
    judge.keep_names();
    judge.claim_fences(0, 0);
    judge.findings.kind = kind::together(&kinds);
    Ok(judge.findings)
}

/// A relation or derived table that expressions can name.
#[derive(Debug)]
struct Entry {
    /// The name that columns are qualified with; empty for merged columns.
    name: String,
    /// The schema of a relation without alias.
    schema: Option<String>,
    columns: Vec<Column>,
    /// Whether there are columns that we don't know.
    open: bool,
    kind: EntryKind,
}

#[derive(Debug)]
enum EntryKind {
    /// A scoped relation; the keys' columns have the names that they have in this query.
    Scoped {
        keys: Vec<Key>,
        /// `schema.table`, for messages.
        table: String,
        /// An outer join may extend its rows with NULLs.
        nullable: bool,
    },
    /// A relation or function without anything of a tenant; `writable` says whether it may be
    /// locked.
    Free { writable: bool },
    /// A subselect; `risky` when a scoped relation is inside, `sealed` when it is a fence already.
    Derived { risky: bool, sealed: bool },
    /// A common table expression.
    Cte { cte: CteId },
    /// The alias of a join: `(a JOIN b …) AS j`; `movable` when the join could be a query of its own.
    Join { risky: bool, movable: bool },
    /// Columns merged by USING or NATURAL, each with the entries that reading it reads. It has a name
    /// only by `USING (…) AS j`.
    Merged(Vec<(String, Vec<EntryId>)>),
}

/// Where the relations were found that the client named without their schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Named {
    /// There are none.
    None,
    /// In the first schema of the path.
    First,
    /// Some in a later one.
    Later,
}

type EntryId = usize;
type CteId = usize;

/// A common table expression.
#[derive(Debug)]
struct Cte {
    columns: Vec<Column>,
    open: bool,
    risky: bool,
    /// Recursive, data-modifying or MATERIALIZED: never merged into the outer query.
    sealed: bool,
    /// Where its query begins.
    place: i32,
}

/// The walk's state.
struct Judge<'a> {
    bound: &'a Bound,
    request: &'a Request<'a>,
    /// The client's own parameters.
    parameters: u16,
    /// The session's temporary relations, and those that the message has made so far.
    temporaries: Temporaries,
    /// The message has changed them in a way that only the server can tell.
    temporaries_doubtful: bool,
    /// The lasting tables that the message has made and dropped so far.
    fresh: fresh::Fresh,
    entries: Vec<Entry>,
    ctes: Vec<Cte>,
    fenced: HashSet<EntryId>,
    fenced_ctes: HashSet<CteId>,
    /// The joins with an alias: where they begin, and the alias.
    joins: HashMap<EntryId, (i32, String)>,
    /// The views that were replaced by their queries.
    views: Vec<EntryId>,
    /// Those among them whose columns the statement gives other names.
    relabelled: HashSet<EntryId>,
    /// Whether what is judged is the query of a view.
    in_view: bool,
    /// How many queries of views the statement has so far, those inside others too.
    expanded: usize,
    /// Inside PREPARE, whose parameters no Bind brings: a check at Bind would check nothing.
    preparing: bool,
    /// The relations of queries around whose rows were admitted and grouped before what is judged
    /// now sees them.
    grouped: Vec<EntryId>,
    /// The subqueries in GROUP BY of the query whose expressions are judged.
    group_queries: groups::Queries,
    /// A condition reads one of them, and leaks.
    over_groups: bool,
    /// In RETURNING of a MERGE, the only place of `merge_action()`.
    merging: bool,
    /// The types that PREPARE declares for its parameters; a Parse message's are in the request.
    prepared_types: Vec<names::Ty>,
    /// Where the client's parameters stand.
    standing: Standing,
    /// What the policy wishes for a scoped relation.
    wishes: HashMap<EntryId, (MissingFilter, MissingValue)>,
    /// What conditions behind barriers need of the WHERE that is judged.
    needed: needed::Needed,
    /// What the client's own conditions say, for `missing_filter = "reject"`.
    filters: filter::Filters,
    /// What became of relations that the client named without their schema.
    named: Named,
    /// Where scoped relations and derived tables stand in the client's text.
    places: HashMap<EntryId, i32>,
    /// How many columns are remembered, those of stars included.
    spread: std::cell::Cell<usize>,
    findings: Findings,
}

impl<'a> Judge<'a> {
    fn new(bound: &'a Bound, request: &'a Request<'a>, parameters: u16) -> Self {
        Self {
            bound,
            request,
            parameters,
            temporaries: request.facts.temporaries.clone(),
            temporaries_doubtful: false,
            fresh: fresh::Fresh::default(),
            entries: Vec::new(),
            ctes: Vec::new(),
            fenced: HashSet::new(),
            fenced_ctes: HashSet::new(),
            joins: HashMap::new(),
            views: Vec::new(),
            relabelled: HashSet::new(),
            in_view: false,
            expanded: 0,
            preparing: false,
            grouped: Vec::new(),
            group_queries: groups::Queries::default(),
            over_groups: false,
            merging: false,
            prepared_types: Vec::new(),
            standing: Standing::default(),
            wishes: HashMap::new(),
            needed: needed::Needed::default(),
            filters: filter::Filters::default(),
            named: Named::None,
            places: HashMap::new(),
            spread: std::cell::Cell::new(0),
            findings: Findings {
                verdict: Verdict::Pass,
                kind: StatementKind::Empty,
                statements: 0,
                hidden: Vec::new(),
                checks: Vec::new(),
                texts: Vec::new(),
                draws: false,
                last_value: false,
                absent: std::cell::Cell::new(false),
                effects: Vec::new(),
                steps: Vec::new(),
                relations: Vec::new(),
                calls_users: std::cell::Cell::new(false),
                random: std::cell::Cell::new(false),
                primary_only: std::cell::Cell::new(false),
                pinned: Vec::new(),
                places: Places::default(),
                rows: None,
                changed: false,
            },
        }
    }

    /// Statements of one message are judged with the same facts. After one that changes the
    /// search_path or loses the claims, only such statements may follow that depend on neither:
    /// names of functions are looked up in the path, and functions read the claims.
    fn refuse_stale_facts(&self, next: &NodeEnum) -> Result<(), Denial> {
        let depends = !matches!(
            next,
            NodeEnum::TransactionStmt(_)
                | NodeEnum::VariableSetStmt(_)
                | NodeEnum::VariableShowStmt(_)
                | NodeEnum::DiscardStmt(_)
                | NodeEnum::DeallocateStmt(_)
                | NodeEnum::ClosePortalStmt(_)
                | NodeEnum::UnlistenStmt(_)
                | NodeEnum::ConstraintsSetStmt(_)
        );
        let effects = &self.findings.effects;
        let refused = if effects.contains(&Effect::ClaimsLost) {
            "a statement after RESET ALL or DISCARD ALL in the same message"
        } else if effects.contains(&Effect::SearchPath) {
            "a statement after a change of search_path in the same message"
        } else if self.temporaries_doubtful {
            "a statement after one that may undo a temporary table, or makes one of unknown columns, in the same message"
        } else {
            return Ok(());
        };
        if depends {
            return Err(unsupported(refused).hint("Send them in messages of their own."));
        }
        Ok(())
    }

    fn entry(&self, id: EntryId) -> Option<&Entry> {
        self.entries.get(id)
    }

    fn add_entry(&mut self, entry: Entry) -> EntryId {
        self.spread(entry.columns.len());
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// Marks the statement as rewritten: something of a tenant is in it.
    fn rewritten(&mut self) {
        self.findings.changed = true;
        self.findings.verdict = Verdict::Rewrite;
    }

    /// Relations are sent with their schema wherever their names could come to mean others: when
    /// something else is rewritten, when a table can appear in a schema that the path has before
    /// theirs, and when another statement of the message may change the path. All else goes on byte
    /// for byte.
    fn keep_names(&mut self) {
        self.findings.changed |= match self.named {
            Named::None => false,
            Named::First => self.findings.statements > 1,
            Named::Later => true,
        };
    }

    /// The number of the hidden parameter that carries a slot's value.
    fn hidden_parameter(&mut self, slot: usize) -> Result<i32, Denial> {
        if self.request.values.get(slot).is_none() {
            return Err(Denial::new(
                DenyReason::MissingClaim,
                "the token lacks the claim that scopes this table",
            ));
        }
        let hidden = &mut self.findings.hidden;
        let at = hidden
            .iter()
            .position(|known| *known == slot)
            .unwrap_or_else(|| {
                hidden.push(slot);
                hidden.len() - 1
            });
        let number = usize::from(self.parameters) + 1 + at;
        i32::try_from(number)
            .map_err(|_| Denial::new(DenyReason::TooComplex, "statement has too many parameters"))
    }

    /// The tenant's value as an expression.
    fn slot_value(&mut self, key: &Key) -> Result<Node, Denial> {
        let number = self.hidden_parameter(key.slot)?;
        Ok(rewrite::parameter(number, key.value_type.pg_name()))
    }

    fn pin(&mut self, location: i32) {
        self.findings.pinned.push(location);
    }

    fn decide(&mut self, location: i32, decision: Decision) {
        self.findings.places.decisions.push((location, decision));
    }

    fn uses(&mut self, name: String, write: bool, guard: String) {
        let uses = &mut self.findings.relations;
        if let Some(known) = uses.iter_mut().find(|known| known.name == name) {
            known.write |= write;
        } else {
            uses.push(RelationUse { name, write, guard });
        }
    }

    /// Judges a statement that PREPARE and EXPLAIN take.
    fn optimizable(&mut self, statement: &mut NodeEnum) -> Result<(), Denial> {
        let env = Env::default();
        match statement {
            NodeEnum::MergeStmt(merge) => self.merge(merge, &env).map(|_| ()),
            _ => self.query(statement, None, &env).map(|_| ()),
        }
    }

    /// Judges a statement that may stand in WITH or at the top, with its columns.
    fn query(
        &mut self,
        statement: &mut NodeEnum,
        outer: Option<&names::Scope<'_>>,
        env: &Env<'_>,
    ) -> Result<output::Output, Denial> {
        match statement {
            NodeEnum::SelectStmt(select) => self.select(select, outer, env),
            NodeEnum::InsertStmt(insert) => self.insert(insert, env),
            NodeEnum::UpdateStmt(update) => self.update(update, env),
            NodeEnum::DeleteStmt(delete) => self.delete(delete, env),
            NodeEnum::MergeStmt(merge) => self.merge(merge, env),
            _ => Err(unsupported("this statement inside another")),
        }
    }
}

/// A denial for what is not supported: `what` completes "… is not supported".
fn unsupported(what: &str) -> Denial {
    Denial::new(
        DenyReason::UnsupportedConstruct,
        format!("{what} is not supported"),
    )
}

/// Client names must not look like injected ones.
fn refuse_reserved(name: &str) -> Result<(), Denial> {
    if name.starts_with(rewrite::RESERVED_PREFIX) {
        return Err(unsupported("a name that begins with \"pgwarden_\"")
            .hint("Choose another: such names stand for what pgwarden adds to a statement."));
    }
    Ok(())
}
