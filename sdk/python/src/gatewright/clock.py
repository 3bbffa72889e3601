"""The time, for policies whose tests have to move it.

    from sdk import clock

    if claims["exp"] < clock.now():
        …

In a gateway it is the machine's time. In a test, `with testing.clock() as clock:` stops the time, and
`clock.advance(60)` moves it on and runs the work of `sdk.background` that becomes due.
"""

from __future__ import annotations

import time
from typing import Protocol


class Source(Protocol):
    """A source of the time."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


def now() -> float:
    """Seconds since 1970, like `time.time`: to compare with dates that others have set. It may be set back."""
    return _source.now()


def monotonic() -> float:
    """Seconds since some moment, like `time.monotonic`: for durations. It never goes back."""
    return _source.monotonic()


def use(source: Source) -> Source:
    """Makes `source` the source of the time, and returns the one before. For tests."""
    global _source
    before, _source = _source, source
    return before


class _Machine:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


_source: Source = _Machine()
