"""The query of a request, as names and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias
from urllib.parse import quote, unquote_plus

QueryValue: TypeAlias = str | int | float | bool | list[str] | tuple[str, ...]
"""One value, or several under the same name. `True` is written `true`."""


class QueryParams(Mapping[str, str]):
    """Read-only, multi-valued, in order: `ctx.query_params`.

    As a mapping it has each name's first value; `get_all` returns all values. The query is parsed like a form (URL
    Standard, 5.1): `&` separates, "+" and "%20" are spaces, a name without "=" has the value "". Bytes that are not
    UTF-8 are kept (PEP 383). Names are case-sensitive.

    `replaced` and `without` return another QueryParams; other parameters stay byte for byte as the client sent them.
    `str` returns the query:

        UpstreamRequestModifications(query=str(ctx.query_params.replaced(page=2).without("token")))

    `query` is without "?".
    """

    __slots__ = ("_parts",)

    def __init__(self, query: str = "") -> None:
        self._parts = [(*_read(part), part) for part in query.split("&")] if query else []

    def __getitem__(self, name: str) -> str:
        for known_name, value in self.pairs():
            if known_name == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self.pairs()))

    def __len__(self) -> int:
        return len(dict(self.pairs()))

    def __repr__(self) -> str:
        return f"QueryParams({str(self)!r})"

    def __str__(self) -> str:
        return "&".join(part for _, _, part in self._parts)

    def get_all(self, name: str) -> list[str]:
        """All values of `name`, in order; [] if there is none."""
        return [value for known_name, value in self.pairs() if known_name == name]

    def pairs(self) -> list[tuple[str, str]]:
        """All names and values, in order."""
        return [(name, value) for name, value, part in self._parts if part]

    def replaced(self, values: Mapping[str, QueryValue] | None = None, /, **more: QueryValue) -> QueryParams:
        """The parameters with these values instead of all values of their names: at the place of the first, else at the
        end.

        TypeError for a value that is no QueryValue.
        """
        new = {name: _written(name, value) for name, value in {**(values or {}), **more}.items()}
        parts: list[str] = []
        placed: set[str] = set()
        for name, _, part in self._parts:
            if name not in new or not part:
                parts.append(part)
            elif name not in placed:
                parts += new[name]
                placed.add(name)
        parts += [part for name, written in new.items() if name not in placed for part in written]
        return QueryParams("&".join(parts))

    def without(self, *names: str) -> QueryParams:
        """The parameters without these names."""
        return QueryParams("&".join(part for name, _, part in self._parts if name not in names or not part))


def _read(part: str) -> tuple[str, str]:
    name, _, value = part.partition("=")
    return unquote_plus(name, errors="surrogateescape"), unquote_plus(value, errors="surrogateescape")


def _written(name: str, value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [f"{_encoded(name)}={_encoded(_text(name, item))}" for item in values]


def _text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    expected = "a str, a number, a bool, or a list of str"
    raise TypeError(f"query parameter {name!r}: expected {expected}, got {type(value).__name__}")


def _encoded(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")
