//! Judging a rewritten statement adds nothing new: what the engine wrote is a statement that it
//! reads as it reads the client's, guards the same relations in, and can prove again.

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
    WORLD.with_borrow_mut(|world| {
        let Ok((first, _)) = world.judge(0, text, Protocol::Simple) else {
            return;
        };
        match world.judge(0, &first, Protocol::Simple) {
            // Aliases of the rewriter's own are refused to clients, and CASE may be nested too deep.
            Err(denial) => assert_ne!(denial.reason, DenyReason::ProofFailed, "{first}"),
            Ok((second, _)) if first == text => assert_eq!(second, first),
            Ok((second, _)) => assert!(second.len() >= first.len(), "{first}"),
        }
    });
});
