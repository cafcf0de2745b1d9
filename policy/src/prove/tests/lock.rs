//! Locks.

use super::super::Gap;
use super::{outcome, outcome_with, proven};

#[test]
fn what_is_locked_is_a_table_in_a_mode_that_holds_up_nobody() {
    let mild = "LOCK leads IN ROW EXCLUSIVE MODE";
    let there = "LOCK public.leads IN ROW EXCLUSIVE MODE";
    assert!(outcome_with(mild, there, |_| {}).is_ok());
    let strong = "LOCK public.leads IN SHARE MODE";
    assert!(outcome(mild, strong).is_err(), "another mode");
    assert_eq!(
        outcome("LOCK leads IN SHARE MODE", strong).err(),
        Some(Gap("a lock holds up other tenants"))
    );
    assert!(outcome(mild, "LOCK public.plans IN ROW EXCLUSIVE MODE").is_err());
}

#[test]
fn locks_name_aliases() {
    proven(
        "SELECT * FROM leads l FOR UPDATE OF l",
        "SELECT * FROM public.leads l WHERE @l@ FOR UPDATE OF l",
    );
}
