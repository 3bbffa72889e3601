from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import summary
from bench.summary import Spread
from bench.tests.samples import sample

RATES = st.lists(st.integers(1, 10**6).map(float), min_size=1, max_size=9)


@given(RATES)
def test_a_spread_contains_its_median(rates: list[float]) -> None:
    spread = summary.spread([sample(rate=rate) for rate in rates], summary.rate)
    assert spread.low == min(rates)
    assert spread.high == max(rates)
    assert sum(rate < spread.median for rate in rates) * 2 <= len(rates)
    assert sum(rate > spread.median for rate in rates) * 2 <= len(rates)


def test_a_round_without_answers_has_no_latency() -> None:
    rounds = [sample(p50=100), sample(rate=0.0, p50=0), sample(p50=120)]
    assert summary.spread(rounds, summary.p50) == Spread(110, 100, 120)
    assert math.isnan(summary.spread(rounds[1:2], summary.p50).median)
    assert math.isnan(summary.spread([], summary.rate).median)


@given(RATES, st.integers(1, 8))
def test_a_ratio_is_unaffected_by_changes_of_a_whole_round(rates: list[float], factor: int) -> None:
    reference = [sample("plain", n, rate) for n, rate in enumerate(rates)]
    ours = [sample("go", n, rate * factor) for n, rate in enumerate(rates)]
    assert summary.ratio(reversed(ours), reference, summary.rate) == pytest.approx(factor)


def test_a_ratio_is_the_median_over_the_rounds_that_both_have() -> None:
    ours = [sample("go", 0, 500), sample("go", 1, 600), sample("go", 2, 100), sample("go", 3, 9)]
    reference = [sample("plain", n, 1000) for n in range(3)]
    assert summary.ratio(ours, reference, summary.rate) == pytest.approx(0.5)


def test_without_a_reference_there_is_no_ratio() -> None:
    assert math.isnan(summary.ratio([sample()], [], summary.rate))
    assert math.isnan(summary.ratio([sample()], [sample(rate=0.0)], summary.rate))


def test_a_line_has_the_samples_of_its_row_and_connections() -> None:
    expected = sample("go", connections=1)
    assert summary.of([sample("go"), expected, sample("plain", connections=1)], "go", 1) == [expected]


def test_total_leaves_upstream_and_load_generator_out() -> None:
    assert sample(Envoy=1, Go=2, Python=4, rest=8, upstream=100, load=100).total == 15


def test_a_python_execution_is_half_of_what_the_python_row_adds() -> None:
    rounds = [
        measured
        for n, slow in enumerate((1.0, 3.0, 2.0))
        for measured in (
            sample("plain", n, Envoy=40 * slow),
            sample("go", n, Envoy=60 * slow, Go=40 * slow),
            sample("go-python-go", n, Envoy=70 * slow, Go=50 * slow, Python=60 * slow),
        )
    ]
    assert summary.python_execution(rounds, 16) == pytest.approx((80.0, 1.0))
    assert summary.python_execution(rounds[:2], 16) is None
    assert summary.python_execution(rounds, 1) is None
