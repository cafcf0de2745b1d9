"""The upstream suites: where they come from, how they are run, and what each test's outcome was."""

import dataclasses
import pathlib
import subprocess
import xml.etree.ElementTree

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
# What the suites need beside the drivers, and what reading a source package's metadata needs.
TOOLS = ["pytest==9.2.0", "pytest-timeout==2.4.0", "distro", "k5test", "greenlet"]
BUILDERS = ["setuptools", "wheel", "cython"]
ENVIRONMENT = "postgresql+{driver}://{{PGUSER}}:{{PGPASSWORD}}@{{PGHOST}}:{{PGPORT}}/{{PGDATABASE}}"


@dataclasses.dataclass
class Suite:
    """`source` is the PyPI source package with the tests; `drivers` are installed beside it."""

    source: str
    drivers: list
    arguments: list
    # Of the source's own package: it would be found in the place of the installed driver.
    hidden: str = ""
    environment: dict = dataclasses.field(default_factory=dict)


def sqlalchemy(driver, package):
    """SQLAlchemy's suite for those who write a dialect: the one there is on PyPI over psycopg 3."""
    return Suite(
        source="sqlalchemy==2.0.44",
        drivers=[package],
        arguments=["-o", "addopts=", "--dburi", ENVIRONMENT.format(driver=driver),
                   "test/dialect/postgresql/test_query.py",
                   "test/dialect/postgresql/test_on_conflict.py",
                   "test/dialect/postgresql/test_dialect.py",
                   "test/dialect/test_suite.py", "test/engine/test_transaction.py"])


SUITES = {
    "asyncpg": Suite(
        source="asyncpg==0.30.0",
        drivers=["asyncpg==0.30.0"],
        # Those look at the source's own style, and start servers themselves.
        arguments=["tests", "--ignore=tests/test__sourcecode.py",
                   "--ignore=tests/test__environment.py"],
        hidden="asyncpg"),
    "psycopg2": Suite(
        source="psycopg2==2.9.10",
        drivers=["psycopg2-binary==2.9.10"],
        arguments=["tests"],
        environment={"PSYCOPG2_TESTDB": "{PGDATABASE}"}),
    "sqlalchemy-psycopg": sqlalchemy("psycopg", "psycopg[binary]==3.2.13"),
    "sqlalchemy-asyncpg": sqlalchemy("asyncpg", "asyncpg==0.30.0"),
}


class Workshop:
    """A directory with the sources, and a Python with the drivers."""

    def __init__(self, directory):
        self.directory = pathlib.Path(directory)
        self.python = self.directory / "venv/bin/python"

    def pip(self, *arguments):
        subprocess.run([self.python, "-m", "pip", "-q", "--disable-pip-version-check", *arguments],
                       check=True, cwd=self.directory)

    def prepare(self, suites):
        if not self.python.exists():
            subprocess.run(["python3", "-m", "venv", self.directory / "venv"], check=True)
        self.pip("install", *TOOLS, *BUILDERS, *{driver for it in suites for driver in it.drivers})
        for suite in suites:
            self.fetch(suite)

    def place(self, suite):
        return self.directory / suite.source.replace("==", "-")

    def fetch(self, suite):
        place = self.place(suite)
        if place.exists():
            return
        self.pip("download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
                 suite.source)
        subprocess.run(["tar", "xzf", f"{place.name}.tar.gz"], check=True, cwd=self.directory)
        if suite.hidden:
            (place / suite.hidden).rename(place / f"{suite.hidden}-of-the-source")

    def run(self, suite, environment, results):
        """Runs it; a time-out of its own for each test."""
        arguments = [it.format(**environment) for it in suite.arguments]
        own = {name: value.format(**environment) for name, value in suite.environment.items()}
        with open(results.with_suffix(".log"), "wb") as log:
            subprocess.run(
                [self.python, "-m", "pytest", "-p", "no:cacheprovider", "-q", "--tb=short",
                 "--timeout=60", f"--junitxml={results}", *arguments],
                cwd=self.place(suite), env=environment | own, stdout=log, stderr=log, check=False)
        return outcomes(results)


def outcomes(file):
    """Each test's outcome, and why it failed. One of several runs under a name that failed counts."""
    found = {}
    for case in xml.etree.ElementTree.parse(file).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        faults = [it for it in case if it.tag in ("failure", "error")]
        if faults:
            text = (faults[0].get("message") or "") + (faults[0].text or "")
            found[name] = (FAILED, text)
        elif found.get(name, (PASSED,))[0] != FAILED:
            skipped = any(it.tag == "skipped" for it in case)
            found[name] = (SKIPPED if skipped else PASSED, "")
    return found
