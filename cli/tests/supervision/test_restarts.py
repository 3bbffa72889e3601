from __future__ import annotations

import pytest
from gatewright_cli.supervision.restarts import RestartPolicy, Restarts
from hypothesis import given
from hypothesis import strategies as st

STEADY = RestartPolicy(jitter=0.0)


def test_delays_double_up_to_the_longest() -> None:
    restarts = Restarts(STEADY)
    assert [restarts.delay_after(0.0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]


def test_a_long_uptime_resets_the_delay() -> None:
    restarts = Restarts(STEADY)
    for _ in range(5):
        restarts.delay_after(1.0)
    assert restarts.delay_after(5.0) == 0.1
    assert restarts.delay_after(4.9) == 0.2


@pytest.mark.parametrize(("chance", "expected"), [(0.0, 0.1), (0.5, 0.09), (1.0, 0.08)])
def test_jitter_only_shortens(chance: float, expected: float) -> None:
    assert Restarts(RestartPolicy(jitter=0.2), lambda: chance).delay_after(0.0) == pytest.approx(expected)


@given(st.lists(st.floats(0, 100), max_size=200))
def test_delays_stay_within_their_bounds(lives: list[float]) -> None:
    restarts = Restarts(RestartPolicy())
    assert all(0.08 <= restarts.delay_after(uptime) <= 5.0 for uptime in lives)


def test_a_process_that_was_never_ready_gets_three_starts() -> None:
    restarts = Restarts(STEADY)
    more = []
    for _ in range(3):
        restarts.delay_after(0.0)
        more.append(restarts.may_start_again())
    assert more == [True, True, False]
