"""Suites of node-postgres and its companions: Debian's source of it, and the npm packages that still had
their tests in them."""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import urllib.request

import outcome


def npm(place, *arguments):
    subprocess.run(["npm", "--silent", "--no-audit", "--no-fund", *arguments], check=True, cwd=place,
                   stdout=subprocess.DEVNULL)


def unpack(package, place):
    """The package's own files, as published."""
    place.mkdir(parents=True)
    npm(place, "pack", package)
    archive = next(place.glob("*.tgz"))
    subprocess.run(["tar", "xzf", archive.name, "--strip", "1"], check=True, cwd=place)
    archive.unlink()


@dataclasses.dataclass
class Mocha:
    """A package whose tests mocha runs. `without` need what npm no longer has."""

    source: str
    packages: list
    without: list = dataclasses.field(default_factory=list)

    def place(self, directory):
        return directory / self.source.replace("@", "-")

    def prepare(self, directory):
        place = self.place(directory)
        if place.exists():
            return
        unpack(self.source, place)
        for pattern in self.without:
            for file in place.glob(pattern):
                file.unlink()
        # Not beside the package's own list of what it needs, which npm would install too.
        (place / "package.json").rename(place / "package.json.published")
        (place / "package.json").write_text('{"private": true, "main": "index.js"}')
        npm(place, "install", "mocha@10.8.2", *self.packages)

    def run(self, directory, environment, results):
        with open(results.with_suffix(".log"), "wb") as log:
            subprocess.run(
                ["node_modules/.bin/mocha", "--exit", "--timeout", "20000", "--reporter", "xunit",
                 "--reporter-options", f"output={results}"],
                cwd=self.place(directory), env=environment, stdout=log, stderr=log, check=False)
        return outcome.of_junit(results)


# The words of a failure: its tests catch what they throw, print it, and go on.
COMPLAINT = re.compile(r"Message:|AssertionError|\berror:")


@dataclasses.dataclass
class Scripts:
    """node-postgres' own integration tests: a program each, of the last release that had them, over
    the last library that has the interface which they use, on the Node.js of that time."""

    tests: str
    release: str
    node: str

    def place(self, directory):
        return directory / self.tests.replace("@", "-")

    def prepare(self, directory):
        place = self.place(directory)
        if place.exists():
            return
        unpack(self.tests, place)
        shutil.rmtree(place / "lib")
        (place / "package.json").write_text('{"private": true}')
        npm(place, "install", self.release, self.node, "semver@4", "async@0.9")
        shutil.copytree(place / "node_modules/pg/lib", place / "lib")
        shutil.copy(place / "node_modules/pg/package.json", place / "package.json")

    def run(self, directory, environment, results):
        place = self.place(directory)
        node = place / "node_modules/node/bin/node"
        # These talk to a service that is gone.
        return run_programs(place, node, environment, results, without="heroku")


def run_programs(place, node, environment, results, without):
    """Each program passes that ends well and does not complain."""
    found = {}
    with open(results.with_suffix(".log"), "w", encoding="utf-8") as log:
        def script(file):
            ran = subprocess.run(
                ["timeout", "60", node, file], cwd=place, text=True,
                env=environment | {"NODE_OPTIONS": "--no-deprecation"},
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
            log.write(f"=== {file}\n{ran.stdout}\n")
            return ran

        script("script/create-test-tables.js")
        for file in sorted((place / "test/integration").rglob("*-tests.js")):
            if without in file.name:
                continue
            name = os.fspath(file.relative_to(place))
            ran = script(name)
            passed = ran.returncode == 0 and not COMPLAINT.search(ran.stdout)
            found[name] = (outcome.PASSED if passed else outcome.FAILED, ran.stdout)
    return found


@dataclasses.dataclass
class Repository:
    """node-postgres' own integration tests of today, over the library that they come with: Debian's source
    is the repository. `file` is its archive."""

    file: str

    def place(self, directory):
        return directory / "node-postgres-of-today"

    def prepare(self, directory):
        place = self.place(directory)
        if place.exists():
            return
        archive = directory / "node-postgres.tar.gz"
        address = f"http://deb.debian.org/debian/pool/main/n/node-postgres/{self.file}"
        urllib.request.urlretrieve(address, archive)
        whole = directory / "node-postgres-whole"
        whole.mkdir()
        subprocess.run(["tar", "xzf", archive, "--strip", "1", "-C", whole], check=True)
        (whole / "packages/pg").rename(place)
        shutil.rmtree(whole)
        package = json.loads((place / "package.json").read_text())
        needed = {name: package["devDependencies"][name]
                  for name in ("async", "bluebird", "co", "pg-copy-streams")}
        for unneeded in ("devDependencies", "peerDependencies", "peerDependenciesMeta",
                         "optionalDependencies", "scripts"):
            package.pop(unneeded, None)
        package["dependencies"] |= needed
        (place / "package.json").write_text(json.dumps(package))
        npm(place, "install")

    def run(self, directory, environment, results):
        # Those need pg-native, and a server's certificate of their own.
        return run_programs(self.place(directory), "node", environment, results, without="native")
