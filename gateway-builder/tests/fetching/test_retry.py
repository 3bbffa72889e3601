from __future__ import annotations

import pytest
from gatewright_builder.fetching.retry import PAUSES, PermanentError, TransientError, retry


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long it would have slept."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    return slept


def failing(*errors: Exception) -> object:
    left = list(errors)

    def attempt() -> str:
        if left:
            raise left.pop(0)
        return "done"

    return attempt


def test_transient_errors_are_tried_again_each_time_a_little_later(pauses: list[float]) -> None:
    assert retry(failing(TransientError("busy"), TransientError("busy"))) == "done"  # type: ignore[arg-type]
    assert pauses == list(PAUSES[:2])
    assert pauses == sorted(pauses)


def test_the_last_transient_error_is_raised(pauses: list[float]) -> None:
    with pytest.raises(TransientError, match="fourth"):
        retry(failing(*map(TransientError, ("first", "second", "third", "fourth"))))  # type: ignore[arg-type]
    assert pauses == list(PAUSES)


def test_a_permanent_error_is_raised_at_once(pauses: list[float]) -> None:
    with pytest.raises(PermanentError, match="no such thing") as caught:
        retry(failing(PermanentError("no such thing", 404)))  # type: ignore[arg-type]
    assert caught.value.status == 404
    assert pauses == []
