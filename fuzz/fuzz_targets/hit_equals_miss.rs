//! A plan from the cache and one made afresh agree: for the text itself, and for one of its shape with
//! other constants, asked by another tenant.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::{fuzz_crossover, fuzz_mutator, fuzz_target};
use pgwarden_fuzz::World;
use pgwarden_policy::Protocol;

thread_local! {
    static CACHED: RefCell<World> = RefCell::new(World::new(8 << 20));
    static FRESH: RefCell<World> = RefCell::new(World::new(0));
}

fuzz_mutator!(|data: &mut [u8], size: usize, size_max: usize, seed: u32| {
    pgwarden_fuzz::mutate(data, size, size_max, seed)
});

fuzz_crossover!(|one: &[u8], two: &[u8], out: &mut [u8], seed: u32| {
    pgwarden_fuzz::cross(one, two, out, seed)
});

fuzz_target!(|text: &str| {
    let other = with_other_constants(text);
    for protocol in [Protocol::Simple, Protocol::Extended] {
        let judge = |world: &RefCell<World>, tenant, text: &str| {
            let judged = world.borrow_mut().judge(tenant, text, protocol);
            let judged = judged.map(|(sent, plan)| (sent, format!("{plan:?}")));
            judged.map_err(|denial| (denial.reason, denial.message))
        };
        for (tenant, text) in [(0, text), (1, &other), (0, &other), (1, text)] {
            let cached = CACHED.with(|world| judge(world, tenant, text));
            let fresh = FRESH.with(|world| judge(world, tenant, text));
            assert_eq!(cached, fresh);
        }
    }
});

/// Other digits in numbers, other digits and letters in quotes; names and parameters stay.
fn with_other_constants(text: &str) -> String {
    let mut quoted = false;
    let mut named = false;
    let mut changed = String::with_capacity(text.len());
    for now in text.chars() {
        quoted ^= now == '\'';
        named = now.is_alphabetic() || "_$\"".contains(now) || named && now.is_ascii_digit();
        changed.push(match now {
            '0'..='8' if quoted || !named => char::from(now as u8 + 1),
            'a'..='e' if quoted => char::from(now as u8 + 1),
            _ => now,
        });
    }
    changed
}
