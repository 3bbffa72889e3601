"""Values of JSON that others have written: of the type that is expected, or the empty value of that type."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

Json = dict[str, Any]
MAX_COUNT = 1 << 53
"""The largest count of tokens that is believed: the largest integer that every JSON parser reads exactly."""


def object_of(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[Json]:
    """The objects of an array; [] for what is no array."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def text_of(value: Any, limit: int = 1024) -> str:
    """A string, cut at `limit` characters; "" for what is none."""
    return value[:limit] if isinstance(value, str) else ""


def count_of(value: Any) -> int | None:
    """A count of tokens; None for what is none: null, a negative or huge number, a fraction, true, a string."""
    is_count = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_COUNT
    return value if is_count else None


def key_of(value: Any) -> Hashable:
    """The value as a part of a key. Arrays and objects, which no index is, are all the same."""
    return type(value).__name__ if isinstance(value, list | dict) else value


def parse_json(data: str | bytes) -> Any:
    """The value; None for what is no JSON. `masking.read_json` also tells whether an object has a name twice, which
    takes twice the time, and no event of an answer needs."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
