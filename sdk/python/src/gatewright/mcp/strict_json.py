"""JSON that all parsers read alike: what they read differently is refused, so that a decision holds for the server."""

from __future__ import annotations

import json
import re
from typing import Any

_SURROGATE = re.compile(rb"\\u[dD][89abAB]|\\u[dD][c-fC-F]")


class AmbiguousJsonError(ValueError):
    """JSON that is none, or that parsers read differently. The text says why."""


def parse_strictly(data: bytes) -> Any:
    """The value of UTF-8 without a byte order mark. AmbiguousJsonError: a name twice in an object, half a character of
    UTF-16 in an escape, NaN, a number or a depth that some parsers do not read."""
    try:
        text = data.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise AmbiguousJsonError(f"expected UTF-8, got the byte {data[error.start]:#04x} at {error.start}") from None
    except RecursionError:
        raise AmbiguousJsonError("expected JSON of a usual depth, got more levels than are read") from None
    except AmbiguousJsonError:
        raise
    except ValueError as error:
        raise AmbiguousJsonError(f"expected JSON, got what is none: {error}") from None
    if _SURROGATE.search(data) and not _is_unicode(value):
        raise AmbiguousJsonError("expected whole characters, got an escape of half a character")
    return value


def _unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        name = next(name for name in names if names.count(name) > 1)
        raise AmbiguousJsonError(f"expected each name once in an object, got {name[:100]!r} twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise AmbiguousJsonError(f"expected JSON, got {name}")


def _is_unicode(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
