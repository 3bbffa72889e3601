"""Runs failed tests once more and alone: one that passes then proves no fault in this change, and is to be fixed.

For a machine that others share, where a change has to land (`.ci/run`). `make test` tries nothing again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from suite import commands
from suite.commands import Finished
from suite.outcome import UNSTABLE, Outcome

MOST = 20
"""If more tests have failed, the change has broken something."""


def run(finished: Sequence[Finished], seed: int) -> list[Finished]:
    """The results, with the tests that passed now marked as unstable."""
    failed = [outcome for command in finished for outcome in command.outcomes if outcome.outcome == "failed"]
    if not failed or len(failed) > MOST:
        return list(finished)
    again = [outcome for command in _run_alone(failed, seed) for outcome in command.outcomes]
    failed_again = {outcome.test for outcome in again if outcome.outcome == "failed"}
    passed = {outcome.test for outcome in again if outcome.outcome == "passed"} - failed_again
    passed |= {outcome.test for outcome in failed if _is_package(outcome) and _has_passed(outcome.file, again)}
    return [_mark_unstable(command, passed) for command in finished]


def _is_package(outcome: Outcome) -> bool:
    """Whether it is a Go package that failed although none of its tests did, such as by a goroutine that it left."""
    return outcome.repeat == f"go test -race ./{outcome.file}"


def _has_passed(package: str, again: list[Outcome]) -> bool:
    """Whether the package's tests have run, and neither one of them nor the package itself has failed."""
    outcomes = {outcome.outcome for outcome in again if outcome.file == package}
    return "passed" in outcomes and "failed" not in outcomes


def _run_alone(failed: list[Outcome], seed: int) -> list[Finished]:
    python = [outcome.test for outcome in failed if outcome.repeat.startswith("pytest")]
    packages = sorted({f"./{outcome.file}" for outcome in failed if outcome.repeat.startswith("go test")})
    finished = []
    if packages:
        finished.append(commands.run_go("go-again", packages, None))
    if python:
        finished.append(commands.run_pytest("again", python, seed))
    return finished


def _mark_unstable(command: Finished, passed: set[str]) -> Finished:
    """The command, whose tests that failed and have passed now are unstable."""
    outcomes = (
        replace(test, outcome=UNSTABLE) if test.outcome == "failed" and test.test in passed else test
        for test in command.outcomes
    )
    return replace(command, outcomes=tuple(outcomes))
