"""The commands that run tests, and what each of them cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from suite.components import ROOT, Component
from suite.outcome import Outcome, read_go, read_junit, read_pytest

RESULTS = ROOT / "build" / "tests"
TIMEOUT_SECONDS = 180  # of one test
GO_TIMEOUT = "600s"  # of a package
NO_TESTS = 5  # pytest's exit code where a selection is empty
FAILED_TESTS = 1


@dataclass(frozen=True)
class Finished:
    """A command that has ended. mistake: why it ended without having run its tests; "" where it ran them."""

    name: str
    seconds: float
    cpu: float
    outcomes: tuple[Outcome, ...]
    cached: tuple[str, ...] = ()
    mistake: str = ""


def run_pytest(name: str, tests: Sequence[str], seed: int, *options: str) -> Finished:
    """Files, folders or single tests, in one pool of processes, whose output goes to ours."""
    costs, junit = RESULTS / f"{name}.jsonl", RESULTS / f"{name}.xml"
    costs.unlink(missing_ok=True)
    command = [
        sys.executable, "-m", "pytest", "-q", "--timeout", str(TIMEOUT_SECONDS), "-p", "suite.pytest_costs",
        "--continue-on-collection-errors", "--costs", str(costs), "--junitxml", str(junit), f"--randomly-seed={seed}",
        *options, *tests,
    ]  # fmt: skip
    paths = [str(ROOT / "tools"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    code, seconds, cpu = _run(command, environment)
    outcomes = tuple(read_pytest(costs))
    empty = {NO_TESTS} if "-m" in options else set()
    ran = code in {0, *empty} or (code == FAILED_TESTS and any(outcome.outcome == "failed" for outcome in outcomes))
    return Finished(name, seconds, cpu, outcomes, mistake="" if ran else f"pytest ended with {code}: see above")


def run_go(name: str, packages: Sequence[str], seed: int | None) -> Finished:
    """Go's own cache decides what has to run again; with a seed, tests run in random order, and none are cached."""
    events = RESULTS / f"{name}.jsonl"
    shuffled = [] if seed is None else [f"-shuffle={seed}"]
    command = ["go", "test", "-race", "-trimpath", "-timeout", GO_TIMEOUT, "-json", *shuffled, *packages]
    with events.open("w") as output:
        code, seconds, cpu = _run(command, dict(os.environ), output.fileno())
    outcomes = tuple(read_go(events, _folders_of_packages(packages)))
    _print_failed_go(events)
    ran = code == 0 or any(outcome.outcome == "failed" for outcome in outcomes)
    mistake = "" if ran else f"go test ended with {code}: see {events.relative_to(ROOT)}"
    return Finished(name, seconds, cpu, outcomes, tuple(_cached_packages(events)), mistake)


def run_node(component: Component) -> Finished:
    """The tests of the Inspector's JavaScript that need no browser."""
    junit = RESULTS / "node.xml"
    junit.unlink(missing_ok=True)
    command = [sys.executable, "tools/javascript.py", "--test", "--junit", str(junit)]
    code, seconds, cpu = _run(command, dict(os.environ))
    outcomes = tuple(read_junit(junit, component.tests)) if junit.exists() else ()
    ran = bool(outcomes) and (code == 0 or any(outcome.outcome == "failed" for outcome in outcomes))
    return Finished("node", seconds, cpu, outcomes, mistake="" if ran else f"node --test ended with {code}: see above")


def _run(command: Sequence[str], environment: dict[str, str], output: int | None = None) -> tuple[int, float, float]:
    """The command's exit code, its seconds, and the CPU seconds of it and of all that it has waited for."""
    begun = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, time.monotonic() - begun, usage.ru_utime + usage.ru_stime


def _folders_of_packages(packages: Sequence[str]) -> dict[str, str]:
    command = ["go", "list", "-e", "-f", "{{.ImportPath}} {{.Dir}}", *packages]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True).stdout
    pairs = [line.split(" ", 1) for line in result.splitlines()]
    return {path: str(Path(folder).relative_to(ROOT)) for path, folder in pairs if folder}


def _events(file: Path) -> Iterator[dict[str, str]]:
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            yield json.loads(line)
        else:
            print(line)  # go itself, not a test


def _cached_packages(file: Path) -> Iterator[str]:
    for event in _events(file):
        if event.get("Output", "").endswith("\t(cached)\n"):
            yield event["Package"]


def _print_failed_go(file: Path) -> None:
    """The output of each test that failed, and of each package that does not compile."""
    output: dict[tuple[str, str], list[str]] = {}
    for event in _events(file):
        key = (event.get("Package", event.get("ImportPath", "")), event.get("Test", ""))
        if event["Action"] in {"output", "build-output"}:
            output.setdefault(key, []).append(event["Output"])
        elif event["Action"] in {"fail", "build-fail"}:
            print("".join(output.pop(key, [])), end="", flush=True)
        elif event["Action"] == "pass":
            output.pop(key, None)
