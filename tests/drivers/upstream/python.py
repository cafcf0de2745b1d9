"""Suites of Python clients: source packages from PyPI, run by pytest."""

import dataclasses
import subprocess

import outcome

# What the suites need beside the drivers, and what reading a source package's metadata needs.
TOOLS = ["pytest==9.2.0", "pytest-timeout==2.4.0", "distro", "k5test", "greenlet"]
BUILDERS = ["setuptools", "wheel", "cython"]


@dataclasses.dataclass
class Pytest:
    """`source` is the source package with the tests; `drivers` are installed beside it."""

    source: str
    drivers: list
    arguments: list
    # Of the source's own package: it would be found in the place of the installed driver.
    hidden: str = ""
    # What stands in the tests, and what shall.
    replaced: dict = dataclasses.field(default_factory=dict)
    # What reads this package's metadata.
    builders: list = dataclasses.field(default_factory=list)
    environment: dict = dataclasses.field(default_factory=dict)

    def pip(self, directory, *arguments):
        python = directory / "venv/bin/python"
        if not python.exists():
            subprocess.run(["python3", "-m", "venv", directory / "venv"], check=True)
        subprocess.run([python, "-m", "pip", "-q", "--disable-pip-version-check", *arguments],
                       check=True, cwd=directory)

    def place(self, directory):
        return directory / self.source.replace("==", "-")

    def prepare(self, directory):
        self.pip(directory, "install", *TOOLS, *BUILDERS, *self.builders, *self.drivers)
        place = self.place(directory)
        if place.exists():
            return
        self.pip(directory, "download", "--no-deps", "--no-build-isolation", "--no-binary", ":all:",
                 self.source)
        subprocess.run(["tar", "xzf", f"{place.name}.tar.gz"], check=True, cwd=directory)
        if self.hidden:
            (place / self.hidden).rename(place / f"{self.hidden}-of-the-source")
        for file in place.rglob("*.py") if self.replaced else ():
            text = file.read_text()
            for published, ours in self.replaced.items():
                text = text.replace(published, ours)
            file.write_text(text)

    def run(self, directory, environment, results):
        """Runs it; a time-out of its own for each test."""
        arguments = [it.format(**environment) for it in self.arguments]
        own = {name: value.format(**environment) for name, value in self.environment.items()}
        with open(results.with_suffix(".log"), "wb") as log:
            subprocess.run(
                [directory / "venv/bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-q",
                 "--tb=short", "--timeout=60", f"--junitxml={results}", *arguments],
                cwd=self.place(directory), env=environment | own, stdout=log, stderr=log,
                check=False)
        return outcome.of_junit(results)
