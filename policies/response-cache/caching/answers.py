"""Cached answers, and the interface of caches."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sdk import clock

REVALIDATION = 30.0
"""Seconds until another request may revalidate a stale answer, if the first has brought no new one."""
Names: TypeAlias = tuple[str, ...]
"""The names of the headers in Vary, in lower case, sorted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer of upstream. Times are those of `clock.monotonic()`."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    born: float
    """When it was made, by upstream or a cache before it."""
    until: float
    """The end of its freshness."""
    for_all: bool
    """Whether upstream allows it for authenticated clients too."""
    grace: float = 0.0
    """Seconds after `until` in which it may be used during revalidation."""
    on_error: float = 0.0
    """Seconds after `until` in which it may be used if upstream fails."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def age(self) -> int:
        return max(0, int(clock.monotonic() - self.born))

    @property
    def left(self) -> float:
        """Seconds until it is stale; negative if it is."""
        return self.until - clock.monotonic()

    @property
    def kept_for(self) -> float:
        """Seconds until it can no longer be used."""
        return self.left + max(self.grace, self.on_error)


class Cache(Protocol):
    """Answers by the key of their resource, and by `values`: digests of the request's headers, by lower-case name,
    without those that it does not have."""

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        """The answer for such a request, fresh or stale."""

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        """Caches the answer for requests with the same values of the headers `names`. "", or the reason in a word."""

    async def forget(self, key: str) -> bool:
        """Removes all answers of a resource. False: they may still be there."""

    async def claim(self, answer: Answer) -> bool:
        """Whether the caller must revalidate this stale answer: True for one caller in REVALIDATION seconds."""
