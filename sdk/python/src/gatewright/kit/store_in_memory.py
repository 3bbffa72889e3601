"""A store without a gateway, for tests: `gatewright.testing.store`. conformance/store.json has cases that it passes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from typing import TypeAlias

from gatewright import clock, store
from gatewright.store import Answer, Call, Limit, StoreFullError, StoreUnavailableError

__all__ = ["StoreInMemory", "in_memory"]

_Key: TypeAlias = tuple[bool, bool, bytes]
"""Whether the store has `shared`, whether it has `keep`, and the key."""
_WRITES = frozenset({"set", "increment", "throttle", "reserve"})
"""The operations that a full store refuses, unless the entry is there."""
_SLOTS_OF_HOLD = 8
"""As in the engine: a reservation ends up to an eighth of its hold later, with others."""
_NUMBER = re.compile(rb"0|-?[1-9][0-9]*")


@dataclass(slots=True)
class _Budget:
    expires: float
    spent: int = 0
    reservations: dict[bytes, tuple[int, float]] = field(default_factory=dict)
    """Amounts of what is not settled, with the time when each counts no more."""

    def reserved(self, now: float) -> int:
        return sum(amount for amount, ends in self.reservations.values() if ends > now)


class StoreInMemory:
    """Entries by their keys, and switches that make calls fail. The time is that of `sdk.clock`."""

    def __init__(self, away: bool = False) -> None:
        self.away = away
        """True: all calls raise StoreUnavailableError. May be set at any time."""
        self.full = False
        """True: writes of stores with `keep=True` raise StoreFullError. May be set at any time."""
        self.calls = 0
        """The number of calls so far."""
        self._began = clock.monotonic()
        self._values: dict[_Key, tuple[bytes, float]] = {}  # with the time when they expire
        self._throttled: dict[_Key, float] = {}
        self._budgets: dict[_Key, _Budget] = {}

    def call(self, call: Call, timeout: float) -> Answer:  # noqa: ARG002 — it never waits
        """Executes a store's call at once."""
        self.calls += 1
        if self.away:
            raise StoreUnavailableError("the store is away, as testing.store(away=True) says")
        key = call.shared, call.kept, call.key
        if self.full and call.kept and call.operation in _WRITES and not self._has(call, key):
            raise StoreFullError("the store is full, as `full` of testing.store says")
        if call.operation == "throttle":
            assert call.limit is not None
            return self._throttle(key, call.limit, call.amount)
        if call.operation in {"reserve", "settle"}:
            return self._reserve(call, key) if call.operation == "reserve" else self._settle(call, key)
        now = clock.monotonic()
        value, ends = self._values.get(key, (None, 0.0))
        if value is not None and ends <= now:
            value = None
        return self._on_value(call, key, value, ends, now)

    def _has(self, call: Call, key: _Key) -> bool:
        if call.operation == "throttle":
            return key in self._throttled
        if call.operation == "reserve":
            return not call.amount
        return key in self._values and self._values[key][1] > clock.monotonic()

    async def call_async(self, call: Call, timeout: float) -> Answer:
        """Executes a store's call at once."""
        return self.call(call, timeout)

    def _on_value(self, call: Call, key: _Key, value: bytes | None, ends: float, now: float) -> Answer:
        exists = value is not None
        match call.operation:
            case "set":
                if exists and call.if_absent:
                    return Answer(False)
                self._values[key] = call.value, now + call.ttl
                return Answer(True)
            case "increment":
                total = _number(call.key, b"0" if value is None else value) + call.amount
                _number(call.key, b"%d" % total)
                self._values[key] = b"%d" % total, ends if exists else now + call.ttl
                return Answer(number=total)
            case "expire" if value is not None:
                self._values[key] = value, now + call.ttl
            case "delete":
                self._values.pop(key, None)
        return Answer(exists, value or b"")

    def _throttle(self, key: _Key, limit: Limit, cost: int) -> Answer:
        now = (clock.monotonic() - self._began) * 1e6
        self._throttled[key], answer = limit.decide(self._throttled.get(key, now), now, cost)
        return Answer(answer.allowed, b"", answer.remaining, answer.retry_after, answer.reset_after)

    def _budget(self, key: _Key) -> _Budget | None:
        budget = self._budgets.get(key)
        return budget if budget is not None and budget.expires > clock.monotonic() else None

    def _reserve(self, call: Call, key: _Key) -> Answer:
        now = clock.monotonic()
        budget = self._budget(key) or _Budget(now + call.ttl)
        reserved = budget.reserved(now)
        if call.name in budget.reservations:
            return Answer(True, number=budget.spent, reserved=reserved)
        allowed = budget.spent + reserved + call.amount <= call.at_most
        if allowed and call.amount:
            step = max(1, round(call.hold * 1000) // _SLOTS_OF_HOLD)
            ends = ceil((now + call.hold) * 1000 / step) * step / 1000
            budget.reservations[call.name] = call.amount, ends
            self._budgets[key] = budget
            reserved += call.amount
        return Answer(allowed, number=budget.spent, reserved=reserved)

    def _settle(self, call: Call, key: _Key) -> Answer:
        budget = self._budget(key)
        if budget is None or budget.reservations.pop(call.name, None) is None:
            return Answer(False)
        budget.spent += call.amount
        return Answer(True)


def _number(key: bytes, text: bytes) -> int:
    if not _NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"increment: expected a whole number at key {key!r:.80}, and a sum that fits 64 bits")
    return int(text)


@contextmanager
def in_memory(away: bool = False) -> Iterator[StoreInMemory]:
    """Within it, all stores that are made keep their entries in the StoreInMemory that it yields. away: calls fail.

    Outside of it, each store of a test has entries of its own.
    """
    backend = StoreInMemory(away)
    before = store.use(lambda: backend)
    try:
        yield backend
    finally:
        store.use(before)


store.use(StoreInMemory)  # a process that imports this is no gateway: each of its stores has entries of its own
