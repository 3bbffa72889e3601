from __future__ import annotations

from gatewright_controller.kubernetes.backoff import JITTER, LONGEST_SECONDS, Backoff
from hypothesis import given
from hypothesis import strategies as st


def test_pauses_double_up_to_a_bound_and_begin_anew() -> None:
    backoff = Backoff(1.0, 5.0, lambda: 0.0)
    assert [backoff.next_pause() for _ in range(5)] == [1.0, 2.0, 4.0, 5.0, 5.0]
    backoff.reset()
    assert backoff.next_pause() == 1.0


def test_the_server_may_ask_for_more() -> None:
    assert Backoff(1.0, 5.0, lambda: 0.0).next_pause(9.0) == 9.0


@given(st.floats(0, 1), st.integers(0, 2000))
def test_no_pause_is_longer_than_the_bound_with_its_share(drawn: float, failures: int) -> None:
    backoff = Backoff(draw=lambda: drawn)
    for _ in range(failures):
        pause = backoff.next_pause()
        assert 0 < pause <= LONGEST_SECONDS * (1 + JITTER)
