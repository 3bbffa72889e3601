"""State that outlives a request, for all processes of a node, or of all nodes.

    from sdk.store import Limit, Store

    def prepare(params):
        return Store()

    def on_request(ctx, params):
        if not ctx.prepared.set(f"seen {ctx.headers['idempotency-key']}", b"1", ttl=3600, if_absent=True):
            return ImmediateResponse(409)

The engine has the store: in its memory, or in the Valkey that the Gateway names (`spec.store`), and then all nodes
share it. It is reached by the stream that the executor has anyway, so a policy needs no network for it. Keys belong to
the policy and the API that attaches it. It is what a policy can afford to lose: memory is bounded, and a restart of
the engine empties it. A store with `keep=True` refuses a new entry where there is no room, and evicts none.

A `Store` waits, and is for plain functions; an `AsyncStore` is awaited, for those that are async. A store that does not
answer in time raises StoreUnavailableError: where the policy does not catch that, its execution fails as `unavailable`,
and the attachment's `onError` decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal, Protocol, TypeAlias

__all__ = [
    "MAX_KEY", "MAX_TTL", "MAX_VALUE", "AsyncStore", "Limit", "Store", "StoreFullError", "StoreUnavailableError",
    "Throttled",
]  # fmt: skip

MAX_KEY = 1024
"""Bytes of a key, with the name of its store and a colon."""
MAX_VALUE = 1 << 20
"""Bytes of a value."""
MAX_TTL = 366 * 86_400
"""Seconds that an entry may live."""
_MAX_RATE = 1_000_000  # in a second
_MAX_BURST = 1_000_000_000
_TOLERANCE = 1e-3  # of one microsecond, and of one that is allowed
_NAME = re.compile(r"[A-Za-z0-9._-]{0,64}")

Text: TypeAlias = str | bytes
Operation: TypeAlias = Literal["get", "set", "increment", "expire", "delete", "throttle"]


class StoreUnavailableError(Exception):
    """The store does not answer, or not in time. What was asked may have happened all the same."""


class StoreFullError(StoreUnavailableError):
    """There is no room for the entry."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` in each `per` seconds, evenly: after `burst` at once, the next one is allowed `per/rate` later.

    That is GCRA, as ITU-T I.371 has it. ValueError: it is none.
    """

    rate: int
    per: float = 1.0
    burst: int = 0
    """0: as `rate`."""

    def __post_init__(self) -> None:
        if not self.burst:
            object.__setattr__(self, "burst", self.rate)
        if self.rate < 1 or not 0.001 <= self.per <= MAX_TTL:
            got = f"{self.rate} per {self.per} s"
            raise ValueError(f"limit: expected a rate from 1 in a time from 0.001 to {MAX_TTL} s, got {got}")
        if self.rate / self.per > _MAX_RATE:
            raise ValueError(f"limit: expected at most {_MAX_RATE} in a second, got {self.rate} per {self.per} s")
        if not 1 <= self.burst <= _MAX_BURST or self.burst * self.per / self.rate > MAX_TTL:
            raise ValueError(
                f"limit: expected a burst from 1 to {_MAX_BURST} that is back within {MAX_TTL} s, got {self.burst}"
            )

    def check(self, cost: int) -> None:
        """ValueError: nothing of that cost can be allowed."""
        if not 0 <= cost <= self.burst:
            raise ValueError(f"cost: expected 0 to the limit's burst, {self.burst}, got {cost}")

    def decide(self, tat: float, now: float, cost: int) -> tuple[float, Throttled]:
        """As v1alpha.Limit.Decide: the time in microseconds when all of the burst is there again, and the answer."""
        interval = self.per * 1e6 / self.rate
        room = self.burst * interval
        tat = min(max(tat, now), now + room)
        after = tat + cost * interval
        allowed, retry = after - now <= room + _TOLERANCE, 0
        if not allowed:
            after, retry = tat, ceil(after - room - now - _TOLERANCE)
        remaining = floor((room - (after - now)) / interval + _TOLERANCE)
        return after, Throttled(allowed, remaining, retry / 1e6, ceil(after - now - _TOLERANCE) / 1e6)


@dataclass(frozen=True, slots=True)
class Throttled:
    """What `throttle` says."""

    allowed: bool
    remaining: int
    """What would be allowed right now."""
    retry_after: float
    """Seconds until the same cost is allowed; 0 where it was."""
    reset_after: float
    """Seconds until all of the burst is there."""


# ------------------------------------------------------------------ for who runs policies


@dataclass(frozen=True, slots=True)
class Call:
    """One use of the store."""

    operation: Operation
    key: bytes
    value: bytes = b""
    ttl: float = 0.0
    if_absent: bool = False
    amount: int = 0
    """Of increment: what is added. Of throttle: the cost."""
    limit: Limit | None = None
    shared: bool = False
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What has become of it."""

    yes: bool = False
    """get, expire, delete: there was one; set: it was written; throttle: it is allowed."""
    value: bytes = b""
    number: int = 0
    """Of increment: the sum. Of throttle: what remains."""
    retry_after: float = 0.0
    reset_after: float = 0.0


