"""Programs of our own for clients whose suites can't be had: each prints "ok NAME", or "not ok NAME: why"."""

import dataclasses
import re
import shutil
import subprocess
import sys

import outcome

LINE = re.compile(r"(not )?ok (.*?)(?:: (.*))?")


@dataclasses.dataclass
class Program:
    """`command` runs it and `build`, if there is one, makes it; what Debian's `packages` bring is needed."""

    packages: str
    command: list
    build: list = dataclasses.field(default_factory=list)
    environment: dict = dataclasses.field(default_factory=dict)

    def filled(self, command, directory):
        return [str(part).format(directory=directory) for part in command]

    def prepare(self, directory):
        for command in (self.build, self.command):
            if command and not shutil.which(command[0]):
                sys.exit(f"please install: {self.packages}")
        if self.build:
            subprocess.run(self.filled(self.build, directory), check=True)

    def run(self, directory, environment, results):
        own = {name: value.format(directory=directory) for name, value in self.environment.items()}
        ran = subprocess.run(
            ["timeout", "600", *self.filled(self.command, directory)], env=environment | own, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", check=False)
        results.with_suffix(".log").write_text(ran.stdout)
        found = {}
        for line in ran.stdout.splitlines():
            if told := LINE.fullmatch(line):
                failed, name, why = told.groups()
                found[name] = (outcome.FAILED, why or "") if failed else (outcome.PASSED, "")
        return found
