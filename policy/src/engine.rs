//! The one decision function.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::bind::Bound;
pub use crate::bind::{Cut, Finding, FindingCode};
use crate::cache::{CacheStats, Entry, PlanCache};
use crate::catalog::{Catalog, Oid};
use crate::deny::Denial;
use crate::judge::{self, JudgeFn};
use crate::lookup::Lookup;
use crate::observe::Observing;
use crate::plan::Plan;
use crate::recent::{Known, Recent};
use crate::rewriting::Rewriting;
use crate::rules::{ClaimPath, Policy};
use crate::scan::Scan;
use crate::session::{Protocol, SessionFacts};
use crate::tenant::{ScopeValue, ScopeValues, ValueType};
use crate::verdict::{self, Judging};
use crate::{limits, positions, shape, template};

/// The plan cache of an engine that lasts for one transaction.
const PASSING_CACHE_BYTES: usize = 256 << 10;

/// Numbers the engines of the process.
static ENGINES: AtomicU64 = AtomicU64::new(1);

/// Bounds of the engine.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// The longest statement text, in bytes.
    pub statement_bytes: usize,
    /// The plan cache's size, in bytes; 0 turns it off.
    pub plan_cache_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            statement_bytes: 1 << 20,
            plan_cache_bytes: 64 << 20,
        }
    }
}

/// A claim that scopes tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Where it stands in the token.
    pub claim: ClaimPath,
    /// Its type.
    pub value_type: ValueType,
    /// What a column of it may lose of a text.
    pub cut: Cut,
}

impl Slot {
    /// Whether each column that the claim scopes can hold this value as it is. One that is stored as
    /// another tenant's must not get near a statement.
    pub fn admits(&self, value: &ScopeValue) -> bool {
        match value {
            ScopeValue::Text(text) => self.cut.keeps(text),
            ScopeValue::Uuid(_) | ScopeValue::Bigint(_) => true,
        }
    }
}

/// Something in the policy that does not fit the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingProblem {
    /// The policy's table (or function) that it is about.
    pub object: String,
    /// What is wrong.
    pub message: String,
    /// A name that is near, if one is.
    pub suggestion: Option<String>,
}

/// A policy bound to a catalogue, with its plan cache. Made anew when either changes.
#[derive(Debug)]
pub struct Engine {
    bound: Bound,
    observing: Observing,
    /// The judge; the tests put in one whose answers are known.
    judge: JudgeFn,
    limits: Limits,
    cache: PlanCache,
    /// No other engine has it, so what a [`Scratch`] remembers is known to be this one's.
    number: u64,
}

/// A statement to judge.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The text as the client sent it.
    pub text: &'a str,
    /// How it came.
    pub protocol: Protocol,
    /// The parameter types that a Parse message declares; 0 is unspecified.
    pub declared: &'a [u32],
    /// The session.
    pub facts: &'a SessionFacts,
    /// The session's scope values.
    pub values: &'a ScopeValues,
}

impl std::fmt::Debug for Request<'_> {
    /// Leaves the client's text out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request")
            .field("protocol", &self.protocol)
            .field("declared", &self.declared)
            .finish_non_exhaustive()
    }
}

/// Buffers that are reused from one verdict to the next, and what a session has sent of late.
#[derive(Default)]
pub struct Scratch {
    scan: Scan,
    key: Vec<u8>,
    text: String,
    recent: Recent,
}

impl std::fmt::Debug for Scratch {
    /// Says nothing: the buffers hold a client's statement.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// A statement that the engine let through: the only thing that a backend connection sends.
/// Nobody but the engine can make one.
pub struct Cleared<'a> {
    text: &'a str,
    plan: Arc<Plan>,
    lookup: Option<Lookup<'a>>,
}

impl std::fmt::Debug for Cleared<'_> {
    /// Leaves the text out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cleared")
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl<'a> Cleared<'a> {
    /// The text to send.
    pub fn text(&self) -> &'a str {
        self.text
    }

    /// The plan behind it.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The same as a prepared statement and its values, for a Query that finds rows by a key.
    pub fn lookup(&self) -> Option<&Lookup<'a>> {
        self.lookup.as_ref()
    }
}

impl Engine {
    /// Binds a policy to a catalogue, or says everything that does not fit.
    pub fn new(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        limits: Limits,
    ) -> Result<Self, Vec<BindingProblem>> {
        Self::doubting(policy, catalog, &HashSet::new(), limits)
    }

