//! Any text is judged, in both protocols, without a panic and without a proof that fails: what the
//! judge lets through it has rewritten as the proof demands.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use pgwarden_fuzz::World;
use pgwarden_policy::{DenyReason, Protocol};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(0));
}

fuzz_target!(|text: &str| {
    for protocol in [Protocol::Simple, Protocol::Extended] {
        let judged = WORLD.with_borrow_mut(|world| world.judge(0, text, protocol));
        if let Err(denial) = judged {
            assert_ne!(denial.reason, DenyReason::ProofFailed, "{}", denial.message);
        }
    }
});
