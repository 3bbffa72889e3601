"""Both modes of a node in one run."""

from __future__ import annotations

import math

import pytest

from bench import gateway, in_envoy
from bench.campaign import in_order
from bench.goal import Goal
from bench.sample import Sample
from bench.settings import parse
from bench.tests.samples import sample

RATES = {
    "plain": 10_000,
    "in-envoy-no-policies": 9_400,
    "go": 4_000, "in-envoy-go": 8_000,
    "python-1": 2_500, "in-envoy-python-1": 4_000,
    "go-python-go": 2_500, "in-envoy-go-python-go": 3_500,
    "pyvoy": 5_000,
}  # fmt: skip
COSTS = {"pyvoy": 300.0, "in-envoy-python-1": 210.0, "python-1": 420.0}
SAMPLES = [
    *(sample(row, 0, float(rate), connections=64, Envoy=COSTS.get(row, 100.0)) for row, rate in RATES.items()),
    *(sample("plain", number, connections=1, p50=300 + 10 * number) for number in range(3)),
    *(sample("in-envoy-python-1", number, connections=1, p50=690 + 20 * number) for number in range(3)),
]


def find_goal(title: str, samples: list[Sample] | None = None) -> Goal:
    return next(goal for goal in in_envoy.goals(SAMPLES if samples is None else samples) if goal.title == title)


@pytest.mark.parametrize(
    ("title", "value", "verdict"),
    [
        ("Go → Go: req/s × plain Envoy", 0.8, "reached"),
        ("Go → Go: req/s × ext_proc", 2.0, "reached"),
        ("1 Python policy: req/s × pyvoy", 0.8, "**missed**"),
        ("1 Python policy: CPU × pyvoy", 0.7, "reached"),
        ("1 Python policy: req/s × ext_proc", 1.6, "reached"),
        ("Go → Python → Go: req/s × ext_proc", 1.4, "**missed**"),
        ("no policies: req/s × plain Envoy", 0.94, "**missed**"),
        ("1 Python policy, 1 connection: added p50, ms", 0.4, "reached"),
    ],
)
def test_a_goal_compares_the_row_inside_envoy(title: str, value: float, verdict: str) -> None:
    assert find_goal(title).value == pytest.approx(value)
    assert in_envoy.verdict(find_goal(title)) == verdict


def test_a_goal_that_was_not_measured_has_no_verdict() -> None:
    goals = [*in_envoy.goals([sample("plain")])]
    assert len(goals) == 8
    assert all(math.isnan(goal.value) and in_envoy.verdict(goal) == "–" for goal in goals)


def test_the_tables_have_the_ratios_to_all_three() -> None:
    lines = in_envoy.markdown(SAMPLES, parse(["--in-envoy", "--connections", "64"])).splitlines()
    assert "| Go → Go: req/s × plain Envoy | 0.8 | ≥ 0.8 | reached |" in lines
    (line,) = (line for line in lines if line.startswith("| 64 | gateway, 1 Python policy |"))
    ratios = ["1.60 (1.60–1.60)", "0.50 (0.50–0.50)", "0.40 (0.40–0.40)", "2.10 (2.10–2.10)", "0.80 (0.80–0.80)"]
    assert line.split(" | ")[2:] == [*ratios, "0.70 (0.70–0.70) |"]


def test_each_row_is_measured_next_to_its_twin_inside_envoy() -> None:
    settings = parse(["--in-envoy"])
    assert settings.connections == (1, 64)
    assert [(row.key, row.engine) for row in in_order(settings.measured_at(1), 0)] == [
        ("plain", ""),
        ("no-policies", ""), ("in-envoy-no-policies", "in-envoy"),
        ("go", ""), ("in-envoy-go", "in-envoy"),
        ("go-python-go", ""), ("in-envoy-go-python-go", "in-envoy"),
        ("python-1", ""), ("in-envoy-python-1", "in-envoy"),
        ("pyvoy", ""),
    ]  # fmt: skip


def test_modes_and_commits_are_compared_in_runs_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["--in-envoy", "--compare", "HEAD"])
    assert "not allowed with argument" in capsys.readouterr().err


@pytest.mark.parametrize("engine", [[], [{"name": "engine", "pid": 13, "state": "ready"}]])
def test_an_engine_inside_envoy_is_counted_once(engine: list[dict[str, object]]) -> None:
    envoy: dict[str, object] = {"name": "envoy", "pid": 13, "state": "ready"}
    assert gateway.pids({"pid": 9, "processes": [*engine, envoy]}) == {
        "Envoy": (13,),
        "Go": (),
        "Python": (),
        "rest": (9,),
    }
