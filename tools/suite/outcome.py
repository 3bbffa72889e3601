"""The outcome of a test as the runners write it: one line of JSON for each."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree


@dataclass(frozen=True)
class Outcome:
    """One test of one run.

    test: as its runner names it. outcome: passed, failed or skipped. seconds: with its fixtures. call: those
    of the test without them. slow: the reason that it gives for taking long. repeat: the command that runs it alone.
    reads: files of the repository that it was the first of its file to open. output: the last lines of a failed Go
    test, or of a package that failed without one: pytest prints its own at the end, go where it happens.
    """

    test: str
    outcome: str
    seconds: float
    call: float
    cpu: float
    file: str
    repeat: str
    slow: str = ""
    reads: tuple[str, ...] = ()
    output: str = ""


def read_pytest(costs: Path) -> Iterator[Outcome]:
    """The lines that suite.pytest_costs writes."""
    for line in _lines(costs):
        test = line["test"]
        yield Outcome(
            test,
            line["outcome"],
            line["seconds"],
            line["call"],
            line["cpu"],
            test.partition("::")[0],
            f"pytest '{test}'",
            line.get("slow", ""),
            tuple(line.get("reads", ())),
        )


SLOW_IN_GO = re.compile(r"_test\.go:\d+: slow: (?P<reason>.+)")
OUTPUT_LINES = 30
GO_OUTCOMES = {"pass": "passed", "fail": "failed", "skip": "skipped"}


def read_go(events: Path, packages: dict[str, str]) -> Iterator[Outcome]:
    """The events of `go test -json`. packages: import path to folder.

    A package that does not compile, or fails without a test that does, counts as a test of its own name.
    """
    failed_in: set[str] = set()
    reasons: dict[tuple[str, str], str] = {}
    printed = _printed_by_go(events)
    for event in _lines(events):
        if match := SLOW_IN_GO.search(event.get("Output", "")):
            reasons[event["Package"], event["Test"].partition("/")[0]] = match["reason"]
        outcome = GO_OUTCOMES.get(event["Action"])
        if outcome is None or "Package" not in event:
            continue
        package, test, seconds = event["Package"], event.get("Test"), event.get("Elapsed", 0.0)
        folder = packages.get(package, package)
        if test is None:
            if outcome == "failed" and package not in failed_in:
                repeat = f"go test -race ./{folder}"
                yield Outcome(package, outcome, seconds, seconds, 0.0, folder, repeat, output=printed(package))
            continue
        if outcome == "failed":
            failed_in.add(package)
        if "/" not in test:  # those of a table are counted with the function that they stand in
            repeat = f"go test -race ./{folder} -run '^{test}$'"
            slow = reasons.get((package, test), "")
            output = printed(package, test) if outcome == "failed" else ""
            yield Outcome(f"{folder} {test}", outcome, seconds, seconds, 0.0, folder, repeat, slow, output=output)


def _printed_by_go(events: Path) -> Callable[..., str]:
    """A function from a package, and one of its tests, to the last lines that it printed."""
    lines: dict[tuple[str, ...], deque[str]] = defaultdict(lambda: deque(maxlen=OUTPUT_LINES))
    for event in _lines(events):
        if event["Action"] == "output":
            lines[tuple(event[key] for key in ("Package", "Test") if key in event)].append(event["Output"])
    return lambda *names: "".join(lines[names])


def read_junit(file: Path, tests: Sequence[str]) -> Iterator[Outcome]:
    """Reads the output of Node's reporter `junit`, which has a case's name without its file: the first of `tests`.

    A file that cannot be loaded counts as a test of its own path.
    """
    folder = os.path.commonpath([str(Path(test).parent) for test in tests])
    for case in ElementTree.parse(file).getroot().iter("testcase"):  # noqa: S314 - our own runner wrote it
        name = case.get("name", "").replace("&quot;", '"')  # the reporter escapes quotes twice
        seconds = float(case.get("time", 0))
        is_file = name.endswith(".test.js") and Path(name).is_absolute()
        alone = [name] if is_file else ["--test-name-pattern", f"^{re.escape(name)}$"]
        repeat = shlex.join(["python", "tools/javascript.py", "--test", *alone])
        yield Outcome(f"{folder} {name}", _outcome_of_case(case), seconds, seconds, 0.0, tests[0], repeat)


def _outcome_of_case(case: ElementTree.Element) -> str:
    if case.find("failure") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


def file_seconds(outcomes: Iterable[Outcome]) -> dict[str, float]:
    """The seconds of all tests of each file."""
    seconds: dict[str, float] = defaultdict(float)
    for outcome in outcomes:
        seconds[outcome.file] += outcome.seconds
    return dict(seconds)


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    if not file.exists():
        return
    for line in file.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            yield json.loads(line)
