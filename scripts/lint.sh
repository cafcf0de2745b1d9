#!/usr/bin/env bash
# Everything that can be said about the code without running it.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh build

step() {
    echo "== $*"
    "$@"
}

step cargo fmt --all -- --check
step cargo clippy --workspace --all-targets -- -D warnings
# Those who read it read the private items, too.
RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" \
    step cargo doc --workspace --no-deps --quiet

# Both take minutes to build, so they run where they are installed:
#   cargo install --locked cargo-deny cargo-machete
for tool in deny machete; do
    if ! command -v "cargo-$tool" >/dev/null; then
        echo "== cargo $tool: not installed, skipped"
    elif [ "$tool" = deny ]; then
        # Advisories need the network's database; what is checked here is in deny.toml alone.
        step cargo deny --log-level error check bans licenses sources
    else
        step cargo machete --skip-target-dir
    fi
done
