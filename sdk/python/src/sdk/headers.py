"""The headers of a request or a response, as a policy reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar, overload

T = TypeVar("T")


class Headers(Mapping[str, str]):
    """Read-only, case-insensitive, multi-valued; in the order of the wire, without pseudo-headers.

    As a mapping it gives each name's first value; `get_all` gives them all. Text is UTF-8 with surrogateescape
    (PEP 383), so no byte is refused or lost: `value.encode("utf-8", "surrogateescape")` are the bytes of the wire,
    and `raw` has them ready. Names are in lower case.

    `blob` is `name NUL value NUL name NUL value NUL …`, the form of python_executor.proto; it is parsed at first use.
    """

    __slots__ = ("_blob", "_first", "_flat")

    def __init__(self, blob: bytes = b"") -> None:
        self._blob = blob
        self._flat: list[str] = []
        self._first: dict[str, str] | None = None

    def __getitem__(self, name: str) -> str:
        first = self._first
        return (self._parse() if first is None else first)[name.lower()]

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str | T, /) -> str | T: ...

    def get(self, name: str, default: str | T | None = None, /) -> str | T | None:
        """The first value of `name`, or `default`. As Mapping's, in a third of the time."""
        first = self._first
        return (self._parse() if first is None else first).get(name.lower(), default)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._parsed

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed)

    def __len__(self) -> int:
        return len(self._parsed)

    def __repr__(self) -> str:
        return f"Headers({self.multi_items()!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; [] where there is none."""
        if name not in self:
            return []
        name, flat = name.lower(), self._flat
        return [value for key, value in zip(flat[:-1:2], flat[1::2], strict=True) if key == name]

    def multi_items(self) -> list[tuple[str, str]]:
        """Every header line as (name, value), in order."""
        flat = self._flat if self._parsed else []
        return list(zip(flat[:-1:2], flat[1::2], strict=True))

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Every header line as (name, value) in the bytes of the wire, in order."""
        flat = self._blob.split(b"\0")
        return list(zip(flat[:-1:2], flat[1::2], strict=True))

    @property
    def _parsed(self) -> dict[str, str]:
        return self._parse() if self._first is None else self._first

    def _parse(self) -> dict[str, str]:
        flat = self._flat = self._blob.decode("utf-8", "surrogateescape").split("\0")
        parts = iter(flat)  # and "" after the last NUL, which has no partner
        first = dict(zip(parts, parts, strict=False))
        if 2 * len(first) + 1 != len(flat):  # some names stand more than once
            first = {}
            for name, value in zip(flat[:-1:2], flat[1::2], strict=True):
                first.setdefault(name, value)
        self._first = first
        return first
