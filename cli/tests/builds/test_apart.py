from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gatewright_cli.builds.apart import Apart
from gatewright_cli.builds.build_output import BuildOutput
from gatewright_cli.builds.difference import difference
from gatewright_cli.builds.generation import Generation, Generations
from gatewright_cli.builds.registry import read_registry

from cli.tests.outputs import policy, put, write_output


class Place:
    """An output of three policies in one group, of which heavy is slow to import."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "gateway"
        self.write()
        self.is_slow("heavy:v1.0.0")
        self.generations = Generations.open(self.build, Apart())

    def write(self, **changes: str) -> None:
        names = ("greet", "heavy", "other")
        entries = [policy(name, sourceDigest=changes.get(name, "1")) for name in names]
        self.build: BuildOutput = write_output(self.output, *entries)
        modules = {f"{name}:v1.0.0": f"policies.{name}_v1_0_0.policy" for name in names}
        sources = {f"{name}_v1_0_0": f"policies/{name}" for name in names}
        registry = f"PYTHON_POLICIES = {modules}\nPOLICY_SOURCES = {sources}\n"
        put(self.output / "python-executor" / "default.py", registry)
        manifest = json.loads((self.output / "manifest.json").read_text())
        manifest["groups"]["default"]["base"] = "base"
        put(self.output / "manifest.json", json.dumps(manifest))

    def is_slow(self, *keys: str) -> None:
        file = self.output.with_name(f".{self.output.name}.slow-imports.json")
        file.write_text(json.dumps(dict.fromkeys(keys, 3.1)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.generations.close()


def policies(generation: Generation) -> dict[str, list[str]]:
    return {group.name: sorted(read_registry(group.registry).modules) for group in generation.build.groups}


def test_a_policy_that_is_slow_to_import_gets_a_group_of_its_own(place: Place) -> None:
    first = place.generations.first()
    assert policies(first) == {"default": ["greet:v1.0.0", "other:v1.0.0"], "default~1": ["heavy:v1.0.0"]}
    assert [group.policies for group in first.build.groups] == [("greet_v1_0_0", "other_v1_0_0"), ("heavy_v1_0_0",)]
    assert first.notes == (
        "heavy:v1.0.0 takes 3.1 s to import: while its sources are watched it runs in executors of its own, so that "
        "edits of others in the group default do not wait for it; `group: heavy` in build.yaml does so everywhere",
    )
    assert len(read_registry(place.output / "python-executor" / "default.py").modules) == 3, "the output's own"


def test_an_edit_restarts_only_the_group_of_the_edited_policy(place: Place) -> None:
    first = place.generations.first()
    place.write(greet="2")
    second = place.generations.next(first)
    assert second.notes == ()
    assert (difference(first.build, second.build).restarts, difference(first.build, second.build).keeps) == (
        ("default",),
        ("default~1",),
    )
    place.write(greet="2", heavy="2")
    third = place.generations.next(second)
    assert difference(second.build, third.build).restarts == ("default~1",)
    place.write(greet="2", heavy="2")
    assert not difference(third.build, place.generations.next(third).build)


def test_a_group_keeps_its_number_and_one_policy_stays_where_all_are_slow(place: Place) -> None:
    first = place.generations.first()
    place.is_slow("greet:v1.0.0", "heavy:v1.0.0", "other:v1.0.0")
    second = place.generations.next(first)
    assert policies(second) == {
        "default": ["greet:v1.0.0"],
        "default~1": ["heavy:v1.0.0"],
        "default~2": ["other:v1.0.0"],
    }
    place.is_slow()
    assert policies(place.generations.next(second)) == {"default": ["greet:v1.0.0", "heavy:v1.0.0", "other:v1.0.0"]}


def test_without_it_nothing_is_split(place: Place) -> None:
    generations = Generations.open(place.build)
    assert list(policies(generations.first())) == ["default"]
    generations.close()
