"""Suites of Go clients: Debian's packages of their sources have the tests in them."""

import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import outcome

SOURCES = pathlib.Path("/usr/share/gocode")
# What tests need beside those sources, by the name under which they look for it.
ADDED = {
    # Debian has this one under the name without a version.
    "github.com/Masterminds/semver/v3": SOURCES / "src/github.com/Masterminds/semver",
    "github.com/jackc/pgmock": pathlib.Path(__file__).with_name("pgmock"),
}


@dataclasses.dataclass
class Go:
    """`packages` of Go, out of Debian's package `debian`."""

    debian: str
    packages: list
    environment: dict

    def binary(self, directory, package):
        return directory / "go" / f"{package.replace('/', '-')}.test"

    def prepare(self, directory):
        if not all((SOURCES / "src" / it).exists() for it in self.packages):
            sys.exit(f"please install: golang-go {self.debian}")
        home = directory / "go"
        for name, place in ADDED.items():
            if not (home / "src" / name).exists():
                shutil.copytree(place, home / "src" / name)
        environment = os.environ | {"GO111MODULE": "off", "GOPATH": f"{home}:{SOURCES}",
                                    "GOCACHE": str(home / "cache")}
        for package in self.packages:
            target = self.binary(directory, package)
            if not target.exists():
                subprocess.run(["go", "test", "-c", "-o", target, package], check=True,
                               env=environment)

    def run(self, directory, environment, results):
        """Each test in a process of its own: a panic or a time-out ends the process."""
        own = {name: value.format(**environment) for name, value in self.environment.items()}
        found = {}
        with open(results.with_suffix(".log"), "w", encoding="utf-8") as log:
            for package in self.packages:
                for test in self.tests(directory, package):
                    ran = self.process(directory, package, environment | own, "-test.v",
                                       "-test.timeout=60s", f"-test.run=^{test}$")
                    log.write(f"=== {package} {test}\n{ran.stdout}\n")
                    found |= self.outcomes(package, test, ran)
        return found

    def tests(self, directory, package):
        listed = self.process(directory, package, dict(os.environ), "-test.list=^(Test|Example)")
        return [it for it in listed.stdout.split() if it.startswith(("Test", "Example"))]

    def process(self, directory, package, environment, *arguments):
        return subprocess.run([self.binary(directory, package), *arguments], env=environment,
                              cwd=SOURCES / "src" / package, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace")

    def outcomes(self, package, test, ran):
        """Of the test and of those inside it. One that began and did not end has failed."""
        kinds = {"run": outcome.FAILED, "pass": outcome.PASSED, "skip": outcome.SKIPPED}
        converted = subprocess.run(["go", "tool", "test2json"], input=ran.stdout, text=True,
                                   stdout=subprocess.PIPE, check=True)
        found = {f"{package}.{test}": (outcome.FAILED, ran.stdout)}
        for line in converted.stdout.splitlines():
            event = json.loads(line)
            if "Test" in event and event["Action"] in ("run", "pass", "skip", "fail"):
                kind = kinds.get(event["Action"], outcome.FAILED)
                found[f"{package}.{event['Test']}"] = (
                    kind, ran.stdout if kind == outcome.FAILED else "")
        return found
