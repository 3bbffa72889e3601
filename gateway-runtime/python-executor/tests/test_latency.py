"""Which instances are taken for quick ones."""

import pytest
from gatewright_executor.running.latency import HEAVIEST, LONGEST_ROW, QUICK_ONES, ROW, STRIKES, Pace
from hypothesis import given
from hypothesis import strategies as st

QUICK, SLOW = False, True


def noted(pace: Pace, *executions: bool) -> Pace:
    for slow in executions:
        pace.note(slow)
    return pace


def test_a_row_of_quick_ones_earns_it() -> None:
    pace = noted(Pace(), *[QUICK] * (ROW - 1))
    assert not pace.is_quick
    assert noted(pace, QUICK).is_quick


def test_a_slow_one_in_the_first_row_begins_it_anew() -> None:
    pace = noted(Pace(), *[QUICK] * (ROW - 1), SLOW, *[QUICK] * (ROW - 1))
    assert not pace.is_quick


def test_one_may_be_slow_now_and_then() -> None:
    pace = noted(Pace(), *[QUICK] * ROW, *[SLOW] * (STRIKES - 1))
    assert pace.is_quick
    assert not noted(pace, SLOW).is_quick
    assert not noted(pace, *[QUICK] * ROW).is_quick, "it is harder to earn again"
    assert noted(pace, *[QUICK] * 3 * ROW).is_quick


def test_strikes_are_forgotten_after_another_row() -> None:
    pace = noted(Pace(), *[QUICK] * ROW)
    for _ in range(20):
        noted(pace, *[SLOW] * (STRIKES - 1), *[QUICK] * ROW)
        assert pace.is_quick


@pytest.mark.parametrize("one_in", [50, 100, 200])
def test_who_blocks_now_and_then_is_soon_never_taken_for_a_quick_one(one_in: int) -> None:
    pace, stood = Pace(), 0
    for number in range(100_000):
        if number % one_in:
            pace.note(QUICK)
        elif pace.is_quick:
            pace.lose()
            stood += 1
        else:
            pace.note(SLOW)
    assert stood <= 3


@pytest.mark.parametrize(("one_in", "slow"), [(1, True), (4, True), (8, True), (10, False), (100, False)])
def test_slow_is_who_is_so_often(one_in: int, slow: bool) -> None:
    pace = noted(Pace(), *[SLOW if number % one_in == 0 else QUICK for number in range(1, 1000)])
    assert noted(pace, *[QUICK] * (one_in - 1), SLOW).is_slow is slow


def test_nobody_is_slow_for_long_for_what_was_long_ago() -> None:
    pace = noted(Pace(), *[SLOW] * 1000)
    assert not noted(pace, *[QUICK] * HEAVIEST).is_slow
    pace = noted(Pace(), *[QUICK] * 1000)
    assert noted(pace, *[SLOW] * (HEAVIEST // QUICK_ONES + 1)).is_slow


@given(st.lists(st.booleans(), max_size=500))
def test_however_it_went_it_can_be_earned_again(executions: list[bool]) -> None:
    pace = noted(Pace(), *executions)
    pace.lose()
    assert not pace.is_quick
    for _ in range(LONGEST_ROW):
        pace.note(QUICK)
    assert pace.is_quick


def test_who_was_only_held_up_by_others_has_it_back() -> None:
    pace = noted(Pace(), *[QUICK] * ROW)
    pace.lose()
    pace.forgive()
    assert pace.is_quick
    pace.lose()
    assert noted(pace, *[QUICK] * 4 * ROW).is_quick, "as hard to earn as if it had been the first time"
