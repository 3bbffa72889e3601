"""A cache in the memory of one process. It runs in one event loop, so it needs no lock."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sdk import clock

if TYPE_CHECKING:
    from caching.answers import REVALIDATION, Answer, Names
else:
    from .answers import REVALIDATION, Answer, Names

OVERHEAD = 1024
"""Approximate bytes of an answer besides its body and headers."""
MAX_VARIANTS = 32
"""The most answers of one resource, so that a client cannot fill the memory with variants of its headers."""
Variant: TypeAlias = tuple[str, ...]


@dataclass(slots=True)
class Resource:
    names: Names = ()
    """The names in Vary of the resource's last answer."""
    variants: OrderedDict[Variant, Answer] = field(default_factory=OrderedDict)


class ProcessCache:
    """A least-recently-used cache of bounded size."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes, self.bytes = max_bytes, 0
        self._resources: dict[str, Resource] = {}
        self._used: OrderedDict[tuple[str, Variant], None] = OrderedDict()
        self._claimed: dict[str, float] = {}
        """By the ids of stale answers, the time from which on another request may revalidate them."""

    async def get(self, key: str, values: Mapping[str, str]) -> Answer | None:
        resource = self._resources.get(key)
        if resource is None:
            return None
        variant = tuple(values.get(name, "") for name in resource.names)
        answer = resource.variants.get(variant)
        if answer is None:
            return None
        if answer.usable_for <= 0:
            self._drop(key, variant)
            return None
        self._used.move_to_end((key, variant))
        return answer

    async def put(self, key: str, names: Names, values: Mapping[str, str], answer: Answer) -> str:
        if size(answer) > self._max_bytes // 4:
            return "too-large"
        if key in self._resources and self._resources[key].names != names:
            await self.forget(key)
        variant = tuple(values.get(name, "") for name in names)
        self._drop(key, variant)
        resource = self._resources.setdefault(key, Resource(names))
        if len(resource.variants) >= MAX_VARIANTS:
            self._drop(key, next(iter(resource.variants)))
        resource.variants[variant] = answer
        self._used[(key, variant)] = None
        self.bytes += size(answer)
        while self.bytes > self._max_bytes:
            self._drop(*next(iter(self._used)))
        return ""

    async def forget(self, key: str) -> bool:
        for variant in list(self._resources[key].variants) if key in self._resources else ():
            self._drop(key, variant)
        return True

    async def claim(self, answer: Answer) -> bool:
        now = clock.monotonic()
        if now < self._claimed.get(answer.id, now):
            return False
        self._claimed[answer.id] = now + REVALIDATION
        return True

    def _drop(self, key: str, variant: Variant) -> None:
        resource = self._resources.get(key)
        if resource is None or variant not in resource.variants:
            return
        answer = resource.variants.pop(variant)
        self.bytes -= size(answer)
        self._claimed.pop(answer.id, None)
        del self._used[(key, variant)]
        if not resource.variants:
            del self._resources[key]


def size(answer: Answer) -> int:
    """The approximate bytes of an answer."""
    lines = sum(len(name) + sum(map(len, values)) for name, values in answer.headers.items())
    return len(answer.body) + lines + OVERHEAD
