"""The components of the suite, as `components.toml` lists them, and the digest of what their tests depend on."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = Path(__file__).with_name("components.toml")
TEST_FILES = ("test_*.py", "*_test.py", "*_test.go", "*.test.js", "check_*.py")
TEST_FOLDERS = ("testdata", "tests")
NAMED_POLICIES = "@named-policies"
POLICIES = ("policies", "sample-policies")
SHARED = ("e2e/kit", "e2e/conftest.py", "build.yaml")


@dataclass(frozen=True)
class Component:
    """A part of the project that has tests.

    tests: folders and files with its tests, from the repository's root; a folder with a go.mod is a Go module.
    depends: folders and files that these tests depend on, beside the tests. Empty: the whole repository.
    excepted: what of that they do not depend on.
    nightly: the tests run only where something that they depend on differs from the recorded run, and every night.
    prepare: commands of Python that make what the tests ask for, before any test runs.
    """

    name: str
    tests: tuple[str, ...]
    depends: tuple[str, ...] = ()
    excepted: tuple[str, ...] = ()
    nightly: bool = False
    prepare: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """go, node or pytest: the runner of its tests."""
        if any((ROOT / path / "go.mod").exists() for path in self.tests):
            return "go"
        return "node" if any(path.endswith(".js") for path in self.tests) else "pytest"

    @property
    def is_end_to_end(self) -> bool:
        return self.tests[0].startswith("e2e")

    def digest(self) -> str:
        """The digest of all files that the outcome of its tests depends on: while it is the same, they need not run."""
        files = [name for name in repository_files() if self._depends_on(name)]
        digest = hashlib.sha256()
        for name in files:
            digest.update(f"{name}\0{_content_digest(name)}\0".encode())
        return digest.hexdigest()

    def _depends_on(self, name: str) -> bool:
        if lies_in(name, self.tests):
            return True
        if lies_in(name, self.excepted):
            return False
        return not self.depends or (lies_in(name, self.depends) and not is_test(name))


def lies_in(name: str, places: Iterable[str]) -> bool:
    """Whether a file is one of these places, or in a folder that is."""
    return any(name == place or name.startswith(place + "/") for place in places)


def is_test(name: str) -> bool:
    """Whether a file serves tests of its own component only."""
    path = Path(name)
    return any(path.match(pattern) for pattern in TEST_FILES) or any(folder in TEST_FOLDERS for folder in path.parts)


def find_word(word: str, places: Iterable[str]) -> Iterator[str]:
    """The files of tests in these places that have the word: a marker's, say, where collecting all of them to run a few
    takes longer than the few.
    """
    places = tuple(places)
    pattern = re.compile(rf"\b{word}\b", re.IGNORECASE)
    for name in repository_files():
        if Path(name).match("test_*.py") and lies_in(name, places) and pattern.search((ROOT / name).read_text()):
            yield name


@cache
def repository_files() -> tuple[str, ...]:
    """All files that git tracks or would add, sorted."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    return tuple(sorted({name for name in names if name and (ROOT / name).is_file()}))


@cache
def _content_digest(name: str) -> str:
    return hashlib.sha256((ROOT / name).read_bytes()).hexdigest()


def read_components(table: Path = TABLE) -> tuple[Component, ...]:
    """The components of components.toml, in its order."""
    content = tomllib.loads(table.read_text())
    groups: dict[str, list[str]] = content["groups"]
    return tuple(
        Component(
            name=entry["name"],
            tests=tuple(_expand_globs(entry["tests"])),
            depends=tuple(
                dict.fromkeys(
                    place
                    for place in _expand_globs(_expand_groups(entry.get("depends", []), groups, entry["name"]))
                    if place != NAMED_POLICIES
                )
            )
            + (_named_policies(entry["tests"]) if NAMED_POLICIES in entry.get("depends", []) else ()),
            excepted=tuple(entry.get("except", ())),
            nightly=entry.get("nightly", False),
            prepare=tuple(entry.get("prepare", ())),
        )
        for entry in content["component"]
    )


def _named_policies(tests: Iterable[str]) -> tuple[str, ...]:
    """The folders of policies that these tests name, or a file that all tests through Envoy share."""
    places = (*tests, *SHARED)
    texts = [
        (ROOT / name).read_bytes().decode(errors="replace") for name in repository_files() if lies_in(name, places)
    ]
    words = {word for text in texts for word in re.findall(r"[\w-]+", text)}
    folders = {name.rpartition("/")[0] for name in repository_files() if name.endswith("/policy-definition.yaml")}
    return tuple(sorted(folder for folder in folders if lies_in(folder, POLICIES) and Path(folder).name in words))


def _expand_globs(patterns: Iterable[str]) -> Iterator[str]:
    for pattern in patterns:
        if "*" in pattern:
            yield from (name for name in repository_files() if Path("/", name).match(f"/{pattern}"))
        else:
            yield pattern


def _expand_groups(depends: list[str], groups: dict[str, list[str]], component: str) -> Iterator[str]:
    """`@NAME` stands for a group's paths, which may name groups in turn."""
    for entry in depends:
        if not entry.startswith("@") or entry == NAMED_POLICIES:
            yield entry
        elif entry[1:] in groups:
            yield from _expand_groups(groups[entry[1:]], groups, component)
        else:
            raise SystemExit(
                f"components.toml: {component} depends on {entry}: expected a group, one of {', '.join(sorted(groups))}"
            )