    /// The same where the row level security of some relations is known not to keep tenants apart:
    /// `require_rls = "enforce"` denies them.
    ///
    /// # Errors
    /// As [`Engine::new`].
    pub fn doubting(
        policy: Arc<Policy>,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
        limits: Limits,
    ) -> Result<Self, Vec<BindingProblem>> {
        let bound = Bound::new(Arc::clone(&policy), catalog, doubted)?;
        let (observing, bound) = Observing::of(&policy, bound);
        Ok(Self {
            bound,
            observing,
            limits,
            judge: judge::judge,
            cache: PlanCache::new(limits.plan_cache_bytes),
            number: ENGINES.fetch_add(1, Ordering::Relaxed),
        })
    }

    /// The same policy bound to another catalogue, as a database's own changes demand it: there is no
    /// way back to the old one. A table that its entry in the policy does not fit any more is denied;
    /// what does not fit is told. The doubts as for [`Engine::doubting`].
    pub fn refitted(
        &self,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
    ) -> (Self, Vec<BindingProblem>) {
        self.refitted_within(catalog, doubted, self.limits)
    }

    /// The same for one session's transaction: with a plan cache of its own, which is small.
    pub fn passing(&self, catalog: Arc<Catalog>, doubted: &HashSet<Oid>) -> Self {
        let plan_cache_bytes = self.limits.plan_cache_bytes.min(PASSING_CACHE_BYTES);
        let limits = Limits {
            plan_cache_bytes,
            ..self.limits
        };
        self.refitted_within(catalog, doubted, limits).0
    }

    fn refitted_within(
        &self,
        catalog: Arc<Catalog>,
        doubted: &HashSet<Oid>,
        limits: Limits,
    ) -> (Self, Vec<BindingProblem>) {
        let enforced = self.observing.enforced().unwrap_or(&self.bound);
        let (bound, problems) = enforced.refitted(catalog, doubted);
        let (observing, bound) = Observing::of(self.policy(), bound);
        let engine = Self {
            bound,
            observing,
            judge: self.judge,
            limits,
            cache: PlanCache::new(limits.plan_cache_bytes),
            number: ENGINES.fetch_add(1, Ordering::Relaxed),
        };
        (engine, problems)
    }

    /// The claims whose values [`ScopeValues`] holds, by slot. Slot 0 is the tenant.
    pub fn slots(&self) -> &[Slot] {
        &self.bound.slots
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.bound.policy
    }

    /// The catalogue.
    pub fn catalog(&self) -> &Arc<Catalog> {
        &self.bound.catalog
    }

    /// What of the catalogue is not as the policy wants it.
    pub fn findings(&self) -> &[Finding] {
        self.bound.findings()
    }

    /// Whether an error about a table's rows may show their values: the session may read all of them, and those of each
    /// table that it refers to. The schema is the server's name for it.
    pub fn tells_of_no_tenant(&self, schema: &str, table: &str) -> bool {
        let enforced = self.observing.enforced().unwrap_or(&self.bound);
        enforced.tells_of_no_tenant(schema, table)
    }

    /// What the plan cache did so far.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }

