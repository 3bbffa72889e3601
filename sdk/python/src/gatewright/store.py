"""State that outlives a request, for all processes of a node, or of all nodes.

    from sdk.store import Limit, Store

    def prepare(params):
        return Store()

    def on_request(ctx, params):
        if not ctx.prepared.set(f"seen {ctx.headers['idempotency-key']}", b"1", ttl=3600, if_absent=True):
            return ImmediateResponse(409)

The engine keeps the store: in its memory, or in the Valkey that the Gateway names (`spec.store`), which all nodes
share. Calls go over the executor's stream to the engine, so a policy needs no network access for them. Keys belong to
the policy and the API that attaches it. Keep only state that may be lost: memory is bounded, and a restart of the
engine empties it. If there is no room, a store with `keep=True` refuses new entries instead of evicting others.

`Store` is for plain functions, and waits; `AsyncStore` is for async functions, and is awaited. A store that does not
answer in time raises StoreUnavailableError. If the policy does not catch it, the execution fails as `unavailable`, and
the attachment's `onError` decides.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Literal, Protocol, TypeAlias

__all__ = [
    "MAX_AMOUNT", "MAX_KEY", "MAX_NAME", "MAX_TTL", "MAX_VALUE", "AsyncStore", "Limit", "Reserved", "Store",
    "StoreFullError", "StoreUnavailableError", "Throttled",
]  # fmt: skip

MAX_KEY = 1024
"""The most bytes of a key, with the name of its store and a colon."""
MAX_VALUE = 1 << 20
"""The most bytes of a value."""
MAX_TTL = 366 * 86_400
"""The most seconds that an entry may live."""
MAX_NAME = 64
"""The most bytes of a reservation's name."""
MAX_AMOUNT = 2**53 - 1
"""The largest amount of a reservation, a settlement and a budget: a Valkey's scripts count in doubles."""
_MAX_RATE = 1_000_000  # in a second
_MAX_BURST = 1_000_000_000
_TOLERANCE = 1e-3  # of a microsecond, and of a unit of cost
_NAME = re.compile(r"[A-Za-z0-9._-]{0,64}")

Text: TypeAlias = str | bytes
Operation: TypeAlias = Literal["get", "set", "increment", "expire", "delete", "throttle", "reserve", "settle"]


class StoreUnavailableError(Exception):
    """The store does not answer, or not in time. It may have executed the call all the same."""


class StoreFullError(StoreUnavailableError):
    """The store has no room for the entry."""


