#!/usr/bin/env python3
"""Runs upstream test suites of PostgreSQL clients with and without pgwarden, and compares test by test.

    make client-suites [SUITES="asyncpg psycopg2"] [TARGETS="transaction-off transaction"]

What passes for a role of few rights on PostgreSQL itself must pass through pgwarden, or fail for a
reason that `by_design.toml` lists. Anything else is a fault: it is shown, and the exit status is 1.
"""

import argparse
import os
import pathlib
import re
import sys
import tempfile
import tomllib

import scope
from outcome import FAILED, PASSED
from suites import SUITES
from systems import SCOPED, TARGETS, System, base

HERE = pathlib.Path(__file__).parent


def reasons():
    """Patterns of a failure's text or a test's name, and why they are not faults."""
    listed = tomllib.loads((HERE / "by_design.toml").read_text())["reason"]
    compiled = lambda it, key: re.compile(it[key], re.DOTALL) if key in it else None
    return [(it["why"], it.get("targets"), compiled(it, "text"), compiled(it, "test"))
            for it in listed]


def reason(listed, target, name, text):
    """A reason that holds in a pool's mode holds there with scoped tables, too. None excuses a leak."""
    if scope.MARK in text:
        return None
    target = target.removesuffix("-scoped")
    for why, targets, of_text, of_test in listed:
        if targets and target not in targets:
            continue
        if (of_text is None or of_text.search(text)) and (of_test is None or of_test.search(name)):
            return why
    return None


def compare(suite, target, without, found):
    """Prints what became of the tests that pass without pgwarden. Gives the number of faults."""
    wanted = [name for name, (outcome, _) in without.items() if outcome == PASSED]
    counts, faults, listed = {}, [], reasons()
    for name in wanted:
        outcome, text = found.get(name, (FAILED, "it did not run"))
        why = None if outcome == PASSED else reason(listed, target, name, text)
        if outcome == PASSED:
            continue
        if why is None:
            faults.append((name, text))
        else:
            counts[why] = counts.get(why, 0) + 1
    designed = sum(counts.values())
    passed = len(wanted) - designed - len(faults)
    print(f"\n{suite}, {target}: {len(wanted)} pass without pgwarden; with it {passed} pass, "
          f"{designed} fail by design, {len(faults)} otherwise")
    for why, count in sorted(counts.items(), key=lambda it: -it[1]):
        print(f"  {count:4} {why}")
    for name, text in faults:
        print(f"  FAULT {name}: {' '.join(text.split())[:300]}")
    sys.stdout.flush()
    return len(faults)


def in_order(targets):
    """Each target behind the one that it is compared with."""
    return dict.fromkeys(it for target in targets for it in (base(target), target))


def takes(suite, target):
    """Whether a suite can make its tables many tenants': `never` (most), `also` or `always`."""
    scoped = getattr(suite, "scoped", "never")
    return scoped == "also" or (target in SCOPED) == (scoped == "always")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--suites", nargs="*", default=list(SUITES), choices=SUITES)
    parser.add_argument("--targets", nargs="*", default=[it for it in TARGETS if TARGETS[it]],
                        choices=TARGETS)
    parser.add_argument("--pgwarden", type=pathlib.Path,
                        default=HERE.parents[2] / "target/release/pgwarden")
    parser.add_argument("--keep", help="a directory for sources and results, kept")
    given = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory(prefix="pgwarden-suites-") as own:
        workshop = pathlib.Path(given.keep or own).absolute()
        workshop.mkdir(parents=True, exist_ok=True)
        for name in given.suites:
            SUITES[name].prepare(workshop)
            results = {}
            for target in in_order(it for it in given.targets if takes(SUITES[name], it)):
                with System(target, given.pgwarden.absolute()) as system:
                    results[target] = SUITES[name].run(
                        workshop, dict(os.environ) | system.environment,
                        workshop / f"{name}.{target}.xml")
                if base(target) != target:
                    faults += compare(name, target, results[base(target)], results[target])
    sys.exit(min(faults, 1))


if __name__ == "__main__":
    main()
