//! The drift guard: what a database lacks to keep tenants apart by itself, at the start and after each
//! change of its catalogue.
//!
//! With `require_rls = "warn"` or `"enforce"` everything that the lints of `enforcement` find is told
//! (the latter denies it, too: the engine). With `"off"` only what goes: a guarantee that a table had
//! when it was first seen, and has not any more. What is told stands in the log once, with the SQL
//! that mends it, and counts in `pgwarden_schema_findings` until it is mended.

use std::collections::{BTreeSet, HashSet};

use pgwarden_policy::Engine;
use pgwarden_policy::catalog::Oid;
use pgwarden_policy::engine::FindingCode;
use pgwarden_policy::rules::RequireRls;
use pgwarden_schema::audit::{Assessment, Gap, guarantee_codes};

/// What a gap is known by: its code and object.
type Key = (&'static str, String);

/// What was seen of a database so far.
#[derive(Debug, Default)]
pub(super) struct Drift {
    /// The scoped tables at the last look.
    tables: BTreeSet<String>,
    /// What they lacked from the first.
    accepted: HashSet<Key>,
    /// What is told.
    told: Vec<Told>,
    doubted: HashSet<Oid>,
}

/// Something that a database lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) code: &'static str,
    pub(crate) object: String,
    pub(crate) why: String,
    pub(crate) fix: Option<String>,
}

/// Every code that is told.
pub(crate) fn codes() -> Vec<&'static str> {
    let mut codes: Vec<_> = guarantee_codes().collect();
    for code in FindingCode::ALL {
        if !codes.contains(&code.as_str()) {
            codes.push(code.as_str());
        }
    }
    codes
}

/// What is missing: what the lints find, and what else the engine does.
pub(crate) fn missing<'a>(engine: &Engine, gaps: impl Iterator<Item = &'a Gap>) -> Vec<Told> {
    let mut missing: Vec<Told> = gaps.map(Told::of).collect();
    for finding in engine.findings() {
        let known = |it: &Told| it.code == finding.code.as_str() && it.object == finding.object;
        if !missing.iter().any(known) {
            missing.push(Told {
                code: finding.code.as_str(),
                object: finding.object.clone(),
                why: format!("the relation {}", finding.code.describe()),
                fix: None,
            });
        }
    }
    missing
}

impl Told {
    fn of(gap: &Gap) -> Self {
        Self {
            code: gap.finding.code,
            object: gap.finding.object.clone(),
            why: gap.finding.why.clone(),
            fix: gap.finding.fix.clone(),
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.code == other.code && self.object == other.object
    }
}

impl Drift {
    /// Compares with the last look, and logs what is new and what is mended.
    pub(super) fn look(&mut self, database: &str, engine: &Engine, assessment: Assessment) {
        let required = engine.policy().defaults.require_rls != RequireRls::Off;
        self.accept(&assessment);
        let gaps = assessment.gaps.iter();
        let told = missing(
            engine,
            gaps.filter(|gap| required || !self.accepted.contains(&key(gap))),
        );
        for it in told
            .iter()
            .filter(|it| !self.told.iter().any(|was| was.is(it)))
        {
            warn(database, it);
        }
        for it in self
            .told
            .iter()
            .filter(|it| !told.iter().any(|is| is.is(it)))
        {
            tracing::info!(database, code = it.code, object = it.object, "mended");
        }
        self.told = told;
        self.tables = assessment.tables;
        self.doubted = assessment.doubted;
    }

    /// What a table lacks when it is first seen is no drift. What it has had since is.
    fn accept(&mut self, assessment: &Assessment) {
        let missing: HashSet<Key> = assessment.gaps.iter().map(key).collect();
        self.accepted.retain(|it| missing.contains(it));
        let tables = &self.tables;
        let new = assessment.gaps.iter();
        let new = new.filter(|gap| !tables.contains(&gap.table));
        self.accepted.extend(new.map(key));
    }

    /// Whether the engine must be told other doubts than at the last look.
    pub(super) fn doubts_others(&self, assessment: &Assessment) -> bool {
        self.doubted != assessment.doubted
    }

    /// The tables whose policies don't keep tenants apart.
    pub(super) fn doubted(&self) -> &HashSet<Oid> {
        &self.doubted
    }

    /// The codes of what is told.
    pub(super) fn codes(&self) -> Vec<&'static str> {
        self.told.iter().map(|it| it.code).collect()
    }
}

fn key(gap: &Gap) -> Key {
    (gap.finding.code, gap.finding.object.clone())
}

/// On one line, so that the SQL can be pasted.
fn warn(database: &str, told: &Told) {
    let (code, object) = (told.code, told.object.as_str());
    match &told.fix {
        Some(fix) => {
            let fix = fix.replace('\n', " ");
            tracing::warn!(database, code, object, %fix, "{}", told.why);
        }
        None => tracing::warn!(database, code, object, "{}", told.why),
    }
}
