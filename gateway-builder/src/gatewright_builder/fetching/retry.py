"""Trying again what may have failed by accident, each time a little later."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

PAUSES = (0.5, 1.5, 4.0)  # seconds
T = TypeVar("T")


class TransientError(Exception):
    """It may go better the next time: no connection, a busy server. str() says what happened."""


class PermanentError(Exception):
    """The server has answered, and will not answer otherwise. `status`: HTTP's, 0 where it was not that."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def retry(attempt: Callable[[], T], pauses: Sequence[float] = PAUSES, sleep: Callable[[float], None] = time.sleep) -> T:
    """What attempt answers; TransientError is raised only after the last try."""
    for pause in pauses:
        try:
            return attempt()
        except TransientError:
            sleep(pause)
    return attempt()
