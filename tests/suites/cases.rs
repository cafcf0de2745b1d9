//! Runs every case file: on the oracle alone (is the case itself sound?), through the engine, and
//! through the whole proxy in both protocols. A test's name is `how::case`, so that
//! `cargo test -p pgwarden-tests --test cases a1_` runs one class.

use std::path::Path;
use std::sync::Arc;

use libtest_mimic::{Arguments, Failed, Trial};
use pgwarden_tests::cases::{Case, read_all};
use pgwarden_tests::fixture::Arena;
use pgwarden_tests::runner::check_case;

fn main() {
    let arguments = Arguments::from_args();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut trials = Vec::new();
    for case in read_all(&directory) {
        let case = Arc::new(case);
        if case.simple {
            trials.push(trial("oracle", &case, |case| {
                check_case(case, &Arena::take(), false)
            }));
        } else {
            trials.push(trial("oracle", &case, |case| {
                check_case(case, &Arena::take(), true)
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
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
