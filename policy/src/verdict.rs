//! A verdict made afresh: parse, judge and rewrite, write out, prove, second reader, template.

use std::sync::Arc;

use pg_query::protobuf::ParseResult;

use crate::cache::Judged;
use crate::catalog::Catalog;
use crate::deny::{Denial, DenyReason};
use crate::engine::Request;
use crate::judge::{Bound, Findings, JudgeFn};
use crate::plan::{Effect, Plan, StatementKind};
use crate::prove::{Paired, prove};
use crate::rewriting::{Lookups, Rewriting};
use crate::rules::Policy;
use crate::scan::{Scan, too_many_parameters};
use crate::session::Protocol;
use crate::template::{self, Cut, Template};
use crate::tree::{self, Node};
use crate::{kind, limits, lookup, newer, parse, second_reader};

/// What a verdict is made with.
#[derive(Clone, Copy)]
pub(crate) struct Judging<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) catalog: &'a Catalog,
    pub(crate) bound: &'a Bound,
    pub(crate) judge: JudgeFn,
    /// The number of the shape.
    pub(crate) fingerprint: u64,
}

/// A new verdict.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(crate) judged: Judged,
    /// The literals that it depends on.
    pub(crate) pins: Vec<u32>,
    /// Where things went, if the text was rewritten.
    pub(crate) trace: Option<Trace>,
}

/// Where things went in a rewritten text.
#[derive(Debug)]
pub(crate) struct Trace {
    /// Bytes of the rewritten text and of the client's.
    pub(crate) places: Vec<(i32, i32)>,
    /// The holes in the rewritten text.
    pub(crate) cuts: Vec<Cut>,
}

impl<'a> Judging<'a> {
    /// Makes the verdict.
    pub(crate) fn judge(&self, request: &Request<'_>, scan: &Scan) -> Result<Fresh, Denial> {
        let read = self.read(request, scan)?;
        let kind = read.findings.kind;
        self.make(request, scan, read)
            .map_err(|denial| denial.kind(kind))
    }

    fn make(&self, request: &Request<'_>, scan: &Scan, read: Read) -> Result<Fresh, Denial> {
        let Read {
            own,
            original,
            edited,
            findings,
        } = read;
        let depth = limits::depth(&scan.tokens);
        second_reader::check(
            self.policy.defaults.second_reader,
            request.text,
            depth,
            &original,
        )?;
        let made = if findings.changed {
            let rewritten = parse::deparse(&edited)?;
            drop(edited);
            self.rewritten(request, scan, own, &findings, &original, &rewritten)?
        } else {
            self.as_sent(request, scan, own, &findings, &original)?
        };
        Ok(self.finish(request, scan, own, findings, made))
    }

