"""Makes the tables of a suite many tenants' (`scoped.sql`), where the target is of `systems.SCOPED`."""

import pathlib
import subprocess

import outcome
from systems import binaries

SCRIPT = pathlib.Path(__file__).with_name("scoped.sql")

# What the texts of the other organisation's rows begin with.
MARK = "b-secret"

# Tables that a test has dropped are none's any more.
CHANGED = """
SELECT string_agg(name, ', ') FROM scoped.before JOIN scoped.others() now USING (name)
 WHERE before.rows IS DISTINCT FROM now.rows"""

# DDL of its own has a session wait for the catalogue: behind it pgwarden knows what is scoped.
KNOWN = ["-c", "CREATE TABLE public.known ()", "-c", "SELECT 1"]


def everything(environment, *databases, later=False):
    """Scopes every table that is there, past the proxy as migrations go, and those made `later`."""
    if "SCOPED_FOR" not in environment:
        return
    variables = {"org": environment["SCOPED_FOR"], "rls": environment["SCOPED_BY_RLS"],
                 "later": "on" if later else "off"}
    given = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
    for database in databases:
        psql([*given, "-f", SCRIPT], environment | {"PGPORT": environment["SERVER_PORT"],
                                                    "PGUSER": "postgres"}, database)
        psql(KNOWN, environment, database)


def untouched(environment, *databases):
    """A test more: whether the other organisation's rows, where they were before, are the same."""
    if "SCOPED_FOR" not in environment:
        return {}
    server = environment | {"PGPORT": environment["SERVER_PORT"], "PGUSER": "postgres"}
    found = {}
    for database in databases:
        changed = psql(["-c", CHANGED], server, database)
        found[f"the other organisation's rows in {database}"] = (
            (outcome.FAILED, f"{MARK}: changed in {changed}") if changed else (outcome.PASSED, ""))
    return found


def psql(arguments, environment, database):
    run = subprocess.run(
        [binaries() / "psql", "-qXAt", "-v", "ON_ERROR_STOP=1", *arguments, database],
        check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return run.stdout.strip()
