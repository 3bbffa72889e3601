"""Which instances count as quick."""

import pytest
from gatewright_executor.running.latency import LONGEST_RUN, RUN, STRIKES, LatencyClass
from hypothesis import given
from hypothesis import strategies as st

QUICK, SLOW = False, True


def noted(latency: LatencyClass, *executions: bool) -> LatencyClass:
    for slow in executions:
        latency.record(slow)
    return latency


def test_a_run_of_quick_executions_promotes() -> None:
    latency = noted(LatencyClass(), *[QUICK] * (RUN - 1))
    assert not latency.is_quick
    assert noted(latency, QUICK).is_quick


def test_a_slow_execution_in_the_first_run_begins_it_anew() -> None:
    latency = noted(LatencyClass(), *[QUICK] * (RUN - 1), SLOW, *[QUICK] * (RUN - 1))
    assert not latency.is_quick


def test_a_quick_policy_may_be_slow_now_and_then() -> None:
    latency = noted(LatencyClass(), *[QUICK] * RUN, *[SLOW] * (STRIKES - 1))
    assert latency.is_quick
    assert not noted(latency, SLOW).is_quick
    assert not noted(latency, *[QUICK] * RUN).is_quick, "it takes longer to be promoted again"
    assert noted(latency, *[QUICK] * 3 * RUN).is_quick


def test_strikes_are_forgotten_after_another_run() -> None:
    latency = noted(LatencyClass(), *[QUICK] * RUN)
    for _ in range(20):
        noted(latency, *[SLOW] * (STRIKES - 1), *[QUICK] * RUN)
        assert latency.is_quick


@pytest.mark.parametrize("one_in", [50, 100, 200])
def test_a_policy_that_sometimes_blocks_is_soon_never_treated_as_quick(one_in: int) -> None:
    latency, stood = LatencyClass(), 0
    for number in range(100_000):
        if number % one_in:
            latency.record(QUICK)
        elif latency.is_quick:
            latency.demote()
            stood += 1
        else:
            latency.record(SLOW)
    assert stood <= 3


@given(st.lists(st.booleans(), max_size=500))
def test_however_it_went_it_can_be_promoted_again(executions: list[bool]) -> None:
    latency = noted(LatencyClass(), *executions)
    latency.demote()
    assert not latency.is_quick
    for _ in range(LONGEST_RUN):
        latency.record(QUICK)
    assert latency.is_quick


def test_a_policy_that_only_others_delayed_is_quick_again() -> None:
    latency = noted(LatencyClass(), *[QUICK] * RUN)
    latency.demote()
    latency.undo_demotion()
    assert latency.is_quick
    latency.demote()
    assert noted(latency, *[QUICK] * 4 * RUN).is_quick, "as long as if it had been the first time"