@dataclass(frozen=True, slots=True)
class Limit:
    """`rate` in each `per` seconds, evenly: after `burst` at once, the next is allowed `per/rate` seconds later.

    The algorithm is GCRA (ITU-T I.371). ValueError: the numbers make no limit.
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
        """Raises ValueError for a cost that the limit can never allow."""
        if not 0 <= cost <= self.burst:
            raise ValueError(f"cost: expected 0 to the limit's burst, {self.burst}, got {cost}")

    def decide(self, tat: float, now: float, cost: int) -> tuple[float, Throttled]:
        """Like v1alpha.Limit.Decide of the Go SDK: the time in microseconds when the whole burst is available again,
        and the answer."""
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
    """The result of `throttle`."""

    allowed: bool
    remaining: int
    """The cost that would be allowed right now."""
    retry_after: float
    """Seconds until the same cost is allowed; 0 if it was allowed."""
    reset_after: float
    """Seconds until the whole burst is available."""


@dataclass(frozen=True, slots=True)
class Reserved:
    """The result of `reserve`."""

    allowed: bool
    spent: int
    """By settled reservations."""
    reserved: int
    """By the reservations that count now, with this one if it is allowed."""


# ------------------------------------------------------------------ for the code that runs policies


@dataclass(frozen=True, slots=True)
class Call:
    """A call to the store."""

    operation: Operation
    key: bytes
    value: bytes = b""
    ttl: float = 0.0
    if_absent: bool = False
    amount: int = 0
    """Of increment: the number to add. Of throttle: the cost. Of reserve and settle: the amount."""
    limit: Limit | None = None
    shared: bool = False
    kept: bool = False
    name: bytes = b""
    """Of reserve and settle: the reservation's."""
    at_most: int = 0
    """Of reserve, as `hold`."""
    hold: float = 0.0


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of a call."""

    yes: bool = False
    """get, expire, delete: there was one; set: it was written; throttle, reserve: it is allowed; settle: it was
    reserved."""
    value: bytes = b""
    number: int = 0
    """Of increment: the sum. Of throttle: the remaining cost. Of reserve: what is spent."""
    retry_after: float = 0.0
    reset_after: float = 0.0
    reserved: int = 0
    """Of reserve: by all reservations."""


class Backend(Protocol):
    """Executes calls. Both methods raise StoreUnavailableError, StoreFullError and ValueError."""

    def call(self, call: Call, timeout: float) -> Answer:
        """Waits for the answer."""

    async def call_async(self, call: Call, timeout: float) -> Answer:
        """Awaits the answer in an event loop."""


def use(backend: Callable[[], Backend]) -> Callable[[], Backend]:
    """Makes `backend` the function that returns the backend of each new store. Returns the function before it."""
    global _backend
    before, _backend = _backend, backend
    return before


def _no_backend() -> Backend:
    raise RuntimeError("expected a store to be made in a gateway, or in a test that imports sdk.testing")


_backend: Callable[[], Backend] = _no_backend


# ------------------------------------------------------------------ stores


class _Calls:
    """Makes the calls of both kinds of store."""

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

    def _reserve(self, key: Text, name: Text, amount: int, at_most: int, hold: float, ttl: float) -> Call:
        if not 0.001 <= hold <= _checked_ttl(ttl):
            raise ValueError(f"hold: expected 0.001 seconds to the ttl, {ttl:g}, got {hold!r:.80}")
        return Call(
            "reserve", self._key(key), ttl=ttl, amount=_checked_amount("amount", amount), shared=self._shared,
            kept=self._keep, name=_checked_name(name), at_most=_checked_amount("at_most", at_most), hold=hold,
        )  # fmt: skip

    def _settle(self, key: Text, name: Text, amount: int) -> Call:
        return Call(
            "settle", self._key(key), amount=_checked_amount("amount", amount), shared=self._shared, kept=self._keep,
            name=_checked_name(name),
        )  # fmt: skip

    def _key(self, key: Text) -> bytes:
        text = key.encode() if isinstance(key, str) else bytes(key)
        whole = self._prefix + text
        if not text or len(whole) > MAX_KEY:
            most = MAX_KEY - len(self._prefix)
            raise ValueError(f"key: expected 1 to {most} bytes, got {len(text)}; hash what clients may make long")
        return whole


class Store(_Calls):
    """A store for plain functions: each call waits for its answer.

    name: a name space for keys; stores of one policy with the same name share their keys. timeout: seconds that a call
    may take. shared: all APIs that attach the policy share the keys; else each API has its own. keep: entries are not
    evicted before they expire; a write raises StoreFullError if there is no room. RuntimeError: the store is not made
    in `prepare`.

    Keys and values are bytes, or text, which is encoded as UTF-8; values that are read are bytes. Each entry expires:
    `ttl` is in seconds, at most MAX_TTL. A call raises StoreUnavailableError, StoreFullError, and ValueError for
    arguments that are out of bounds.
    """

    def get(self, key: Text) -> bytes | None:
        """The value; None if there is none."""
        answer = self._backend.call(self._get(key), self._timeout)
        return answer.value if answer.yes else None

    def set(self, key: Text, value: Text, *, ttl: float, if_absent: bool = False) -> bool:
        """Writes a value that expires in `ttl` seconds; with `if_absent` only if the key has none. Returns whether it
        was written."""
        return self._backend.call(self._set(key, value, ttl, if_absent), self._timeout).yes

    def increment(self, key: Text, by: int = 1, *, ttl: float) -> int:
        """Adds to a whole number, and returns the sum. An absent key counts as 0, and expires `ttl` seconds after this
        call; later calls do not prolong it. ValueError: the value is no whole number, or the sum has more than 64 bits.
        """
        return self._backend.call(self._increment(key, by, ttl), self._timeout).number

    def expire(self, key: Text, ttl: float) -> bool:
        """Lets the entry expire `ttl` seconds from now. False: there is none."""
        return self._backend.call(self._expire(key, ttl), self._timeout).yes

    def delete(self, key: Text) -> bool:
        """Removes the entry. False: there was none."""
        return self._backend.call(self._delete(key), self._timeout).yes

    def throttle(self, key: Text, limit: Limit, cost: int = 1) -> Throttled:
        """Takes `cost` from the allowance of `limit` at this key, if there is that much; a cost of 0 only reads it.

        The keys of `throttle` are separate from those of values.
        """
        return _throttled(self._backend.call(self._throttle(key, limit, cost), self._timeout))

    def reserve(self, key: Text, name: Text, amount: int, *, at_most: int, hold: float, ttl: float) -> Reserved:
        """Adds a reservation of `amount` to the budget at this key, unless what is spent and reserved there would pass
        `at_most`.

        A reservation counts until `settle`, and at most for `hold` seconds and an eighth of that, so that one whose
        policy has ended without `settle` blocks its amount no longer. `name` is the reservation's, and unique at the
        key: a second call with the same name is allowed and adds nothing, so that a call without an answer can be
        repeated. An amount of 0 reserves nothing and only reads. The budget expires `ttl` seconds after its first
        reservation; its keys are separate from those of values.
        """
        call = self._reserve(key, name, amount, at_most, hold, ttl)
        return _reserved(self._backend.call(call, self._timeout))

    def settle(self, key: Text, name: Text, amount: int) -> bool:
        """Removes a reservation, and adds `amount` to what is spent, even if the reservation no longer counts. False,
        and nothing is changed: there is no such reservation, since it was settled before or the store has lost it."""
        return self._backend.call(self._settle(key, name, amount), self._timeout).yes


class AsyncStore(_Calls):
    """A store for async functions: the same as `Store`, awaited."""

    async def get(self, key: Text) -> bytes | None:
        """Like `Store.get`."""
        answer = await self._backend.call_async(self._get(key), self._timeout)
        return answer.value if answer.yes else None

    async def set(self, key: Text, value: Text, *, ttl: float, if_absent: bool = False) -> bool:
        """Like `Store.set`."""
        return (await self._backend.call_async(self._set(key, value, ttl, if_absent), self._timeout)).yes

    async def increment(self, key: Text, by: int = 1, *, ttl: float) -> int:
        """Like `Store.increment`."""
        return (await self._backend.call_async(self._increment(key, by, ttl), self._timeout)).number

    async def expire(self, key: Text, ttl: float) -> bool:
        """Like `Store.expire`."""
        return (await self._backend.call_async(self._expire(key, ttl), self._timeout)).yes

    async def delete(self, key: Text) -> bool:
        """Like `Store.delete`."""
        return (await self._backend.call_async(self._delete(key), self._timeout)).yes

    async def throttle(self, key: Text, limit: Limit, cost: int = 1) -> Throttled:
        """Like `Store.throttle`."""
        return _throttled(await self._backend.call_async(self._throttle(key, limit, cost), self._timeout))

    async def reserve(self, key: Text, name: Text, amount: int, *, at_most: int, hold: float, ttl: float) -> Reserved:
        """Like `Store.reserve`."""
        call = self._reserve(key, name, amount, at_most, hold, ttl)
        return _reserved(await self._backend.call_async(call, self._timeout))

    async def settle(self, key: Text, name: Text, amount: int) -> bool:
        """Like `Store.settle`."""
        return (await self._backend.call_async(self._settle(key, name, amount), self._timeout)).yes


def _throttled(answer: Answer) -> Throttled:
    return Throttled(answer.yes, answer.number, answer.retry_after, answer.reset_after)


def _reserved(answer: Answer) -> Reserved:
    return Reserved(answer.yes, answer.number, answer.reserved)


def _checked_amount(what: str, amount: int) -> int:
    if not 0 <= amount <= MAX_AMOUNT:
        raise ValueError(f"{what}: expected 0 to {MAX_AMOUNT}, got {amount!r:.80}")
    return amount


def _checked_name(name: Text) -> bytes:
    name = name.encode() if isinstance(name, str) else bytes(name)
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"name: expected 1 to {MAX_NAME} bytes, got {len(name)}; it names one reservation")
    return name


def _checked_ttl(ttl: float) -> float:
    if not 0.001 <= ttl <= MAX_TTL:
        raise ValueError(f"ttl: expected 0.001 to {MAX_TTL} seconds, got {ttl!r:.80}")
    return ttl
