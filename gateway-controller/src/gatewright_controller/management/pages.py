"""Lists in pages: by a key that each item has, so that items which come or go between two pages move no others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
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
LEAST_READ = 100
"""Items that are read at once for a page, where few of them may fit."""


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
    limit, after = _limit(request), order(request.query_params.get(AFTER.name, ""))
    behind = (item for item in items if order(key(item)) > after)
    return _page(request, list(islice(behind, limit + 1)), limit, key)


async def read_page(
    request: Request,
    read: Callable[[str, int], Awaitable[Sequence[T]]],
    fits: Callable[[T], bool],
    key: Callable[[T], str],
) -> Page[T]:
    """The same of items that `read` has the first of behind a key, at most so many; of those that fit. Raises
    `Problem`."""
    limit, after, found = _limit(request), request.query_params.get(AFTER.name, ""), list[T]()
    at_once = max(limit + 1, LEAST_READ)
    while len(found) <= limit:
        items = await read(after, at_once)
        found += filter(fits, items)
        if len(items) < at_once:
            break
        after = key(items[-1])
    return _page(request, found[: limit + 1], limit, key)


def _limit(request: Request) -> int:
    return whole_number(request, LIMIT.name, MOST, 1, MOST)


def _page(request: Request, found: list[T], limit: int, key: Callable[[T], str]) -> Page[T]:
    """found: the items of the page, and one more where there is a page behind it."""
    if len(found) <= limit:
        return Page(found)
    query = [(name, text) for name, text in request.query_params.multi_items() if name not in (AFTER.name, "wait")]
    return Page(found[:limit], f"{request.url.path}?{urlencode([*query, (AFTER.name, key(found[limit - 1]))])}")


def fits_name(request: Request, name: str) -> bool:
    """Whether the name is asked for: `?name=GLOB`."""
    return fnmatchcase(name, request.query_params.get(NAME.name, "*"))
