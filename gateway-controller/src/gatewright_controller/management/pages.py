"""Lists in pages: by a key that each item has, so that items which come or go between two pages move no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

from starlette.requests import Request

from gatewright_controller.management.queries import whole_number
from gatewright_controller.management.rows import Parameter

T = TypeVar("T")
MOST = 1000
LIMIT = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MOST, "default": MOST},
    "How many at most; where there are more, `next` of the answer is the path of the next page.",
)
ENTRIES, LARGEST = 100, 10**18 - 1
"""Of entries in the order of their numbers, the newest first: how many without `limit`, and the largest number."""
NEWEST = Parameter(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": MOST, "default": ENTRIES},
    "How many at most; where there are more, `next` of the answer is the path of the older ones.",
)
AFTER = Parameter("after", {"type": "string"}, "The page behind this one, as `next` has it.")
NAME = Parameter("name", {"type": "string", "examples": ["orders-*"]}, "Only those whose name fits this glob.")
PAGED = (LIMIT, AFTER)


@dataclass(frozen=True)
class Page(Generic[T]):
    """next: the path and query of the next page; "" on the last one."""

    items: list[T]
    next: str = ""

    def answer(self, name: str, show: Callable[[T], object]) -> dict[str, object]:
        """{name: what is shown of each item}, with `next` where there is more."""
        return {name: [show(item) for item in self.items], **({"next": self.next} if self.next else {})}


def page_of(
    request: Request, items: Iterable[T], key: Callable[[T], str], order: Callable[[str], Any] = str
) -> Page[T]:
    """What the request asks for of the items, which are in the order of their keys. Raises `Problem`.

    order: what keys are compared by.
    """
    limit = whole_number(request, LIMIT.name, MOST, 1, MOST)
    after = order(request.query_params.get(AFTER.name, ""))
    behind = (item for item in items if order(key(item)) > after)
    found = [item for _, item in zip(range(limit + 1), behind, strict=False)]
    if len(found) <= limit:
        return Page(found)
    query = [(name, text) for name, text in request.query_params.multi_items() if name not in (AFTER.name, "wait")]
    return Page(found[:limit], f"{request.url.path}?{urlencode([*query, (AFTER.name, key(found[limit - 1]))])}")


def fits_name(request: Request, name: str) -> bool:
    """Whether the name is asked for: `?name=GLOB`."""
    return fnmatchcase(name, request.query_params.get(NAME.name, "*"))
