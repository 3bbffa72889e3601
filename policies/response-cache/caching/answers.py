"""What is kept, and what a cache does with it, wherever it has it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from sdk import clock

REVALIDATION = 30.0
"""Seconds until another request is let through for a stale answer, where the first has not brought a new one."""
Names: TypeAlias = tuple[str, ...]
"""Of the headers that a resource's answers vary by, in lower case, sorted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One of upstream's. Times are those of `clock.monotonic()`."""

    status: int
    headers: dict[str, list[str]]
    body: bytes
    born: float
    """When it was made, by upstream or a cache before it."""
    until: float
    """It is fresh."""
    for_all: bool
    """Whether upstream says that it is for clients that are known, too."""
    grace: float = 0.0
    """Seconds after `until` in which it may be given while another request asks upstream."""
    on_error: float = 0.0
    """The same where upstream fails."""
    id: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def age(self) -> int:
        return max(0, int(clock.monotonic() - self.born))

    @property
    def left(self) -> float:
        """Seconds for which it is fresh, less than 0 where it is stale."""
        return self.until - clock.monotonic()

    @property
    def kept_for(self) -> float:
        """Seconds until it is good for nothing."""
        return self.left + max(self.grace, self.on_error)


class Cache(Protocol):
    """Answers by the key of their resource, and by `values`: what a request's headers say, digests by lower-case name,
    without those that it does not have."""

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        """The one for such a request, fresh or stale."""

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        """Keeps it for requests that say the same by the headers `names`. "", or in a word why it is not kept."""

    async def forget(self, key: str) -> bool:
        """Drops all answers of a resource. False: they may still be there."""

    async def claim(self, answer: Answer) -> bool:
        """Whether the one who asks is to get a new answer for this stale one: one is, each REVALIDATION seconds."""
