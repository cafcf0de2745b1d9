"""The suite of tokio-postgres: its crate has the tests in it."""

import dataclasses
import pathlib
import re
import shutil
import subprocess

import outcome

PROJECT = """
[package]
name = "workshop"
version = "0.0.0"
edition = "2024"
[lib]
path = "lib.rs"
[dependencies]
{name} = "={version}"
"""

RESULT = re.compile(r"^test (\S+) \.\.\. (\w+)", re.MULTILINE)
STORY = re.compile(r"^---- (\S+) stdout ----\n(.*?)(?=^----|^failures:)", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass
class Crate:
    """A crate whose tests have a server's address written into them."""

    name: str
    version: str
    features: list
    # What stands in the tests, and what shall.
    replaced: dict

    def place(self, directory):
        return directory / f"{self.name}-{self.version}"

    def prepare(self, directory):
        place = self.place(directory)
        if place.exists():
            return
        fetching = directory / f"{self.name}-fetching"
        fetching.mkdir()
        (fetching / "Cargo.toml").write_text(PROJECT.format(name=self.name, version=self.version))
        (fetching / "lib.rs").write_text("")
        subprocess.run(["cargo", "vendor", "-q", "vendor"], check=True, cwd=fetching,
                       stdout=subprocess.DEVNULL)
        shutil.copytree(fetching / "vendor" / self.name, place)
        shutil.rmtree(fetching)
        shutil.copytree(place / "tests", place / "tests-as-published")
        with open(place / "Cargo.toml", "a", encoding="utf-8") as manifest:
            manifest.write("\n[workspace]\n")

    def run(self, directory, environment, results):
        place = self.place(directory)
        for file in (place / "tests-as-published").rglob("*.rs"):
            text = file.read_text()
            for published, ours in self.replaced.items():
                text = text.replace(published, ours.format(**environment))
            target = pathlib.Path(str(file).replace("tests-as-published", "tests"))
            target.write_text(text)
        command = ["cargo", "test", "--features", ",".join(self.features), "--test", "test", "--",
                   "--test-threads=4"]
        ran = subprocess.run(command, cwd=place, text=True, stdout=subprocess.PIPE, check=False,
                             stderr=subprocess.STDOUT,
                             env=environment | {"CARGO_TARGET_DIR": str(directory / "cargo")})
        results.with_suffix(".log").write_text(ran.stdout)
        stories = dict(STORY.findall(ran.stdout))
        kinds = {"ok": outcome.PASSED, "ignored": outcome.SKIPPED}
        return {name: (kinds.get(result, outcome.FAILED), stories.get(name, ""))
                for name, result in RESULT.findall(ran.stdout)}
