"""What counts as broken in fuzzing Go."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ended_by_time = runpy.run_path(str(Path(__file__).parents[1] / "fuzz.py"))["ended_by_time"]

ENDED = """fuzz: elapsed: 5s, execs: 204671 (41229/sec), new interesting: 7 (total: 61)
--- FAIL: FuzzRead (5.08s)
    context deadline exceeded
FAIL
exit status 1
"""
BROKEN = """--- FAIL: FuzzRead (0.02s)
    --- FAIL: FuzzRead (0.00s)
        read_test.go:20: context deadline exceeded

    Failing input written to testdata/fuzz/FuzzRead/582528ddfad69eb5
FAIL
"""


@pytest.mark.parametrize(("said", "ended"), [(ENDED, True), (BROKEN, False), (ENDED + BROKEN, False), ("FAIL", False)])
def test_the_end_of_its_time_breaks_no_target(said: str, ended: bool) -> None:
    assert ended_by_time(said) == ended
