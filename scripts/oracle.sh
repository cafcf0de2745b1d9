#!/usr/bin/env bash
# The long comparison with row level security: STATEMENTS random statements (200,000) in runs of 10,000, a
# seed each from SEED (1000), two at a time inside a run, and SCRIPTS random scripts (2,000) through the
# proxy. Prints a table for tests/ORACLE.md; fails if anything differs.
#
#   scripts/oracle.sh [STATEMENTS [SCRIPTS [SEED]]]
set -euo pipefail
cd "$(dirname "$0")/.."
statements="${1:-200000}"
scripts="${2:-2000}"
seed="${3:-1000}"
run=10000
failed=0
log="$(realpath "${CARGO_TARGET_DIR:-target}")/oracle"
rm -rf "$log"
mkdir -p "$log"
cargo test -q -p pgwarden-tests --test generator --no-run

suite() {
    nice -n 19 cargo test -q -p pgwarden-tests --test generator "$1" -- --nocapture
}

echo '| seed | what | came of it |'
echo '|---|---|---|'
show() {
    sed -nE "s/^seed ([0-9]+): (.*)/| \1 | $2 | \2 |/p" "$1"
}

for ((done = 0; done < statements; done += run, seed += 10)); do
    PGWARDEN_SEED=$seed PGWARDEN_STATEMENTS=$run suite what_the_engine >"$log/$seed" 2>&1 || failed=1
    show "$log/$seed" statements
done
if ((scripts > 0)); then
    PGWARDEN_SEED=$seed PGWARDEN_SCRIPTS=$scripts suite scripts_through >"$log/$seed" 2>&1 || failed=1
    show "$log/$seed" scripts
fi
grep -h '^DIFFERENT' -A 2 "$log"/* || true
exit $failed
