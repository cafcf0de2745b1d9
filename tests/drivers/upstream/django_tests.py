"""Django's own suite: the source package has it, with a runner of its own."""

import dataclasses
import subprocess

import outcome
import scope
from python import Pytest

RUNNER = "unittest-xml-reporting==3.2.0"

# The databases are there already (--keepdb): the role may make none, and the proxy serves these.
SETTINGS = """
import os

def database(name):
    return {
        "ENGINE": "deleting",
        "NAME": name,
        "USER": os.environ["PGUSER"],
        "PASSWORD": os.environ["PGPASSWORD"],
        "HOST": os.environ["PGHOST"],
        "PORT": os.environ["PGPORT"],
        "TEST": {"NAME": name},
    }

DATABASES = {
    "default": database(os.environ["PGDATABASE"]),
    "other": database(os.environ["PGDATABASE"] + "_other"),
}
SECRET_KEY = "of the tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
USE_TZ = False
TEST_RUNNER = "xmlrunner.extra.djangotestrunner.XMLTestRunner"
TEST_OUTPUT_DIR = os.environ["RESULTS_DIRECTORY"]
TEST_OUTPUT_FILE_NAME = os.environ["RESULTS_FILE"]
"""

# Between tests that commit Django empties its tables by TRUNCATE … CASCADE, which is refused.
DELETING = """
from django.db.backends.postgresql import base, operations

class DatabaseOperations(operations.DatabaseOperations):
    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        return [f"DELETE FROM {self.quote_name(it)}" for it in tables]

class DatabaseWrapper(base.DatabaseWrapper):
    ops_class = DatabaseOperations
"""

# Tests that need both databases: to run them all the tables are made.
TABLES_FOR = "prefetch_related.tests.MultiDbTests"


@dataclasses.dataclass
class Django:
    """`labels` are directories of Django's tests: those that ask a database a lot. When DDL is refused
    some leave a transaction open, which would spoil others: these run `apart`."""

    version: str
    drivers: list
    labels: list
    apart: list
    scoped: str = "also"

    def source(self):
        return Pytest(source=f"django=={self.version}",
                      drivers=[f"django=={self.version}", RUNNER, "jinja2", "Pillow", "tblib",
                               *self.drivers],
                      arguments=[])

    def prepare(self, directory):
        source = self.source()
        source.prepare(directory)
        tests = source.place(directory) / "tests"
        (tests / "beside_pgwarden.py").write_text(SETTINGS)
        (tests / "deleting").mkdir(exist_ok=True)
        (tests / "deleting/base.py").write_text(DELETING)

    def run(self, directory, environment, results):
        """The tables of Django's models are made on the server itself, as migrations are; what the
        tests make themselves goes through the proxy."""
        past = environment | {"PGPORT": environment["SERVER_PORT"]}
        everything = [*self.labels, *self.apart]
        self.tests(directory, past, results, ["-k", TABLES_FOR, *everything])
        databases = [environment["PGDATABASE"], environment["PGDATABASE"] + "_other"]
        scope.everything(environment, *databases)
        found = {}
        for labels in (self.labels, *([it] for it in self.apart)):
            found |= self.tests(directory, environment, results, labels)
        return found | scope.untouched(environment, *databases)

    def tests(self, directory, environment, results, selected):
        own = {"RESULTS_DIRECTORY": str(results.parent), "RESULTS_FILE": results.name}
        with open(results.with_suffix(".log"), "ab") as log:
            subprocess.run(
                [directory / "venv/bin/python", "runtests.py", "--settings=beside_pgwarden",
                 "--keepdb", "--noinput", "--parallel=1", *selected],
                cwd=self.source().place(directory) / "tests", stdout=log, stderr=log,
                env=environment | own, check=False)
        return outcome.of_junit(results)
