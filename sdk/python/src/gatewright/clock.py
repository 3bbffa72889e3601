"""The time, as policies ask for it where their tests are to move it.

    from sdk import clock

    if claims["exp"] < clock.now():
        …

In a gateway it is the machine's. In a test, `with testing.clock() as clock:` stops it, and `clock.advance(60)` moves it
on, with what `sdk.background` does meanwhile.
"""

from __future__ import annotations

import time
from typing import Protocol


class Source(Protocol):
    """Where the time comes from."""

    def now(self) -> float: ...
    def monotonic(self) -> float: ...


def now() -> float:
    """Seconds since 1970, as `time.time`: for what others have dated. It may be set back."""
    return _source.now()


def monotonic() -> float:
    """Seconds since some moment, as `time.monotonic`: for how long something takes. It never goes back."""
    return _source.monotonic()


def use(source: Source) -> Source:
    """Takes the time from there from now on; returns what it was taken from until now. For tests."""
    global _source
    before, _source = _source, source
    return before


class _Machine:
    now = staticmethod(time.time)
    monotonic = staticmethod(time.monotonic)


_source: Source = _Machine()
