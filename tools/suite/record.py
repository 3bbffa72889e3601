"""The results of an earlier run in `recorded.json`: the seconds of each file, and the components that passed.

`make test ALL=1 RECORD=1` writes that file, which is committed. build/tests/passed.json has the components that
passed in this checkout.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from suite.components import ROOT, Component
from suite.outcome import Outcome, file_seconds

RECORDED = Path(__file__).with_name("recorded.json")
PASSED = ROOT / "build" / "tests" / "passed.json"
LEAST_SECONDS = 1.0
"""Files that take less are not recorded: their order makes no difference."""


def read_file_seconds() -> dict[str, float]:
    """The seconds of each file of tests in the recorded run, as far as they count."""
    seconds: dict[str, float] = _read(RECORDED).get("seconds", {})
    return seconds


def passed_before(component: Component, digest: str) -> str:
    """The record by which the component's tests passed on exactly these files, or ""."""
    if _read(PASSED).get(component.name) == digest:
        return "in this checkout"
    if component.nightly and _read(RECORDED).get("passed", {}).get(component.name) == digest:
        return "in the recorded run"
    return ""


def note_passed(digests: dict[str, str], failed: Iterable[str]) -> None:
    """Keeps that these components passed, and forgets those that failed."""
    passed = {**_read(PASSED), **digests}
    for name in failed:
        passed.pop(name, None)
    PASSED.parent.mkdir(parents=True, exist_ok=True)
    PASSED.write_text(json.dumps(passed, indent=1, sort_keys=True))


def write_recorded(outcomes: list[Outcome], digests: dict[str, str]) -> None:
    """Writes the results of this run, and keeps those of files that it left out. digests: those of the components
    that passed as a whole.
    """
    recorded = _read(RECORDED)
    seconds: dict[str, float] = {**recorded.get("seconds", {}), **file_seconds(outcomes)}
    long = {name: round(took, 1) for name, took in sorted(seconds.items()) if took >= LEAST_SECONDS}
    content = {
        "passed": {**recorded.get("passed", {}), **digests},
        "seconds": {name: took for name, took in long.items() if (ROOT / name).exists()},
    }
    RECORDED.write_text(json.dumps(content, indent=1) + "\n")


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text())
    except FileNotFoundError:
        return {}
    return content
