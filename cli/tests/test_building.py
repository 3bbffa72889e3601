"""`gatewright build` as a person and as a program meet it: sentences, exit status, events."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from gatewright_builder import BuildError, BuildOptions, BuildResult, Download, Mistake, Step
from gatewright_cli import building
from gatewright_cli.main import main

BAD = sorted((Path(__file__).parents[2] / "gateway-builder" / "tests" / "testdata").glob("*.bad"))


def status_of(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["gatewright", "build", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.stem)
def test_bad_input_is_sentences_and_exit_status_1(
    case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--manifest", str(case / "build.yaml"), "--output", str(tmp_path / "out"))
    assert status_of(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines
    assert all(line.startswith("error: ") and ": expected " in line and "; " in line for line in lines), lines
    assert "hunter22" not in printed.err
    assert not (tmp_path / "out").exists()


def test_as_json_each_mistake_is_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    case = next(case for case in BAD if case.stem == "other-name")
    assert status_of(monkeypatch, "--json", "--manifest", str(case / "build.yaml"), "--output", str(tmp_path)) == 1
    (mistake,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (mistake["event"], mistake["file"], mistake["line"]) == ("mistake", "policy/policy-definition.yaml", 1)
    assert {"expected", "got", "cure"} <= mistake.keys()


def builder(options: BuildOptions) -> BuildResult:
    """Stands in for the builder, which needs an engine: what it says is what is tested here."""
    options.say(Step("fetching limit"))
    options.say(Download("limit", 5, 10))
    options.say(Download("limit", 10, 10, done=True))
    if options.locked:
        raise BuildError([Mistake("build.lock", "it", "none", "make one")])
    path = options.output
    return BuildResult(path, path, path, path, None, {}, ("bin",), {"read": 0.12345})


def test_as_json_what_goes_on_is_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(building, "run_builder", builder)
    assert status_of(monkeypatch, "--json", "--output", str(tmp_path)) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "step", "text": "fetching limit"},
        {"event": "download", "what": "limit", "received": 5, "total": 10, "done": False},
        {"event": "download", "what": "limit", "received": 10, "total": 10, "done": True},
        {"event": "built", "output": str(tmp_path), "changed": ["bin"], "seconds": {"read": 0.123}},
    ]


def test_a_person_reads_lines(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(building, "run_builder", builder)
    assert status_of(monkeypatch, "--locked") == 1
    assert capsys.readouterr().err.splitlines() == [
        "build: fetching limit",
        "build: limit: 10 bytes",
        "error: build.lock: expected it, got none; make one",
    ]