    /// The statement as the rewriter writes it; `None` where it goes on as it came.
    pub(crate) fn rewriting<'r>(
        &self,
        request: &Request<'r>,
        scan: &Scan,
    ) -> Result<Option<Rewriting<'r>>, Denial>
    where
        'a: 'r,
    {
        let read = self.read(request, scan)?;
        if !read.findings.changed {
            return Ok(None);
        }
        Ok(Some(Rewriting {
            text: parse::deparse(&read.edited)?,
            own: read.own,
            original: read.original,
            findings: read.findings,
            lookups: self.lookups(request),
        }))
    }

    /// Parses and judges.
    fn read(&self, request: &Request<'_>, scan: &Scan) -> Result<Read, Denial> {
        if request.facts.enforce {
            newer::check(request.text, scan, self.catalog.parts().server_version_num)?;
        }
        let own = own_parameters(request, scan)?;
        let mut edited = parse::parse(request.text)?;
        let original = tree::of(&edited).map_err(|_| unreadable_tree())?;
        let kind = kind::of(&edited);
        let findings = (self.judge)(self.bound, request, own, &mut edited)
            .map_err(|denial| denial.kind(kind))?;
        Ok(Read {
            own,
            original,
            edited,
            findings,
        })
    }

    /// The client's own text goes on: its tree is its own proof that all relations are known.
    fn as_sent(
        &self,
        request: &Request<'_>,
        scan: &Scan,
        own: u16,
        findings: &Findings,
        original: &Node,
    ) -> Result<Made, Denial> {
        let paired = prove(
            original,
            original,
            self.lookups(request).claims(own, findings),
        )?;
        Ok(Made {
            template: Template::AsSent,
            pins: template::unlinked(request.text, scan, &paired.constants),
            trace: None,
        })
    }

    fn rewritten(
        &self,
        request: &Request<'_>,
        scan: &Scan,
        own: u16,
        findings: &Findings,
        original: &Node,
        text: &str,
    ) -> Result<Made, Denial> {
        let again = parse::parse(text).map_err(|_| unproven("the rewritten text can't be read"))?;
        let tree = tree::of(&again).map_err(|_| unreadable_tree())?;
        let may_look_up = request.protocol == Protocol::Simple && own == 0 && reads_only(findings);
        let compared = may_look_up
            .then(|| lookup::places(&again, &findings.relations, self.catalog))
            .flatten();
        drop(again);
        let Paired { places, constants } =
            prove(original, &tree, self.lookups(request).claims(own, findings))?;
        let mut rescan = Scan::default();
        rescan.read_rewritten(text)?;
        let hidden = as_literals(request, own, findings).then_some(findings.hidden.as_slice());
        let made = template::make(
            (request.text, scan),
            (text, &rescan),
            &constants,
            own,
            hidden,
        )?;
        let mut template = made.template;
        if let Some(compared) = compared.filter(|_| made.unlinked.is_empty())
            && let Some(lookup) = lookup::prepare(text, &made.cuts, &compared)?
        {
            template.prepare(lookup);
        }
        Ok(Made {
            template,
            pins: made.unlinked,
            trace: Some(Trace {
                places,
                cuts: made.cuts,
            }),
        })
    }

    fn lookups<'r>(&self, request: &Request<'r>) -> Lookups<'r>
    where
        'a: 'r,
    {
        Lookups {
            catalog: self.catalog,
            views: &self.bound.views,
            values: request.values,
            facts: request.facts,
            declared: request.declared,
            ddl: self.policy.defaults.ddl,
            lock: self.policy.defaults.lock,
            channels: &self.policy.channels,
        }
    }

    fn finish(
        &self,
        request: &Request<'_>,
        scan: &Scan,
        own: u16,
        findings: Findings,
        made: Made,
    ) -> Fresh {
        let pins = pins(request, scan, made.pins, &findings.pinned);
        let literals = as_literals(request, own, &findings);
        let reads_only = reads_only(&findings);
        let plan = Plan {
            verdict: findings.verdict,
            kind: findings.kind,
            statements: findings.statements,
            parameters: if prepares(&findings) {
                // The parameters are those of EXECUTE; the statement itself has what it declares.
                u16::try_from(request.declared.len()).unwrap_or(own)
            } else {
                own
            },
            types: request.declared.to_vec(),
            hidden: if literals {
                Vec::new()
            } else {
                findings.hidden
            },
            checks: findings.checks,
            texts: findings.texts,
            draws: findings.draws,
            random: findings.random.get(),
            last_value: findings.last_value,
            absent: findings.absent.get(),
            effects: findings.effects,
            steps: findings.steps,
            relations: findings.relations,
            calls_users: findings.calls_users.get(),
            reads_only,
            rows: findings.rows,
            fingerprint: self.fingerprint,
            observed: None,
        };
        Fresh {
            judged: Judged {
                plan: Arc::new(plan),
                template: made.template,
            },
            pins,
            trace: made.trace,
        }
    }
}

/// Whether the session's values are written out: a Query message has no parameters, and neither
/// have utility statements (COPY of a query, EXPLAIN), however they come. Nor has one room for more parameters
/// whose own are as many as a Bind can carry.
fn as_literals(request: &Request<'_>, own: u16, findings: &Findings) -> bool {
    let full = findings.hidden.len() > usize::from(u16::MAX - own);
    let utility = matches!(
        findings.kind,
        StatementKind::Copy | StatementKind::Utility | StatementKind::Several
    );
    request.protocol == Protocol::Simple || utility || full
}

/// See [`Plan::reads_only`].
fn reads_only(findings: &Findings) -> bool {
    findings.kind == StatementKind::Select
        && findings.statements == 1
        && findings.effects.is_empty()
        && !findings.relations.iter().any(|used| used.write)
        && !findings.primary_only.get()
}

fn prepares(findings: &Findings) -> bool {
    let prepares = |effect: &Effect| matches!(effect, Effect::Prepare(_));
    findings.effects.iter().any(prepares)
}

/// A statement, parsed and judged.
struct Read {
    own: u16,
    /// The client's tree.
    original: Node,
    /// The tree that the rewriter edited.
    edited: ParseResult,
    findings: Findings,
}

/// What goes into a verdict of either way.
struct Made {
    template: Template,
    pins: Vec<u32>,
    trace: Option<Trace>,
}

/// The literals that a verdict depends on: those that its text has no holes for, and those that the
/// judge read. Constants of other kinds are in the key as they are; a place that is no constant's
/// may mean any literal.
fn pins(request: &Request<'_>, scan: &Scan, unlinked: Vec<u32>, read: &[i32]) -> Vec<u32> {
    let read = read.iter().filter(|at| !scan.is_keyed_constant(**at));
    let literal = |at: &i32| template::pin(request.text, scan, *at);
    let read: Option<Vec<u32>> = read.map(literal).collect();
    let mut pins = unlinked;
    match read {
        Some(read) => pins.extend(read),
        None => pins = (0..).take(scan.literals.len()).collect(),
    }
    pins.sort_unstable();
    pins.dedup();
    pins
}

/// The number of the client's own parameters: all that it uses, and all that it declares.
fn own_parameters(request: &Request<'_>, scan: &Scan) -> Result<u16, Denial> {
    let declared = u16::try_from(request.declared.len()).map_err(|_| too_many_parameters())?;
    Ok(declared.max(scan.greatest_parameter))
}

fn unproven(why: &str) -> Denial {
    Denial::new(DenyReason::ProofFailed, why)
}

fn unreadable_tree() -> Denial {
    unproven("the parse tree can't be read")
}
