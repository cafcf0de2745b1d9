//! Judging a rewritten statement adds nothing new: what the engine wrote is a statement that it
//! reads as it reads the client's, guards the same relations in, and can prove again.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pgwarden_benches::Bench;
use pgwarden_policy::{DenyReason, Protocol};

thread_local! {
    static BENCH: RefCell<Bench> = RefCell::new(Bench::new(0));
}

fuzz_target!(|text: &str| {
    BENCH.with_borrow_mut(|bench| {
        let first = match bench.try_judge(text, Protocol::Simple) {
            Ok(first) => first,
            Err(denial) => {
                assert_ne!(denial.reason, DenyReason::ProofFailed, "{text}");
                return;
            }
        };
        match bench.try_judge(&first, Protocol::Simple) {
            // Aliases of the rewriter's own are refused to clients, and CASE may be nested too deep.
            Err(denial) => assert_ne!(denial.reason, DenyReason::ProofFailed, "{first}"),
            Ok(second) if first == text => assert_eq!(second, first),
            Ok(second) => assert!(second.len() >= first.len(), "{first}"),
        }
    });
});