class Backend(Protocol):
    """Where calls go. Both raise StoreUnavailableError, StoreFullError and ValueError."""

    def call(self, call: Call, timeout: float) -> Answer:
        """Waits for the answer."""

    async def call_async(self, call: Call, timeout: float) -> Answer:
        """The same in an event loop."""


def use(backend: Callable[[], Backend]) -> Callable[[], Backend]:
    """From now on stores are given what this returns where they are made; returns what was before."""
    global _backend
    before, _backend = _backend, backend
    return before


def _nobody() -> Backend:
    raise RuntimeError("expected a store to be made in a gateway, or in a test that imports sdk.testing")


_backend: Callable[[], Backend] = _nobody


# ------------------------------------------------------------------ stores


class _Calls:
    """What both kinds of store ask, and how they read the answers."""

    __slots__ = ("_backend", "_keep", "_prefix", "_shared", "_timeout")

    def __init__(self, name: str = "", *, timeout: float = 0.1, shared: bool = False, keep: bool = False) -> None:
        if not _NAME.fullmatch(name):
            raise ValueError(f"name: expected at most 64 letters, digits, '.', '_' and '-', got {name!r:.80}")
        if not 0.001 <= timeout <= 60:
            raise ValueError(f"timeout: expected 0.001 to 60 seconds, got {timeout!r:.80}")
        self._prefix = f"{name}:".encode()
        self._timeout = timeout
        self._shared = shared
        self._keep = keep
        self._backend = _backend()

    def _get(self, key: Text) -> Call:
        return Call("get", self._key(key), shared=self._shared, kept=self._keep)

    def _set(self, key: Text, value: Text, ttl: float, if_absent: bool) -> Call:
        value = value.encode() if isinstance(value, str) else bytes(value)
        if len(value) > MAX_VALUE:
            raise ValueError(f"value: expected at most {MAX_VALUE} bytes, got {len(value)}")
        return Call("set", self._key(key), value, _checked_ttl(ttl), if_absent, shared=self._shared, kept=self._keep)

    def _increment(self, key: Text, by: int, ttl: float) -> Call:
        if not -(2**63) <= by < 2**63:
            raise ValueError(f"by: expected a whole number of 64 bits, got {by!r:.80}")
        return Call("increment", self._key(key), ttl=_checked_ttl(ttl), amount=by, shared=self._shared, kept=self._keep)

    def _expire(self, key: Text, ttl: float) -> Call:
        return Call("expire", self._key(key), ttl=_checked_ttl(ttl), shared=self._shared, kept=self._keep)

    def _delete(self, key: Text) -> Call:
        return Call("delete", self._key(key), shared=self._shared, kept=self._keep)

    def _throttle(self, key: Text, limit: Limit, cost: int) -> Call:
        limit.check(cost)
        return Call("throttle", self._key(key), amount=cost, limit=limit, shared=self._shared, kept=self._keep)

    def _key(self, key: Text) -> bytes:
        text = key.encode() if isinstance(key, str) else bytes(key)
        whole = self._prefix + text
        if not text or len(whole) > MAX_KEY:
            most = MAX_KEY - len(self._prefix)
            raise ValueError(f"key: expected 1 to {most} bytes, got {len(text)}; hash what clients may make long")
        return whole


