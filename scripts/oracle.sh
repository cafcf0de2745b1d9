#!/usr/bin/env bash
# The long comparison with row level security: STATEMENTS random statements (200,000) in runs of 10,000, a
# seed each from SEED (1000), two at a time inside a run, and SCRIPTS random scripts (2,000) through the
# proxy. Prints a table for tests/ORACLE.md, the sums, and what differs; fails if anything does.
#
# RESUME=1 keeps the runs of these seeds that an earlier call has ended.
#
#   scripts/oracle.sh [STATEMENTS [SCRIPTS [SEED]]]
set -euo pipefail
cd "$(dirname "$0")/.."
log="$(realpath "${CARGO_TARGET_DIR:-target}")/oracle"

# A copy of the suite, so that building something else meanwhile changes nothing. What judges is optimised:
# it is half of the work.
build() {
    [ -n "${RESUME:-}" ] || rm -rf "$log"
    mkdir -p "$log"
    local built
    built="$(cargo test -p pgwarden-tests --test generator --no-run \
        --config 'profile.dev.package.pgwarden-policy.opt-level=1' 2>&1)"
    built="$(sed -nE 's/^ *Executable .*\((.*)\)$/\1/p' <<<"$built")"
    cp "$built" "$log/suite"
}

# run FILE TEST: one part of it. FILE has what it says.
run() {
    [ -n "${RESUME:-}" ] && grep -aq '^seed ' "$1" 2>/dev/null && ! grep -aq '^DIFFERENT' "$1" && return
    local passed=0
    (cd tests && nice -n 19 "$log/suite" "$2" --nocapture) >"$1" 2>&1 || passed=1
    # On one core the test's name stands in front of what it says.
    sed -i -E 's/^test .* \.\.\. (seed [0-9]+:)/\1/' "$1"
    return $passed
}

show() {
    sed -nE "s/^seed ([0-9]+): (.*)/| \1 | $2 | \2 |/p" "$1"
}

# The numbers of all runs together, and of each kind of statement.
sum() {
    awk '
        /^seed / { n += $3; writes += substr($5, 2); same += $7; rows += $10; errors += $12; late += $15; hostile += $(NF - 5); differ += $(NF - 1) }
        /^\| / { split($0, cell, / *\| */); if (!(cell[2] in all)) order[++kinds] = cell[2]
                 all[cell[2]] += cell[3]; alike[cell[2]] += cell[4]; failed[cell[2]] += cell[5]; denied[cell[2]] += cell[6] }
        END {
            printf "\nin all: %d statements (%d write): %d equal with %d rows, %d equal errors, %d timed out, %d hostile ones denied, %d different\n\n", n, writes, same, rows, errors, late, hostile, differ
            print "| kind | statements | equal | equal errors | denied |\n|---|---|---|---|---|"
            for (i = 1; i <= kinds; i++) { k = order[i]; printf "| %s | %d | %d | %d | %d |\n", k, all[k], alike[k], failed[k], denied[k] }
        }' "$@"
}

main() {
    local statements="${1:-200000}" scripts="${2:-2000}" seed="${3:-1000}"
    local most=10000 failed=0 done
    build
    echo '| seed | what | came of it |'
    echo '|---|---|---|'
    for ((done = 0; done < statements; done += most, seed += 10)); do
        PGWARDEN_SEED=$seed PGWARDEN_STATEMENTS=$most run "$log/$seed" what_the_engine || failed=1
        show "$log/$seed" statements
    done
    if ((scripts > 0)); then
        PGWARDEN_SEED=$seed PGWARDEN_SCRIPTS=$scripts run "$log/$seed" scripts_through || failed=1
        show "$log/$seed" scripts
    fi
    rm "$log/suite"
    sum "$log"/*
    grep -ah '^DIFFERENT' -A 4 "$log"/* || true
    exit $failed
}

main "$@"
