//! The rewriter is broken in every way that we could think of, and the proof must refuse each; so it must what the
//! judge claims beside the text (checks at Bind, rows of COPY, cursors), made wrong.
//!
//! The statements are those of the case files. For every mutant some of them must really change,
//! the proof must refuse all that do, and (unless a mutant only harms by chance) one of them must
//! show, on a real PostgreSQL, that it would have given another answer than row level security.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use pgwarden_policy::DenyReason;
use pgwarden_policy::rewriting::{Misclaim, Rewriting};
use pgwarden_tests::cases::{Case, Expectation, Step, read_all};
use pgwarden_tests::engine::{Judged, engine_with};
use pgwarden_tests::fixture::{Arena, Tenant, server_version};
use pgwarden_tests::mutation::{Harm, MUTANTS, Mutant, broken, filled};
use pgwarden_tests::oracle::Outcome;
use pgwarden_tests::pair::Pair;
use pgwarden_tests::proxy::policy_with;

/// A mutant that changes fewer statements shows little.
const CHANGED_MIN: usize = 2;

/// How many broken statements are run to find one that does harm.
const TRIED_MAX: usize = 150;

/// Statements that case files can't run, and some more of rare kinds.
const MORE: &[&str] = &[
    "COPY notes FROM STDIN",
    "COPY leads (id, org_id, full_name) FROM STDIN (FORMAT csv)",
    "COPY notes (org_id, id, txt) FROM STDIN (FORMAT binary)",
    "DELETE FROM notes WHERE id = 1 RETURNING (SELECT count(*) FROM leads)",
    "INSERT INTO notes (id, txt) VALUES (901, 'x') RETURNING (SELECT count(*) FROM leads)",
    "INSERT INTO notes (id, org_id) SELECT 903, org_id FROM leads UNION ALL SELECT 904, 'b0000000-0000-0000-0000-000000000002'",
    "COPY notes (id, txt) FROM STDIN",
    "COPY shifts FROM STDIN (FORMAT csv, HEADER)",
    "COPY campaigns (id, name) FROM STDIN",
    "COPY leads (id, full_name) FROM STDIN (FORMAT binary)",
    "DECLARE c CURSOR FOR SELECT id FROM notes ORDER BY id",
    "DECLARE c CURSOR FOR SELECT n.id FROM notes n JOIN leads l ON l.org_id = n.org_id FOR UPDATE OF n",
    "SELECT pg_notify($1, full_name) FROM leads",
    "DELETE FROM notes WHERE CURRENT OF c",
    "UPDATE notes SET txt = 'x' WHERE CURRENT OF c RETURNING id",
];

fn case_of(sql: &str) -> Case {
    let step = Step {
        line: 0,
        admin: Vec::new(),
        sql: sql.to_owned(),
        values: Vec::new(),
        ordered: false,
        expect: Expectation::Safe,
    };
    Case {
        file: String::new(),
        name: sql.to_owned(),
        tenant: Tenant::A,
        second: false,
        policy: Vec::new(),
        simple: true,
        extended: true,
        server_min: 0,
        unlike: Vec::new(),
        steps: vec![step],
    }
}

/// What the proof said of wrong claims: how many there were, and the statements whose proofs held.
type Claimed = BTreeMap<String, (usize, Vec<String>)>;

/// What became of one mutant.
#[derive(Default)]
struct Outcomes<'c> {
    /// The statements that it changes, with what it made of them.
    changed: Vec<(&'c Subject<'c>, String)>,
    /// Those that the proof took for rewritten.
    survived: Vec<String>,
}

/// A statement that is rewritten.
struct Subject<'c> {
    case: &'c Case,
    sql: &'c str,
    own: u16,
    hidden: Vec<usize>,
}

#[test]
fn the_proof_refuses_what_a_broken_rewriter_would_write() {
    let mut cases = read_all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("cases"));
    let version = server_version();
    cases.retain(|case| case.suits(&version));
    cases.extend(MORE.iter().map(|sql| case_of(sql)));
    let mut all: Vec<Outcomes<'_>> = MUTANTS.iter().map(|_| Outcomes::default()).collect();
    let mut claimed = Claimed::new();
    let mut subjects = 0;
    let mut seen = HashSet::new();
    for case in &cases {
        let arena = case.arena();
        let mut session = Judged::new(&arena, case.tenant);
        if !case.policy.is_empty() {
            session = session.under(engine_with(policy_with(&case.policy)));
        }
        for step in &case.steps {
            if seen.insert((case.second, &case.policy, &step.sql)) {
                let tried = try_all(case, &step.sql, &mut session, &mut all, &mut claimed);
                subjects += usize::from(tried);
            }
        }
    }
    println!("{subjects} rewritten statements");
    assert!(subjects > 500, "{subjects} statements are rewritten");
    let texts = MUTANTS.iter().zip(&all).flat_map(|(m, o)| verdict(m, o));
    let problems: Vec<String> = texts.chain(believed(&claimed)).collect();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Tries all mutants on a statement, if it is rewritten.
