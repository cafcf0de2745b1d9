#!/usr/bin/env python3
"""pgwarden beside PgBouncer and HAProxy in front of one PostgreSQL.

Runs everything in interleaved, rotated rounds, so that a machine whose speed drifts treats every
system alike, and writes ratios with their minimum and maximum to benches/RESULTS.md and plots
beside it. Absolute times are for orientation only; CPU time per transaction, from /proc/PID/stat,
is steadier than the clock. With one client the cores are kept out of idle by SCHED_IDLE loops:
waking a halted virtual CPU costs as much as a proxy does.
"""

import argparse

import report
import scenarios
from systems import ROOT, Bench


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", default=str(ROOT / "target/release/pgwarden"),
                        help="pgwarden; the bench's own load lies beside it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--only-table", action="store_true", help="leave out all but pgbench -S")
    parser.add_argument("--note", default="", help="a sentence on what was run, for the results")
    args = parser.parse_args()
    bench = Bench(args.binary)
    try:
        bench.start()
        cells = scenarios.main_table(bench, args.rounds, args.seconds, args.clients)
        found = {} if args.only_table else scenarios.all_of(bench, args.rounds, args.seconds)
        report.write(bench, cells, found, args)
    finally:
        bench.stop()


if __name__ == "__main__":
    main()
