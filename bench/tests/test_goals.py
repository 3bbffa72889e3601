from __future__ import annotations

import math

import pytest

from bench import goal
from bench.goal import Goal
from bench.goals import goals
from bench.rows import ROWS
from bench.sample import Sample
from bench.tests.samples import sample

RATES = {"go": 5000, "go-python-go": 3500, "naive": 1000, "ext-proc-aio": 2000, "python-1": 4000, "python-5": 1200}
CPU = {"plain": (50, 0), "go": (200, 60), "go-python-go": (300, 120), "ext-proc-go": (180, 50)}
"""CPU of Envoy and of the Go programs."""


def measured(row: str) -> Sample:
    envoy, go = CPU.get(row, (1, 1))
    return sample(row, 0, float(RATES.get(row, 1000)), connections=64, Envoy=envoy, Go=go)


def find_goal(title: str) -> Goal:
    """The goal whose title begins so."""
    return next(
        candidate for candidate in goals([measured(row.key) for row in ROWS]) if candidate.title.startswith(title)
    )


@pytest.mark.parametrize(
    ("title", "value", "verdict"),
    [
        ("Go → Python → Go: req/s × Go → Go", 0.7, "must"),
        ("Go → Python → Go: req/s × naive", 3.5, "aim"),
        ("Go → Python → Go: req/s × Python ext_proc", 1.75, "must"),
        ("one Python execution", 1.6, "must"),
        ("five Python policies", 0.3, "**missed**"),
        ("Go → Go: engine's CPU", 1.2, "must"),
    ],
)
def test_a_goal_is_a_ratio_with_a_verdict(title: str, value: float, verdict: str) -> None:
    assert find_goal(title).value == pytest.approx(value)
    assert find_goal(title).verdict() == verdict


def test_a_goal_without_measurements_has_no_verdict() -> None:
    assert all(
        math.isnan(unmeasured.value) and unmeasured.verdict() == "–" for unmeasured in goals([sample(connections=64)])
    )
    assert "| – | ≥ 0.55 | ≥ 0.72 | – |" in goal.markdown(goals([]))