fn try_all<'c>(
    case: &'c Case,
    sql: &'c str,
    session: &mut Judged,
    all: &mut [Outcomes<'c>],
    claimed: &mut Claimed,
) -> bool {
    let Ok(Some(rewriting)) = session.rewriting(sql) else {
        return false;
    };
    if rewriting.proves(&rewriting.text).is_err() {
        return false;
    }
    // A filter that the client has to write stands beside ours: what is claimed of it keeps nobody apart.
    if !case
        .policy
        .iter()
        .any(|line| line.starts_with("missing_filter"))
    {
        misclaim(&rewriting, sql, claimed);
    }
    let plain = canonical(&rewriting.text);
    let subject: &Subject<'_> = Box::leak(Box::new(Subject {
        case,
        sql,
        own: rewriting.own,
        hidden: rewriting.hidden().to_vec(),
    }));
    for (mutant, outcomes) in MUTANTS.iter().zip(all) {
        for text in broken(mutant, &rewriting.text, rewriting.own + 1) {
            if canonical(&text).is_none_or(|text| Some(text) == plain) {
                continue;
            }
            match rewriting.proves(&text) {
                Ok(()) => outcomes.survived.push(format!("{sql}\n      as {text}")),
                Err(denial) if denial.reason == DenyReason::ProofFailed => {}
                Err(_) => continue,
            }
            outcomes.changed.push((subject, text));
        }
    }
    true
}

/// Makes each of the judge's claims wrong.
fn misclaim(rewriting: &Rewriting<'_>, sql: &str, claimed: &mut Claimed) {
    for wrong in Misclaim::ALL {
        let proven = rewriting.misclaimed(*wrong);
        let (tried, believed) = claimed.entry(format!("{wrong:?}")).or_default();
        for proof in proven.expect("the text can be read") {
            *tried += 1;
            if proof.is_ok() {
                believed.push(sql.to_owned());
            }
        }
    }
}

/// The wrong claims that the proof took for true, and those that nothing showed.
fn believed(claimed: &Claimed) -> Vec<String> {
    let mut problems = Vec::new();
    for (wrong, (tried, believed)) in claimed {
        println!("{wrong}: {tried} claims, {} believed", believed.len());
        if *tried < CHANGED_MIN {
            problems.push(format!("{wrong}: {tried} claims only"));
        }
        if let Some(first) = believed.first() {
            let count = believed.len();
            problems.push(format!(
                "{wrong}: {count} of {tried} believed, such as\n    {first}"
            ));
        }
    }
    problems
}

/// A text without what means nothing: brackets, spaces. `None` if it can't be read.
fn canonical(text: &str) -> Option<String> {
    let parsed = pg_query::parse(text, 0).ok()?;
    parsed.deparse(pg_query::DeparseOptions::default()).ok()
}

fn verdict(mutant: &Mutant, outcomes: &Outcomes<'_>) -> Vec<String> {
    let name = mutant.name;
    let mut problems = Vec::new();
    let changed = outcomes.changed.len();
    if changed < CHANGED_MIN {
        problems.push(format!("{name}: changes {changed} statements only"));
    }
    if let Some(first) = outcomes.survived.first() {
        let survived = outcomes.survived.len();
        problems.push(format!(
            "{name}: {survived} of {changed} survive, such as\n    {first}"
        ));
    }
    let harm = harm(outcomes);
    let shown = match &harm {
        Some(text) => format!("harm shown by {text}"),
        None => "no harm shown".to_owned(),
    };
    println!("{name}: {changed} changed; {shown}");
    if mutant.harm == Harm::Answer && harm.is_none() {
        problems.push(format!("{name}: none of {changed} does harm"));
    }
    problems
}

/// A broken statement that gives another answer than row level security.
fn harm(outcomes: &Outcomes<'_>) -> Option<String> {
    let arena = Arena::take();
    let usable = outcomes.changed.iter().filter(|(subject, _)| {
        let case = subject.case;
        let copies_in = subject.sql.contains("STDIN");
        !copies_in
            && subject.own == 0
            && !case.second
            && case.policy.is_empty()
            && case.steps.len() == 1
    });
    let mut pairs: Vec<(Tenant, Pair)> = Vec::new();
    for (subject, text) in usable.take(TRIED_MAX) {
        let tenant = subject.case.tenant;
        if !pairs.iter().any(|(known, _)| *known == tenant) {
            pairs.push((tenant, Pair::new(&arena, tenant)));
        }
        let at = pairs.iter().position(|(known, _)| *known == tenant)?;
        let text = filled(text, &subject.hidden, tenant);
        let pair = &mut pairs[at].1;
        let writes = subject.case.writes();
        let run = || pair.compare(&text, subject.sql, writes).0;
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Outcome::Different(_)) => return Some(subject.case.name.clone()),
            // A marker of the other tenant arrived.
            Err(_) => return Some(format!("{} (a leak)", subject.case.name)),
            Ok(_) => {}
        }
    }
    None
}
