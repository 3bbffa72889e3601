from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench import sample as sampling
from bench.campaign import in_order
from bench.cpu import ProcessTime, Snapshot
from bench.load_tool import Result
from bench.rows import ROWS
from bench.sample import Mark, Sample
from bench.tests.samples import sample


def take_function(*foreign: float) -> tuple[Callable[[], Sample], list[float]]:
    """A function that returns samples with these disturbances in turn, and the list of the remaining ones."""
    left = list(foreign)
    return lambda: sample(foreign=left.pop(0)), left


@pytest.mark.parametrize(
    ("foreign", "chosen", "left"),
    [
        ((0.01, 0.0), 0.01, 1),
        ((0.08, 0.0), 0.08, 1),
        ((0.3, 0.02, 0.01), 0.02, 1),
        ((0.3, 0.2, 0.25, 0.07, 0.0), 0.07, 1),
        ((0.3, 0.2, 0.25, 0.4, 0.0), 0.2, 1),
    ],
)
def test_a_disturbed_sample_is_taken_again(foreign: tuple[float, ...], chosen: float, left: int) -> None:
    take, rest = take_function(*foreign)
    assert sampling.take_undisturbed(take, repeats=3).foreign == chosen
    assert len(rest) == left


def test_without_repeats_the_first_sample_counts() -> None:
    take, rest = take_function(0.3, 0.0)
    assert sampling.take_undisturbed(take, repeats=0).foreign == 0.3
    assert rest == [0.0]


def mark(at: float, **own: float) -> Mark:
    processes = {int(name[1:]): ProcessTime(int(name[1:]), 1, seconds) for name, seconds in own.items()}
    return Mark(at, Snapshot(processes))


def result(seconds: float, count: int) -> Result:
    return Result(seconds, count, 0, "", 0, 1, 1, 1, 1)


def test_cpu_per_answer_sums_the_processes_of_a_column() -> None:
    before, after = mark(10.0, p5=1.0, p6=0.0, p7=3.0), mark(14.0, p5=1.5, p6=0.25, p7=3.0)
    per_answer = sampling.per_answer(before, after, {"Python": (5, 6), "Envoy": (7,), "rest": ()}, result(4.0, 1000))
    assert per_answer == pytest.approx({"Python": 750.0, "Envoy": 0.0, "rest": 0.0})


def test_cpu_per_answer_does_not_depend_on_the_distance_of_the_marks() -> None:
    per_answer = sampling.per_answer(mark(0.0, p5=0.0), mark(5.0, p5=5.0), {"Envoy": (5,)}, result(4.0, 4000))
    assert per_answer == pytest.approx({"Envoy": 1000.0})


def test_without_answers_there_is_no_cpu_per_answer() -> None:
    per_answer = sampling.per_answer(mark(0.0, p5=0.0), mark(4.0, p5=1.0), {"Envoy": (5,)}, result(4.0, 0))
    assert math.isnan(per_answer["Envoy"])


def test_every_other_round_runs_backwards() -> None:
    assert list(in_order(ROWS, 0)) == list(ROWS)
    assert list(in_order(ROWS, 1)) == list(reversed(ROWS))
