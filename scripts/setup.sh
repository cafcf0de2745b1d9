#!/usr/bin/env bash
# Installs what is missing to build, test and demonstrate pgwarden on Debian or Ubuntu with a Rust
# toolchain. Quick and silent when nothing is missing; safe to run again.
#
#   scripts/setup.sh          build and demo: C compiler, libclang, PostgreSQL
#   scripts/setup.sh test     and the drivers: psycopg, asyncpg (target/venv), pg (target/node)
#   scripts/setup.sh bench    and what is measured beside pgwarden: PgBouncer, HAProxy
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}"
purpose="${1:-build}"

die() {
    echo "setup: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "must install packages: run as root, or install sudo"
    fi
}

missing=()
# need PACKAGES COMMAND...: notes the packages when the command fails.
need() {
    local packages="$1"
    shift
    "$@" >/dev/null 2>&1 || missing+=($packages)
}

# PostgreSQL's servers stand outside PATH on Debian.
server_binary() {
    local place
    for place in "${PGWARDEN_PG_BIN:-}" /usr/lib/postgresql/*/bin /usr/local/pgsql/bin; do
        [ -x "$place/$1" ] && return 0
    done
    command -v "$1"
}

libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' ||
        compgen -G '/usr/lib/*/libclang*.so*' || compgen -G '/usr/lib*/libclang*.so*'
}

install_missing() {
    [ ${#missing[@]} -eq 0 ] && return
    command -v apt-get >/dev/null || die "please install: ${missing[*]}"
    echo "setup: installing ${missing[*]}" >&2
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
    missing=()
}

need_to_build() {
    need "gcc libc6-dev" command -v cc
    need "clang libclang-dev" libclang
    need "clang" command -v clang
    need "make" command -v make
    need "postgresql" server_binary initdb
    need "postgresql" server_binary postgres
    need "postgresql-client" command -v psql
}

need_to_test() {
    need "python3 python3-venv" python3 -c 'import venv, ensurepip'
    need "nodejs" command -v node
    need "npm" command -v npm
}

need_to_bench() {
    need "openssl" command -v openssl
    need "python3" command -v python3
    need "haproxy" test -x /usr/sbin/haproxy
    need "pgbouncer" test -x /usr/sbin/pgbouncer
    need "postgresql" server_binary pgbench
}

# Whether what a list of requirements gave is still what it says.
current() {
    [ -e "$2" ] && cmp -s "$1" "$2"
}

python_drivers() {
    local list=tests/drivers/python/requirements.txt place="$target/venv"
    current "$list" "$place/installed.txt" && return
    # A Python that was there before may lack ensurepip; Debian's has it now.
    local python=python3
    "$python" -c 'import ensurepip' 2>/dev/null || python=/usr/bin/python3
    "$python" -m venv --clear "$place"
    "$place/bin/python" -m pip install -q --disable-pip-version-check -r "$list"
    cp "$list" "$place/installed.txt"
}

node_drivers() {
    local list=tests/drivers/node/package.json place="$target/node"
    current "$list" "$place/installed.json" && return
    mkdir -p "$place"
    cp "$list" "$place/package.json"
    (cd "$place" && npm install --silent --no-audit --no-fund)
    cp "$list" "$place/installed.json"
}

command -v cargo >/dev/null || die "no Rust toolchain: see https://rustup.rs"
case "$purpose" in
build)
    need_to_build
    install_missing
    ;;
test)
    need_to_build
    need_to_test
    install_missing
    python_drivers
    node_drivers
    ;;
bench)
    need_to_build
    need_to_bench
    install_missing
    ;;
*) die "unknown purpose $purpose: build, test or bench" ;;
esac
