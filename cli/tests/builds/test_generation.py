from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gatewright_cli.builds import generation
from gatewright_cli.builds.build_output import BuildOutput
from gatewright_cli.builds.difference import difference
from gatewright_cli.builds.generation import Generation, GenerationError, Generations

from cli.tests.outputs import policy, put, write_output

GO = policy("go-one", runtime="go")
Open = Callable[[BuildOutput], Generations]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens generations that are closed after the test."""
    with ExitStack() as stack:

        def opened(output: BuildOutput) -> Generations:
            generations = Generations.open(output)
            stack.callback(generations.close)
            return generations

        yield opened


def names(generation: Generation) -> list[str]:
    content = json.loads(generation.build.manifest.read_text())
    return [f"{policy['name']}:{policy['version']}" for policy in content["policies"]]


def test_a_generation_stays_as_it_was_when_the_output_is_built_anew(opened: Open, tmp_path: Path) -> None:
    generations = opened(write_output(tmp_path, policy("one"), main="old"))
    first = generations.first()
    write_output(tmp_path, policy("one", sourceDigest="2"), main="new")
    second = generations.next(first)
    assert (first.build.executor / "main.py").read_text() == "old"
    assert (second.build.executor / "main.py").read_text() == "new"
    assert (first.number, second.number, [group.name for group in second.build.groups]) == (1, 2, ["default"])
    assert second.build.group("default").python.is_relative_to(second.build.path)
    assert second.build.group("default").python.exists()
    generations.close()
    assert not (tmp_path / "generations").exists()


def test_a_generation_is_as_open_as_the_output_under_any_umask(opened: Open, tmp_path: Path) -> None:
    output = write_output(tmp_path, policy("one"))
    mask = os.umask(0o077)
    try:
        first = opened(output).first()
    finally:
        os.umask(mask)
    way = [path for path in first.build.executor.parents if path.is_relative_to(tmp_path)]
    assert len(way) == 4
    assert all(path.stat().st_mode & 0o001 for path in way if path != tmp_path)
    assert first.build.executor.stat().st_mode == output.executor.stat().st_mode


def test_it_costs_no_copies(opened: Open, tmp_path: Path) -> None:
    output = write_output(tmp_path, policy("one"))
    first = opened(output).first()
    assert first.build.engine.samefile(output.engine)
    assert (first.build.executor / "main.py").samefile(output.executor / "main.py")


def test_a_generation_leaves_an_environment_that_is_there_alone(opened: Open, tmp_path: Path) -> None:
    """Builds know by its files' time of change that they are as they were; a further link would change it."""
    generations = opened(write_output(tmp_path, policy("one")))
    first = generations.first()
    python = first.build.group("default").python
    changed = [(path, path.stat().st_ctime_ns) for path in (python, first.build.engine)]
    second = generations.next(first)
    assert second.build.group("default").python.samefile(python)
    generations.drop(first)
    assert [
        (path.name, path.stat().st_ctime_ns) for path in (second.build.group("default").python, second.build.engine)
    ] == [(path.name, time) for path, time in changed]


def test_a_rebuilt_environment_belongs_to_the_next_generation_alone(opened: Open, tmp_path: Path) -> None:
    output = write_output(tmp_path, policy("one"))
    generations = opened(output)
    first = generations.first()
    (python,) = [group.python for group in output.groups]
    python.unlink()
    python.write_text("newer")
    second = generations.next(first)
    assert second.build.group("default").python.read_text() == "newer"
    assert first.build.group("default").python.read_bytes() != b"newer"
    assert first.build.engine.samefile(second.build.engine)
    run = first.build.path.parent
    assert len(list(run.glob("shared-*"))) == 3
    generations.drop(first)
    assert len(list(run.glob("shared-*"))) == 2
    assert second.build.engine.exists()


def test_the_definitions_are_those_of_the_adopted_generation(opened: Open, tmp_path: Path) -> None:
    generations = opened(write_output(tmp_path, policy("one")))
    first = generations.first()
    write_output(tmp_path, policy("one"), policy("two"))
    second = generations.next(first)
    before = sorted(path.name for path in generations.definitions.iterdir())
    generations.adopt(second)
    after = sorted(path.name for path in generations.definitions.iterdir())
    assert (before, after) == (["one-v1.0.0.yaml"], ["one-v1.0.0.yaml", "two-v1.0.0.yaml"])
    generations.drop(first)
    assert not first.build.path.exists()


