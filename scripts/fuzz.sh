#!/usr/bin/env bash
# Runs each fuzz target for TIME seconds (default 300), from the kept corpus and the case files'
# statements. Needs cargo-fuzz: cargo install --locked cargo-fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
time="${1:-300}"
seeds="$(realpath "${CARGO_TARGET_DIR:-target}")/fuzz-seeds"
export RUSTC_BOOTSTRAP=1 # the sanitizer's flags are not stable
# libpg_query measures the depth of a stack that the sanitizer would take variables away from.
export ASAN_OPTIONS="detect_stack_use_after_return=0:detect_odr_violation=0"
# Its errors jump out of many frames, which the sanitizer understands on the thread's own stack alone: let
# that be large enough for all statements.
ulimit -s 524288

mkdir -p "$seeds"
export PGWARDEN_FUZZ_CATALOG="$seeds.catalog.json"
cargo test -q -p pgwarden-tests --test catalog -- --ignored writes_the_snapshot
awk -v place="$seeds" '
    /^(===|@|#)/ { text = ""; next }
    /^>>> / { if (text != "") { file = place "/" ++number; printf "%s", text >file; close(file) }; text = ""; next }
    { text = text == "" ? $0 : text "\n" $0 }
' tests/cases/*.test

for target in judge fixed_point hit_equals_miss messages; do
    corpus="fuzz/corpus/$target"
    mkdir -p "$corpus"
    # New inputs are kept in the first directory.
    found="$seeds-$target"
    mkdir -p "$found"
    cargo fuzz run "$target" "$found" "$corpus" "$seeds" -- \
        -max_total_time="$time" -max_len=2000 -timeout=20 -rss_limit_mb=3000 -print_final_stats=1
done
