#!/usr/bin/env bash
# Fetches PostgreSQL's own regression SQL (it comes with pg_raw_parse, a crate around libpg_query)
# into target/regress, and judges it statement by statement.
set -euo pipefail
cd "$(dirname "$0")/.."
target="$(realpath "${CARGO_TARGET_DIR:-target}")"
place="$target/regress"

if [ ! -e "$place/sql/test_setup.sql" ]; then
    mkdir -p "$place/fetch/src" "$place/sql"
    : >"$place/fetch/src/lib.rs"
    cat >"$place/fetch/Cargo.toml" <<'TOML'
[package]
name = "fetch"
version = "0.0.0"
edition = "2024"
[dependencies]
pg_raw_parse = "=0.1.0"
[workspace]
TOML
    manifest=$(cargo metadata --format-version 1 --manifest-path "$place/fetch/Cargo.toml" |
        python3 -c 'import json, sys
for package in json.load(sys.stdin)["packages"]:
    if package["name"] == "pg_raw_parse":
        print(package["manifest_path"])')
    cp "$(dirname "$manifest")"/libpg_query/test/sql/postgres_regress/*.sql "$place/sql/"
fi

PGWARDEN_REGRESS="$place/sql" cargo test -p pgwarden-tests --test regress -- --ignored --nocapture
