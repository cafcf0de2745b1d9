//! Any text is judged, in both protocols, without a panic and without a proof that fails: what the
//! judge lets through it has rewritten as the proof demands.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use pgwarden_fuzz::World;
use pgwarden_policy::{DenyReason, Protocol};

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(0));
}

fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    pgwarden_fuzz::mutate(data, size, size_max, seed)
});

fuzz_crossover!(|one: &[u8], two: &[u8], out: &mut [u8], seed: u32| {
    pgwarden_fuzz::cross(one, two, out, seed)
});

fuzz_target!(|text: &str| {
    for protocol in [Protocol::Simple, Protocol::Extended] {
        let judged = WORLD.with_borrow_mut(|world| world.judge(0, text, protocol));
        if let Err(denial) = judged {
            assert_ne!(denial.reason, DenyReason::ProofFailed, "{}", denial.message);
        }
    }
});
