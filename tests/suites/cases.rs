//! Runs every case file: on the oracle alone (is the case itself sound?), through the engine, and
//! through the whole proxy in both protocols. A test's name is `how::case`, so that
//! `cargo test -p pgwarden-tests --test cases a1_` runs one class.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use pgwarden_tests::cases::{Case, read_all};
use pgwarden_tests::engine::{Judged, engine_with};
use pgwarden_tests::fixture::server_version;
use pgwarden_tests::oracle::Direct;
use pgwarden_tests::proxy::{address_with, policy_with, session, session_at};
use pgwarden_tests::runner::{check_case, run_case};

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let version = server_version();
    let mut trials = Vec::new();
    for case in read_all(&directory) {
        let suits = case.suits(&version);
        let case = Arc::new(case);
        let first = trials.len();
        let extended = !case.simple;
        trials.push(trial("oracle", &case, move |case| {
            check_case(case, &case.arena(), extended)
        }));
        if case.simple && case.steps.len() == 1 {
            trials.push(trial("engine", &case, through_the_engine));
        }
        if case.simple {
            trials.push(trial("simple", &case, |case| {
                through_the_proxy(case, false)
            }));
        }
        if case.extended {
            trials.push(trial("extended", &case, |case| {
                through_the_proxy(case, true)
            }));
        }
        let own = trials.drain(first..).collect::<Vec<_>>();
        trials.extend(own.into_iter().map(|it| it.with_ignored_flag(!suits)));
    }
    libtest_mimic::run(&arguments, trials).exit();
}

/// Judged in process: no session, hence single statements only.
fn through_the_engine(case: &Case) -> Result<(), String> {
    let arena = case.arena();
    let mut subject = Judged::new(&arena, case.tenant);
    if !case.policy.is_empty() {
        subject = subject.under(engine_with(policy_with(&case.policy)));
    }
    run_case(case, &arena, &mut subject, false)
}

fn through_the_proxy(case: &Case, extended: bool) -> Result<(), String> {
    let arena = case.arena();
    let client = if case.policy.is_empty() {
        session(&arena.plain(), case.tenant)
    } else {
        session_at(address_with(&case.policy), &arena.plain(), case.tenant)
    };
    let mut subject = Direct { client, extended };
    run_case(case, &arena, &mut subject, extended)
}

fn trial(
    how: &str,
    case: &Arc<Case>,
    run: impl Fn(&Case) -> Result<(), String> + Send + 'static,
) -> Trial {
    let case = Arc::clone(case);
    Trial::test(format!("{how}::{}", case.name), move || {
        run(&case).map_err(Failed::from)
    })
}
