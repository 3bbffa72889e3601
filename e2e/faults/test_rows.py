"""The short form of `make faults`: what breaks most often, under the same load and the same judge."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.faults import blocking
from e2e.faults.environment import started_environment
from e2e.faults.hostile import Hostile
from e2e.faults.row import Row
from e2e.faults.rows import ROWS
from e2e.faults.table import Line, cells, reasons
from e2e.hostile import level
from e2e.hostile.tries import TRIES

pytestmark = pytest.mark.alone
NAMES = (
    "executor kill -9, 1 process",
    "executor kill -9, 1 of 2 processes",
    "engine kill -9, controller away",
    "a policy that calls os._exit",
)
SHORT = [row for row in ROWS if isinstance(row, Row) and row.name in NAMES]


TRIED = (
    "environment", "inherited-descriptors", "parameters", "hooks", "environ", "memory", "signals", "limits",
    "read-files", "write-files", "private-sockets", "management-api", "listening-port", "namespaces", "offline",
    "forged-logs", "child",
)  # fmt: skip


FIRST_SLOTS = 16


def test_the_short_form_has_all_the_rows_that_it_names() -> None:
    assert len(SHORT) == len(NAMES)


@pytest.mark.parametrize("row", SHORT, ids=lambda row: row.name)
def test_a_fault_keeps_its_contract(row: Row, tool: Path, build: Path) -> None:
    """On a busy machine, what a process's start takes there counts on top of the time for recovery."""
    contract = replace(row.contract, recovery=row.contract.recovery + seconds_of_a_start())
    line = Line(row.name, replace(row, contract=contract).run(tool, build))
    assert line.kept, "\n".join([" | ".join(cells(line)), *reasons(line)])


def seconds_of_a_start() -> float:
    """What a process in Python takes here and now until it has imported what such processes need."""
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", "import asyncio, grpc"], check=True)
    return time.monotonic() - begun


@pytest.mark.skipif(bool(level.skip_reason()), reason=str(level.skip_reason()))
@pytest.mark.slow("a gateway, and all that a hostile policy tries")
def test_a_hostile_policy_reaches_only_the_documented_targets(tool: Path, build: Path) -> None:
    row = Hostile(level.DEFAULT, [attempt for attempt in TRIES if attempt.name in TRIED])
    assert len(row.tries) == len(TRIED)
    line = Line(row.name, row.run(tool, build))
    assert line.kept, "\n".join([" | ".join(cells(line)), *reasons(line)])


def test_a_waiting_policy_is_served_with_default_settings(tool: Path, build: Path) -> None:
    """With the first 16 slots alone it would be 320 a second at most, and more refused than answered. `make faults`
    wants 1,000, of a quiet machine; another one does not serve as many awake."""
    with started_environment(tool, build, blocking.SETTING) as environment:
        asleep, awake = blocking.sleepers(environment, 4.0), blocking.sleepers(environment, 2.0, "awake")
    assert asleep.count / asleep.seconds > min(1.1 * FIRST_SLOTS / blocking.SLEEP, 0.4 * awake.count / awake.seconds)
    assert asleep.failures <= 0.05 * asleep.count, asleep.first_failure