class Store(_Calls):
    """A store for plain functions: each call waits for its answer.

    name: of keys of its own; stores of one policy with the same name share them. timeout: seconds that a call may take.
    shared: the keys are common to all APIs that attach the policy, else each has its own. keep: entries are not evicted
    before their end; where there is no room for one, its write raises StoreFullError. RuntimeError: it is not made in
    `prepare`.

    Keys and values are bytes, or text, which is UTF-8 then; what is read is bytes. Each entry has an end: `ttl` is in
    seconds, at most MAX_TTL. A call raises StoreUnavailableError, StoreFullError, and ValueError for what is out of
    bounds.
    """

    def get(self, key: Text) -> bytes | None:
        """The value; None where there is none."""
        answer = self._backend.call(self._get(key), self._timeout)
        return answer.value if answer.yes else None

    def set(self, key: Text, value: Text, *, ttl: float, if_absent: bool = False) -> bool:
        """Writes a value for `ttl` seconds from now; with `if_absent` only where there is none. Whether it has."""
        return self._backend.call(self._set(key, value, ttl, if_absent), self._timeout).yes

    def increment(self, key: Text, by: int = 1, *, ttl: float) -> int:
        """Adds to a whole number, and returns the sum. A key that is not there is 0, and ends `ttl` seconds after it is
        made: later calls leave that end. ValueError: the value is no whole number, or the sum has more than 64 bits."""
        return self._backend.call(self._increment(key, by, ttl), self._timeout).number

    def expire(self, key: Text, ttl: float) -> bool:
        """The entry ends `ttl` seconds from now. False: there is none."""
        return self._backend.call(self._expire(key, ttl), self._timeout).yes

    def delete(self, key: Text) -> bool:
        """Removes the entry. False: there was none."""
        return self._backend.call(self._delete(key), self._timeout).yes

    def throttle(self, key: Text, limit: Limit, cost: int = 1) -> Throttled:
        """Takes `cost` from what `limit` allows at this key, if that much is there; 0 only looks.

        These keys are none of those of values.
        """
        return _throttled(self._backend.call(self._throttle(key, limit, cost), self._timeout))


class AsyncStore(_Calls):
    """A store for functions that are async: the same as `Store`, awaited."""

    async def get(self, key: Text) -> bytes | None:
        """As `Store.get`."""
        answer = await self._backend.call_async(self._get(key), self._timeout)
        return answer.value if answer.yes else None

    async def set(self, key: Text, value: Text, *, ttl: float, if_absent: bool = False) -> bool:
        """As `Store.set`."""
        return (await self._backend.call_async(self._set(key, value, ttl, if_absent), self._timeout)).yes

    async def increment(self, key: Text, by: int = 1, *, ttl: float) -> int:
        """As `Store.increment`."""
        return (await self._backend.call_async(self._increment(key, by, ttl), self._timeout)).number

    async def expire(self, key: Text, ttl: float) -> bool:
        """As `Store.expire`."""
        return (await self._backend.call_async(self._expire(key, ttl), self._timeout)).yes

    async def delete(self, key: Text) -> bool:
        """As `Store.delete`."""
        return (await self._backend.call_async(self._delete(key), self._timeout)).yes

    async def throttle(self, key: Text, limit: Limit, cost: int = 1) -> Throttled:
        """As `Store.throttle`."""
        return _throttled(await self._backend.call_async(self._throttle(key, limit, cost), self._timeout))


def _throttled(answer: Answer) -> Throttled:
    return Throttled(answer.yes, answer.number, answer.retry_after, answer.reset_after)


def _checked_ttl(ttl: float) -> float:
    if not 0.001 <= ttl <= MAX_TTL:
        raise ValueError(f"ttl: expected 0.001 to {MAX_TTL} seconds, got {ttl!r:.80}")
    return ttl
