"""`gatewright build` as a person and as a program meet it: sentences, exit status, events."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from gatewright_builder.build import BuildResult, BuiltPolicy
from gatewright_builder.events import Download, Note, Step, Waiting
from gatewright_cli.builds import build_as_json, building
from gatewright_cli.commands import build_command
from gatewright_cli.main import main

BAD = sorted((Path(__file__).parents[3] / "gateway-builder" / "tests" / "testdata").glob("*.bad"))


def status_of(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["build", *arguments])
    return ended.value.code


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.stem)
def test_bad_input_is_sentences_and_exit_status_1(
    case: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--manifest", str(case / "build.yaml"), "--output", str(tmp_path / "out"))
    assert status_of(*arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    lines = printed.err.splitlines()
    assert lines
    assert all(line.startswith("error: ") and ": expected " in line and "; " in line for line in lines), lines
    assert "hunter22" not in printed.err
    assert not (tmp_path / "out").exists()


def test_as_json_each_mistake_is_an_event(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = next(case for case in BAD if case.stem == "other-name")
    assert status_of("--json", "--manifest", str(case / "build.yaml"), "--output", str(tmp_path)) == 1
    (mistake,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (mistake["event"], mistake["file"], mistake["line"]) == ("mistake", "policy/policy-definition.yaml", 1)
    assert {"expected", "got", "cure"} <= mistake.keys()


EVENTS = (
    Step("fetching limit"),
    Waiting("fetching limit", 4.04),
    Note("policy.py:4: on_response of limit:v1.2.0 is never called" + 20 * " in one line"),
    Download("limit", 5, 10),
    Download("limit", 10, 10, done=True),
)


def result(path: Path) -> BuildResult:
    policies = (BuiltPolicy("limit", "v1.2.0", "go", ""), BuiltPolicy("greet", "v1.0.0", "python", "slow"))
    return BuildResult(path, path, path, path, None, {}, ("bin",), {"read": 0.12345}, policies, is_stock=False)


def test_as_json_progress_is_events(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for event in EVENTS:
        build_as_json.say_as_json(event)
    build_as_json.say_built_as_json(result(tmp_path))
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [
        {"event": "step", "text": "fetching limit"},
        {"event": "waiting", "text": "fetching limit", "seconds": 4.04},
        {"event": "note", "text": "policy.py:4: on_response of limit:v1.2.0 is never called" + 20 * " in one line"},
        {"event": "download", "what": "limit", "received": 5, "total": 10, "done": False},
        {"event": "download", "what": "limit", "received": 10, "total": 10, "done": True},
        {"event": "built", "output": str(tmp_path), "changed": ["bin"], "seconds": {"read": 0.123},
         "policies": [{"name": "limit", "version": "v1.2.0", "runtime": "go", "group": ""},
                      {"name": "greet", "version": "v1.0.0", "runtime": "python", "group": "slow"}],
         "engine": "compiled"},
    ]  # fmt: skip


def test_the_summary_of_a_build(tmp_path: Path) -> None:
    assert build_command.summary(result(tmp_path)).splitlines() == [
        f"built {tmp_path} in 0.1 s",
        "  limit v1.2.0   go",
        "  greet v1.0.0   python, group slow",
        "  policy engine  compiled for this build",
    ]


@pytest.mark.parametrize("place", ["/proc/x", "/dev/null/x"])
def test_an_output_that_cannot_be_written_is_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "build.yaml").write_text("version: v1\npolicies: []\n")
    assert status_of("--manifest", str(tmp_path / "build.yaml"), "--output", place) == 1
    err = capsys.readouterr().err
    assert err.startswith(f"error: {place}: expected an output folder that can be written, got /"), err
    assert err.count("\n") == 1


INTERRUPTED_IMPORT = """
import os, signal

signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may have been started with it ignored
os.kill(os.getpid(), signal.SIGINT)
signal.pause()
"""


def test_ctrl_c_while_it_is_still_importing_is_no_traceback(tmp_path: Path) -> None:
    slow = tmp_path / "click.py"
    slow.write_text(INTERRUPTED_IMPORT)
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "gatewright_cli", "version"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_person_reads_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with building.progress_display() as show:
        for event in EVENTS:
            show.say(event)
    assert capsys.readouterr().err.splitlines() == [
        "build: fetching limit",
        "build: fetching limit … 4 s",
        "note: policy.py:4: on_response of limit:v1.2.0 is never called" + 20 * " in one line",
        "build: limit: 10 bytes",
    ]


@pytest.mark.parametrize(("arguments", "seconds"), [((), 60.0), (("--import-limit", "5m"), 300.0)])
def test_the_import_limit_reaches_the_builder(arguments: tuple[str, ...], seconds: float) -> None:
    params = build_command.build.make_context("build", list(arguments)).params
    assert params.pop("as_json") is False
    assert build_command.build_options(**params).import_seconds == seconds
