"""Cached responses, and the interface of caches."""

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
    """A response of the upstream. Times are those of `clock.monotonic()`."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    born: float
    """The time at which the upstream, or a cache before it, has created it."""
    until: float
    """The end of its freshness."""
    for_all: bool
    """Whether the upstream allows it for authenticated clients too."""
    grace: float = 0.0
    """Seconds after `until` in which it may be used during revalidation."""
    on_error: float = 0.0
    """Seconds after `until` in which it may be used if the upstream fails."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def age(self) -> int:
        return max(0, int(clock.monotonic() - self.born))

    @property
    def left(self) -> float:
        """Seconds until it is stale; negative if it is."""
        return self.until - clock.monotonic()

    @property
    def usable_for(self) -> float:
        """Seconds until it can no longer be used."""
        return self.left + max(self.grace, self.on_error)


class Cache(Protocol):
    """Answers by the key of their resource, and by `values`: digests of the request's headers, by lower-case name,
    without those that it does not have."""

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        """Returns the answer for such a request, fresh or stale."""

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        """Caches the answer for requests with the same values of the headers `names`. Returns "", or the
        reason why it is not cached, in a word."""

    async def forget(self, key: str) -> bool:
        """Removes all answers of a resource. Returns False if they may still be cached."""

    async def claim(self, answer: Answer) -> bool:
        """Returns whether the caller must revalidate this stale answer: true for one caller in REVALIDATION seconds."""
