"""A cache in the store of the node, or of all nodes.

A resource's key holds its answer, or, if answers vary, an index: the names in Vary, and a random generation. The keys
of varying answers consist of resource, generation and variant, so that removing the index removes all of them; the
answers expire by themselves. Reading an answer takes one call of the store or two.

A value is a checksum (CRC-32 of FORMAT, the value's key, and the rest), a line of JSON, and the body. Values of another
version, damaged values, and values at another key than their own are ignored.

While the store does not answer, nothing is found and nothing is cached. Nodes compute an answer's age by their clocks.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk import clock
from sdk.action import check
from sdk.metrics import Counter
from sdk.policy import ImmediateResponse
from sdk.store import MAX_TTL, MAX_VALUE, AsyncStore, StoreUnavailableError

if TYPE_CHECKING:
    from caching.answers import REVALIDATION, Answer, Names
else:
    from .answers import REVALIDATION, Answer, Names

FORMAT = b"1"
"""Must change with the format of values."""
UNANSWERED = Counter(
    "cache_store_unavailable_total", "Calls that the store did not answer, or had no room for.", labels=["use"]
)


@dataclass(frozen=True, slots=True)
class Index:
    generation: str
    names: Names


class StoreCache:
    """name: the namespace of its keys. longest: the most seconds for which an answer may be cached."""

    def __init__(self, name: str, longest: float) -> None:
        self._store = AsyncStore(name)
        self._longest = min(longest, MAX_TTL)

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        try:
            entry = await self._read(key)
            if isinstance(entry, Index):
                entry = await self._read(variant_key(key, entry, values))
        except StoreUnavailableError:
            UNANSWERED.inc(use="get")
            return None
        return entry if isinstance(entry, Answer) and entry.usable_for > 0 else None

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        try:
            if not names:
                return await self._write(key, encode(key, answer), answer.usable_for)
            return await self._put_variant(key, names, values, answer)
        except StoreUnavailableError:
            UNANSWERED.inc(use="put")
            return "store"

    async def forget(self, key: str) -> bool:
        try:
            await self._store.delete(key)
        except StoreUnavailableError:
            UNANSWERED.inc(use="forget")
            return False
        return True

    async def claim(self, answer: Answer) -> bool:
        try:
            return await self._store.set(f"claim {answer.id}", b"", ttl=REVALIDATION, if_absent=True)
        except StoreUnavailableError:
            UNANSWERED.inc(use="claim")
            return True

    async def _put_variant(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        entry = await self._read(key)
        has_index = isinstance(entry, Index) and entry.names == names
        index = entry if isinstance(entry, Index) and has_index else Index(secrets.token_hex(8), names)
        place = variant_key(key, index, values)
        if reason := await self._write(place, encode(place, answer), answer.usable_for):
            return reason
        if has_index:  # writing the index again would undo a removal meanwhile
            return "" if await self._store.expire(key, self._longest) else "store"
        return await self._write(key, encode(key, index), self._longest)

    async def _read(self, key: str) -> Answer | Index | None:
        value = await self._store.get(key)
        return None if value is None else decode(key, value)

    async def _write(self, key: str, value: bytes, seconds: float) -> str:
        """Writes a value. Returns "", or why it is not written."""
        if len(value) > MAX_VALUE:
            return "too-large"
        if seconds < 0.001:
            return "age"
        return "" if await self._store.set(key, value, ttl=min(seconds, MAX_TTL)) else "store"


def variant_key(key: str, index: Index, values: Mapping[str, str]) -> str:
    variant = json.dumps([(name, values.get(name)) for name in index.names])
    return f"{key} {index.generation} {hashlib.sha256(variant.encode()).hexdigest()}"


def encode(key: str, entry: Answer | Index) -> bytes:
    """The value of an entry at this key."""
    if isinstance(entry, Index):
        return add_checksum(key, [entry.generation, *entry.names], b"")
    durations = [entry.until - entry.born, entry.grace, entry.on_error]
    born = clock.now() - (clock.monotonic() - entry.born)
    fields = [entry.id, entry.status, entry.headers, entry.for_all, born, *map(float, durations)]
    return add_checksum(key, fields, entry.body)


def add_checksum(key: str, fields: list[Any], body: bytes) -> bytes:
    rest = json.dumps(fields, separators=(",", ":")).encode() + b"\n" + body
    return checksum(key, rest) + rest


def checksum(key: str, rest: bytes) -> bytes:
    return zlib.crc32(rest, zlib.crc32(FORMAT + key.encode())).to_bytes(4, "big")


def decode(key: str, value: bytes) -> Answer | Index | None:
    """Returns the entry of a value at this key; None for values of another version, and damaged ones."""
    if value[:4] != checksum(key, value[4:]):
        return None
    line, _, body = value[4:].partition(b"\n")
    try:
        match json.loads(line):
            case [str(id), int(status), dict(headers), bool(for_all), float(born), float(lifetime), float(grace),
                  float(on_error)]:  # fmt: skip
                check("on_request", ImmediateResponse(status, headers, body))  # raises if the response is not valid
                local = clock.monotonic() - max(0.0, clock.now() - born)
                return Answer(status, headers, body, local, local + lifetime, for_all, grace, on_error, id)
            case [str(generation), *names] if all(isinstance(name, str) for name in names):
                return Index(generation, tuple(names))
    except (ValueError, RecursionError):
        pass
    return None
