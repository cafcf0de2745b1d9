//! How long suites wait for what must come: long. A machine may be busy, or stand still for a while;
//! only a fault is waited for in vain.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// What takes longer never comes: `PGWARDEN_PATIENCE` seconds.
pub fn patience() -> Duration {
    let given = env::var("PGWARDEN_PATIENCE").ok();
    Duration::from_secs(given.and_then(|it| it.parse().ok()).unwrap_or(120))
}

/// Waits until it is so.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    until_some(what, || condition().then_some(()));
}

/// Asks until there is an answer.
#[track_caller]
pub fn until_some<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < patience(), "{what} did not come");
        sleep(Duration::from_millis(5));
    }
}

/// Does it so many times, and on until something has come that chance brings sooner or later.
#[track_caller]
pub fn at_least(times: usize, come: impl Fn() -> bool, mut work: impl FnMut(usize)) {
    let started = Instant::now();
    for n in 0.. {
        if n >= times && come() {
            return;
        }
        let waits = n < times || started.elapsed() < patience();
        assert!(waits, "what chance brings did not come");
        work(n);
    }
}

/// Ends the work of other threads when it is dropped, also by a panic: they would be waited for without end.
#[derive(Debug)]
pub struct Over<'a>(pub &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Tries what has to be done while something lives that ends by the clock, a token mostly. It gets how many
/// seconds that may live: few, unless the machine is too busy for that.
#[track_caller]
pub fn within_a_life<T>(attempt: impl FnMut(u64) -> Option<T>) -> T {
    let done = [2, 4, 8, 16, 32, 64].into_iter().find_map(attempt);
    done.expect("a minute is long enough")
}
