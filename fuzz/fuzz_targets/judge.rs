//! Any text is judged without a panic, and a verdict from the cache equals one made afresh.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pgwarden_benches::Bench;
use pgwarden_policy::Protocol;

thread_local! {
    static CACHED: RefCell<Bench> = RefCell::new(Bench::new(8 << 20));
    static FRESH: RefCell<Bench> = RefCell::new(Bench::new(0));
}

fuzz_target!(|text: &str| {
    for protocol in [Protocol::Simple, Protocol::Extended] {
        let judge = |bench: &RefCell<Bench>| {
            let verdict = bench.borrow_mut().try_judge(text, protocol);
            verdict.map_err(|denial| denial.reason)
        };
        let cached = CACHED.with(judge);
        let again = CACHED.with(judge);
        let fresh = FRESH.with(judge);
        assert_eq!(cached, fresh);
        assert_eq!(again, fresh);
    }
});
