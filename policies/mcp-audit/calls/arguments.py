"""What a line has of a call's arguments."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

REDACTED = "[redacted]"
MOST_CHARACTERS = 256
MOST_VALUES = 64
MOST_DEPTH = 8


class Redaction:
    """Names whose values no line has."""

    def __init__(self, names: Iterable[str]) -> None:
        names = [*names]
        self._exact = {_normalized(name) for name in names if not name.endswith("*")}
        self._prefixes = tuple(_normalized(name[:-1]) for name in names if name.endswith("*"))

    def hides(self, name: str) -> bool:
        name = _normalized(name)
        return name in self._exact or name.startswith(self._prefixes)


def _normalized(name: str) -> str:
    return name.casefold().replace("-", "").replace("_", "")


def shown_arguments(arguments: Any, choice: str, redaction: Redaction) -> Any:
    """By the parameter `arguments`; None for nothing."""
    if choice == "none" or not isinstance(arguments, Mapping):
        return None
    if choice == "names":
        return [name[:MOST_CHARACTERS] for name in list(arguments)[:MOST_VALUES]]
    return _Shown(redaction).show(arguments, MOST_DEPTH)


class _Shown:
    """Counts the values of one line."""

    def __init__(self, redaction: Redaction) -> None:
        self._redaction = redaction
        self._left = MOST_VALUES

    def show(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping | list) and depth == 0:
            return "…"
        if isinstance(value, Mapping):
            return {
                name[:MOST_CHARACTERS]: REDACTED if self._redaction.hides(name) else self.show(member, depth - 1)
                for name, member in value.items()
                if self._counts()
            }
        if isinstance(value, list):
            return [self.show(item, depth - 1) for item in value if self._counts()]
        if isinstance(value, str) and len(value) > MOST_CHARACTERS:
            return value[:MOST_CHARACTERS] + "…"
        return value

    def _counts(self) -> bool:
        self._left -= 1
        return self._left >= 0
