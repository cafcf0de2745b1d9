# The commands of every day. Each installs what it needs (scripts/setup.sh).

.PHONY: help setup build demo test test-versions oracle sqlsmith regress soak client-suites fuzz lint bench

help:                   ## What there is
	@grep -E '^[a-z0-9%-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9%-]+):[^#]*## */\1\t/' | expand -t 10

setup:                  ## Install what building and testing need
	@scripts/setup.sh test

build:                  ## The release binary, target/release/pgwarden
	@scripts/setup.sh build
	cargo build --release -p pgwarden

demo: build             ## A throwaway PostgreSQL, two organisations, the proxy, commands to paste
	@cargo run -q --release -p pgwarden -- demo

test: setup             ## All suites, on a real PostgreSQL with real clients
	cargo test --workspace --no-fail-fast
	PGWARDEN_SUITES_POOL=transaction cargo test -p pgwarden-tests --test drivers --test protocol_prepared --test protocol_extended --test protocol_lookup --test ddl --test ddl_uncommitted

test-%: setup          ## test-13 … test-18: case files, lists, audit and random statements on that version (npm's binaries)
	@scripts/test-version.sh $*

test-versions: setup   ## The same on each of them
	@scripts/test-version.sh all

oracle: setup           ## 200,000 random statements and 2,000 scripts beside row level security
	@scripts/oracle.sh

sqlsmith: setup         ## STATEMENTS (2000) that Debian's sqlsmith writes, beside row level security
	@command -v sqlsmith >/dev/null || apt-get install -y --no-install-recommends sqlsmith
	PGWARDEN_STATEMENTS=$(or $(STATEMENTS),2000) cargo test -p pgwarden-tests --test strangers sqlsmith -- --ignored --nocapture

regress: setup          ## PostgreSQL's own regression SQL, statement by statement
	@scripts/regress.sh

soak: setup             ## Many clients, faults all the time, TIME seconds (600)
	PGWARDEN_SOAK_SECONDS=$(or $(TIME),600) cargo test -p pgwarden-tests --test soak -- --nocapture

client-suites: build    ## Upstream suites of clients, beside PostgreSQL alone (SUITES, TARGETS)
	tests/drivers/upstream/run.py $(if $(SUITES),--suites $(SUITES)) $(if $(TARGETS),--targets $(TARGETS))

fuzz: setup             ## The fuzz targets, TIME seconds each (300)
	@scripts/fuzz.sh $(TIME)

lint:                   ## Format, clippy, documentation, dependencies
	@scripts/lint.sh

bench: build            ## pgbench beside PgBouncer and HAProxy: benches/RESULTS.md
	@scripts/setup.sh bench
	cargo build --release -p pgwarden-benches --bin load
	python3 benches/proxies/run.py
