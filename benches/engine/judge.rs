//! What a verdict costs: found in the plan cache, and made afresh.
//!
//! The bounds that the engine must hold, on one core: 2 µs for a hit of 55 bytes, 5 µs for one of
//! 300 bytes, 400 µs for a miss of 300 bytes.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use pgwarden_benches::{Bench, STATEMENTS};
use pgwarden_policy::Protocol;

/// As much cache as a proxy has by default.
const CACHED: usize = 64 << 20;

fn verdicts(criterion: &mut Criterion) {
    for (name, cache_bytes) in [("judge_hit", CACHED), ("judge_miss", 0)] {
        let mut group = criterion.benchmark_group(name);
        for (label, text) in STATEMENTS {
            for protocol in [Protocol::Simple, Protocol::Extended] {
                let mut bench = Bench::new(cache_bytes);
                let id = BenchmarkId::new(*label, format!("{protocol:?}"));
                group.bench_function(id, |bencher| {
                    bencher.iter(|| black_box(bench.judge(text, protocol)));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
