"""Answers in the store of the node, or of all nodes.

What a resource's key has is its answer, or, where answers vary, an index: the names of the headers that they vary by,
and a generation, which is random. The answers are at keys of resource, generation and variant, so that the index is all
that has to go for none of them to be found; they end by themselves. An answer is read by one call, or by two.

A value is a checksum (CRC-32 of FORMAT, the value's key, and what follows), a line of JSON, and the body. What another
version has written, what is cut or changed, and what stands at another key than its own, is not there for who reads it.

While the store does not answer nothing is found and nothing is kept. Nodes tell an answer's age by their clocks.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sdk.action import check
from sdk.metrics import Counter
from sdk.policy import ImmediateResponse
from sdk.store import MAX_TTL, MAX_VALUE, AsyncStore, StoreUnavailableError

from sdk import clock

if TYPE_CHECKING:
    from caching.answers import REVALIDATION, Answer, Names
else:
    from .answers import REVALIDATION, Answer, Names

FORMAT = b"1"
"""Another one wherever what is written is not what was."""
UNANSWERED = Counter(
    "cache_store_unavailable_total", "Uses of the store that it had no answer, or no room, for.", labels=["use"]
)


@dataclass(frozen=True, slots=True)
class Index:
    generation: str
    names: Names


class StoreCache:
    """name: of keys of its own. longest: seconds that any answer may be kept for."""

    def __init__(self, name: str, longest: float) -> None:
        self._store = AsyncStore(name)
        self._longest = min(longest, MAX_TTL)

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        try:
            found = await self._read(key)
            if isinstance(found, Index):
                found = await self._read(variant_key(key, found, values))
        except StoreUnavailableError:
            UNANSWERED.inc(use="get")
            return None
        return found if isinstance(found, Answer) and found.kept_for > 0 else None

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        try:
            if not names:
                return await self._write(key, encoded(key, answer), answer.kept_for)
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
        found = await self._read(key)
        is_there = isinstance(found, Index) and found.names == names
        index = found if isinstance(found, Index) and is_there else Index(secrets.token_hex(8), names)
        place = variant_key(key, index, values)
        if why := await self._write(place, encoded(place, answer), answer.kept_for):
            return why
        if is_there:  # and has not been taken away meanwhile, which would be undone if it was written
            return "" if await self._store.expire(key, self._longest) else "store"
        return await self._write(key, encoded(key, index), self._longest)

    async def _read(self, key: str) -> Answer | Index | None:
        value = await self._store.get(key)
        return None if value is None else decoded(key, value)

    async def _write(self, key: str, value: bytes, seconds: float) -> str:
        """ "", or why it is not kept."""
        if len(value) > MAX_VALUE:
            return "too-large"
        if seconds < 0.001:
            return "age"
        return "" if await self._store.set(key, value, ttl=min(seconds, MAX_TTL)) else "store"


def variant_key(key: str, index: Index, values: Mapping[str, str]) -> str:
    variant = json.dumps([(name, values.get(name)) for name in index.names])
    return f"{key} {index.generation} {hashlib.sha256(variant.encode()).hexdigest()}"


def encoded(key: str, entry: Answer | Index) -> bytes:
    """What stands at this key for an entry."""
    if isinstance(entry, Index):
        return sealed(key, [entry.generation, *entry.names], b"")
    lives = [entry.until - entry.born, entry.grace, entry.on_error]
    born = clock.now() - (clock.monotonic() - entry.born)
    fields = [entry.id, entry.status, entry.headers, entry.for_all, born, *map(float, lives)]
    return sealed(key, fields, entry.body)


def sealed(key: str, fields: list[Any], body: bytes) -> bytes:
    rest = json.dumps(fields, separators=(",", ":")).encode() + b"\n" + body
    return checksum(key, rest) + rest


def checksum(key: str, rest: bytes) -> bytes:
    return zlib.crc32(rest, zlib.crc32(FORMAT + key.encode())).to_bytes(4, "big")


def decoded(key: str, value: bytes) -> Answer | Index | None:
    """None: this version has not written it there."""
    if value[:4] != checksum(key, value[4:]):
        return None
    line, _, body = value[4:].partition(b"\n")
    try:
        match json.loads(line):
            case [str(id), int(status), dict(headers), bool(for_all), float(born), float(lifetime), float(grace),
                  float(on_error)]:  # fmt: skip
                check("on_request", ImmediateResponse(status, headers, body))  # a client can be given it
                made = clock.monotonic() - max(0.0, clock.now() - born)
                return Answer(status, headers, body, made, made + lifetime, for_all, grace, on_error, id)
            case [str(generation), *names] if all(isinstance(name, str) for name in names):
                return Index(generation, tuple(names))
    except (ValueError, RecursionError):
        pass
    return None