def test_go_policies_stay_those_that_were_compiled_in(opened: Open, tmp_path: Path) -> None:
    gone = policy("go-gone", runtime="go")
    generations = opened(write_output(tmp_path, GO, gone, policy("one")))
    first = generations.first()
    put(tmp_path / "bin" / "policy-engine", "another engine")
    write_output(tmp_path, GO | {"sourceDigest": "2"}, policy("go-new", runtime="go"), policy("one"), policy("two"))
    (tmp_path / "policy-definitions" / "go-gone-v1.0.0.yaml").unlink()
    second = generations.next(first)
    assert names(second) == ["go-gone:v1.0.0", "go-one:v1.0.0", "one:v1.0.0", "two:v1.0.0"]
    assert second.build.engine.read_text() == "an engine"
    assert (second.build.definitions / "go-gone-v1.0.0.yaml").exists()
    assert [note.partition(",")[0].partition(";")[0] for note in second.notes] == [
        "Go policy go-new:v1.0.0 is new",
        "Go policy go-gone:v1.0.0 is no longer in the build",
        "Go policy go-one:v1.0.0 has changed",
    ]
    assert all("restart the run" in note for note in second.notes)


def test_a_changed_definition_of_a_go_policy_needs_a_restart(opened: Open, tmp_path: Path) -> None:
    generations = opened(write_output(tmp_path, GO, policy("one")))
    first = generations.first()
    write_output(tmp_path, GO | {"definitionDigest": "x"}, policy("one", definitionDigest="y"))
    with pytest.raises(GenerationError) as refused:
        generations.next(first)
    assert str(refused.value).startswith("Go policy go-one:v1.0.0 (policies/go-one): expected the definition")
    assert "restart the run for it" in str(refused.value)
    assert [path.name for path in sorted(first.build.path.parent.glob("[0-9]*"))] == ["1"]


def test_generations_whose_definitions_differ_are_known(opened: Open, tmp_path: Path) -> None:
    generations = opened(write_output(tmp_path, GO, policy("one")))
    first = generations.first()
    write_output(tmp_path, GO | {"sourceDigest": "2"}, policy("one", sourceDigest="2"))
    assert not difference(first.build, generations.next(first).build).definitions
    for others in ([policy("one", definitionDigest="y")], [policy("one"), policy("two")], []):
        write_output(tmp_path, GO, *others)
        assert difference(first.build, generations.next(first).build).definitions, others


def test_folders_of_killed_runs_are_removed_and_those_of_live_runs_stay(opened: Open, tmp_path: Path) -> None:
    output = write_output(tmp_path, policy("one"))
    live = opened(output).first()
    left = tmp_path / "generations" / "run-killed" / "1"
    left.mkdir(parents=True)
    (left.parent / ".lock").touch()
    other = opened(output)
    assert not left.exists()
    assert live.build.manifest.exists()
    other.close()
    assert live.build.manifest.exists()


def test_an_output_that_cannot_be_written_to_is_used_in_place(opened: Open) -> None:
    output = BuildOutput(Path("/sys"), ())  # where not even root can make a folder
    generations = opened(output)
    first = generations.first()
    assert (first.build, generations.definitions) == (output, output.definitions)
    with pytest.raises(GenerationError, match="cannot be written to"):
        generations.next(first)
    generations.close()


def test_a_full_disk_refuses_the_generation_in_words(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generations = opened(write_output(tmp_path, policy("one")))
    first = generations.first()

    def full(_source: str, _target: str) -> None:
        Path("/dev/full").write_bytes(b"x")

    with monkeypatch.context() as patch:
        patch.setattr(generation, "_link_file", full)
        with pytest.raises(GenerationError) as refused:
            generations.next(first)
    message = str(refused.value)
    assert message.startswith(
        f"{tmp_path}: the run's own copy of the build cannot be made: {tmp_path}/generations/run-"
    )
    assert "No space left on device" in message
    assert message.endswith("; make room, or build into another folder with --output")
    assert "Errno" not in message
    assert generations.next(first).number == 3


def test_a_run_that_can_start_its_engine_again_takes_another_one_and_its_go_policies(tmp_path: Path) -> None:
    generations = Generations.open(write_output(tmp_path, policy("one"), GO), keeps_engine=False)
    try:
        first = generations.first()
        put(tmp_path / "bin" / "libgatewright.so", "another engine")
        put(tmp_path / "bin" / "libgatewright.json", "{}")
        write_output(tmp_path, policy("one"), policy("go-two", runtime="go"))
        second = generations.next(first)
        assert (second.build.module.read_text(), second.notes) == ("another engine", ())
        assert sorted(names(second)) == ["go-two:v1.0.0", "one:v1.0.0"]
        assert second.build.go_policies == {"go_two_v1_0_0": "go-two:v1.0.0"}
        assert difference(first.build, second.build).module
    finally:
        generations.close()
