"""What happened when, so that a failing request can be shown beside it."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

from e2e.outages.traffic import Request

EARLIEST = 10.0
"""Seconds: what was done longer before a failure is not shown."""


class Timeline:
    """Events in their order. Used by many threads."""

    def __init__(self) -> None:
        self._events: list[tuple[float, str]] = []
        self._mutex = threading.Lock()

    def note(self, event: str) -> float:
        """Something has begun or ended now; the time."""
        with self._mutex:
            now = time.time()
            self._events.append((now, event))
        return now

    def describe(self, request: Request) -> str:
        """A request that failed, with its time, node, answer, and what was done then."""
        answer = f"{request.status} {dict(request.headers)} {request.body[:200]}" if request.status else request.problem
        took = request.ended - request.sent
        return (
            f"{clock(request.sent)} {request.target.node} {request.target.path}: {answer} after {took:.3f} s; "
            f"then: {self.around(request.sent)}"
        )

    def around(self, at: float, seconds: float = EARLIEST) -> str:
        """The last event up to then, and those that follow within so many seconds, relative to `at`."""
        with self._mutex:
            events = list(self._events)
        before = [event for event in events if event[0] <= at and at - event[0] <= seconds][-2:]
        after = [event for event in events if at < event[0] <= at + seconds][:1]
        return ", ".join(f"{text} ({event_time - at:+.2f} s)" for event_time, text in before + after) or "nothing"


def clock(at: float) -> str:
    """12:34:56.789"""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S.%f")[:-3]
