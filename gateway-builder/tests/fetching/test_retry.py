from __future__ import annotations

from collections.abc import Callable

import pytest
from gatewright_builder.fetching.retry import PAUSES, PermanentError, TransientError, retry


def failing(*errors: Exception) -> Callable[[], str]:
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def test_transient_errors_are_tried_again_each_time_a_little_later() -> None:
    pauses: list[float] = []
    assert retry(failing(TransientError("busy"), TransientError("busy")), sleep=pauses.append) == "done"
    assert pauses == list(PAUSES[:2])
    assert pauses == sorted(pauses)


def test_the_last_transient_error_is_raised() -> None:
    pauses: list[float] = []
    with pytest.raises(TransientError, match="fourth"):
        retry(failing(*map(TransientError, ("first", "second", "third", "fourth"))), sleep=pauses.append)
    assert pauses == list(PAUSES)


def test_a_permanent_error_is_raised_at_once() -> None:
    pauses: list[float] = []
    with pytest.raises(PermanentError, match="no such thing") as caught:
        retry(failing(PermanentError("no such thing", 404)), sleep=pauses.append)
    assert caught.value.status == 404
    assert pauses == []