    /// Judges a text: all statements in it, together.
    ///
    /// # Errors
    /// A [`Denial`], with its SQLSTATE.
    pub fn judge<'s>(
        &self,
        request: Request<'s>,
        scratch: &'s mut Scratch,
    ) -> Result<Cleared<'s>, Denial> {
        let Scratch {
            scan,
            key,
            text,
            recent,
        } = scratch;
        shape::write_circumstances(key, &request);
        let circumstances = key.len();
        let made;
        let judged = match recent.find(self.number, key, &request, &mut scan.literals) {
            Some(judged) if request.text.len() <= self.limits.statement_bytes => {
                self.cache.count_hit();
                judged
            }
            _ => {
                limits::check_text(request.text, self.limits.statement_bytes)?;
                scan.read(request.text)?;
                made = self.judged(&request, scan, key)?;
                // A session that waits keeps none.
                scan.tokens = Vec::new();
                if self.limits.plan_cache_bytes > 0 {
                    key.truncate(circumstances);
                    recent.remember(self.number, key, &request, &scan.literals, &made);
                }
                &made.judged
            }
        };
        let sent = judged
            .template
            .fill(request.text, &scan.literals, request.values, text)?;
        let plan = Arc::clone(&judged.plan);
        let lookup = Lookup::of(judged, request.text, &scan.literals, request.values);
        Ok(Cleared {
            text: sent,
            plan,
            lookup,
        })
    }

    /// The position in the client's text, in characters from 1, of a position that the server gave
    /// in the text that was sent for it; `None` when it is about something that was added. Judges
    /// afresh, since plans keep no places.
    pub fn map_position(
        &self,
        request: &Request<'_>,
        scratch: &mut Scratch,
        position: u32,
    ) -> Option<u32> {
        limits::check_text(request.text, self.limits.statement_bytes).ok()?;
        scratch.scan.read(request.text).ok()?;
        let verdict = self.judge_afresh(request, &scratch.scan, 0).ok()?;
        let Some(trace) = verdict.trace else {
            return Some(position);
        };
        let literals = &scratch.scan.literals;
        let template = &verdict.judged.template;
        let sent = template.fill(request.text, literals, request.values, &mut scratch.text);
        let there = positions::to_bytes(sent.ok()?, position)?;
        let there = template::unfill(&trace.cuts, literals, request.values, there)?;
        let here = positions::pair(&trace.places, there)?;
        positions::to_characters(request.text, here)
    }

    /// The statement as the rewriter writes it, not proven: for the suite that breaks it on purpose.
    /// `None` where it goes on as it came.
    ///
    /// # Errors
    /// The judge's refusal.
    pub fn rewriting<'r>(
        &'r self,
        request: &Request<'r>,
        scratch: &mut Scratch,
    ) -> Result<Option<Rewriting<'r>>, Denial> {
        limits::check_text(request.text, self.limits.statement_bytes)?;
        let Scratch { scan, .. } = scratch;
        scan.read(request.text)?;
        limits::check_tokens(scan)?;
        let views = self.bound.views.tokens();
        limits::with_stack(scan, views, || self.judging(0).rewriting(request, scan))
    }

    /// The verdict, from the cache or made. `key` holds all of the shape's key but the text.
    fn judged(
        &self,
        request: &Request<'_>,
        scan: &Scan,
        key: &mut Vec<u8>,
    ) -> Result<Known, Denial> {
        shape::write_text(key, request.text.as_bytes(), &scan.literals);
        let shape_bytes = key.len();
        let pins = match self.cache.get(key) {
            Some(Entry::Judged(judged)) => {
                self.cache.count_hit();
                return Ok(Known::of(judged, false));
            }
            Some(Entry::Pinned(pins)) => {
                shape::add_pins(key, request, scan, &pins);
                if let Some(Entry::Judged(judged)) = self.cache.get(key) {
                    self.cache.count_hit();
                    return Ok(Known::of(judged, true));
                }
                key.truncate(shape_bytes);
                Some(pins)
            }
            None => None,
        };
        self.cache.count_miss();
        let fingerprint = shape::fingerprint(key);
        let verdict = self.judge_afresh(request, scan, fingerprint);
        let verdict = verdict.map_err(|denial| denial.fingerprint(fingerprint))?;
        let judged = Arc::new(verdict.judged);
        let pins = self.keep_pins(key, pins, &verdict.pins);
        if !pins.is_empty() {
            shape::add_pins(key, request, scan, &pins);
        }
        self.cache.insert(key, Entry::Judged(Arc::clone(&judged)));
        Ok(Known::of(judged, !pins.is_empty()))
    }

    fn judge_afresh(
        &self,
        request: &Request<'_>,
        scan: &Scan,
        fingerprint: u64,
    ) -> Result<verdict::Fresh, Denial> {
        limits::check_tokens(scan)?;
        let judging = self.judging(fingerprint);
        let views = self.bound.views.tokens();
        limits::with_stack(scan, views, || {
            self.observing.judge(&judging, request, scan)
        })
    }

    fn judging(&self, fingerprint: u64) -> Judging<'_> {
        Judging {
            policy: &self.bound.policy,
            catalog: &self.bound.catalog,
            bound: &self.bound,
            judge: self.judge,
            fingerprint,
        }
    }

    /// The literals that a shape's variants are told apart by: all that any verdict on it read.
    fn keep_pins(&self, key: &[u8], known: Option<Arc<[u32]>>, read: &[u32]) -> Arc<[u32]> {
        let known = known.unwrap_or_default();
        if read.iter().all(|pin| known.binary_search(pin).is_ok()) {
            return known;
        }
        let mut all: Vec<u32> = known.iter().chain(read).copied().collect();
        all.sort_unstable();
        all.dedup();
        let all: Arc<[u32]> = all.into();
        self.cache.insert(key, Entry::Pinned(Arc::clone(&all)));
        all
    }
}

#[cfg(test)]
mod tests;
