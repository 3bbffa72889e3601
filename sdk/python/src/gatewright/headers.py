"""The headers of a request or a response, as a policy reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias, TypeVar, overload

HeaderValue: TypeAlias = str | bytes | Sequence[str | bytes]
"""One value, or a list or tuple of values that stay separate lines (Set-Cookie is never joined). `str` is encoded as
UTF-8."""

READ_ONLY = (
    "headers are read-only: return UpstreamRequestModifications({0}) from on_request, or "
    "UpstreamResponseModifications({0}) from on_response"
)
T = TypeVar("T")


class Headers(Mapping[str, str]):
    """Read-only, case-insensitive, multi-valued; in the order of the message, without pseudo-headers.

    As a mapping it has each name's first value; `get_all` returns all values. Text is UTF-8 with surrogateescape
    (PEP 383), so no byte is refused or lost: `value.encode("utf-8", "surrogateescape")` returns the original bytes,
    and `raw` has them. Names are in lower case.

    `blob` is `name NUL value NUL name NUL value NUL …`, the form of python_executor.proto. Most policies read one
    header, so the first look-up searches the blob, and the second parses it.
    """

    __slots__ = ("_blob", "_first", "_flat", "_searched")

    def __init__(self, blob: bytes = b"") -> None:
        self._blob = blob
        self._flat: list[str] = []
        self._first: dict[str, str] | None = None
        self._searched = False

    def __getitem__(self, name: str) -> str:
        value = self._look_up(name)
        if value is None:
            raise KeyError(name)
        return value

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str | T, /) -> str | T: ...

    def get(self, name: str, default: str | T | None = None, /) -> str | T | None:
        """The first value of `name`, or `default`."""
        value = self._look_up(name)
        return default if value is None else value

    if not TYPE_CHECKING:  # for a type checker they are not there

        def __setitem__(self, name, value):
            raise TypeError(READ_ONLY.format(f"set_headers={{{name!r}: {value!r}}}"))

        def __delitem__(self, name):
            raise TypeError(READ_ONLY.format(f"remove_headers=[{name!r}]"))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._look_up(name) is not None

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsed)

    def __len__(self) -> int:
        return len(self._parsed)

    def __repr__(self) -> str:
        return f"Headers({self.multi_items()!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; [] if there is none."""
        name = name.lower()
        return [value for key, value in self.multi_items() if key == name] if name in self._parsed else []

    def multi_items(self) -> list[tuple[str, str]]:
        """Every header line as (name, value), in order."""
        flat = self._flat if self._parsed else []
        return list(zip(flat[:-1:2], flat[1::2], strict=True))

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Every header line as (name, value) in its original bytes, in order."""
        flat = self._blob.split(b"\0")
        return list(zip(flat[:-1:2], flat[1::2], strict=True))

    @property
    def _parsed(self) -> dict[str, str]:
        return self._parse() if self._first is None else self._first

    def _look_up(self, name: str) -> str | None:
        """The first value of `name`."""
        if self._first is None and not self._searched:
            self._searched = True
            return self._search(name)
        return self._parsed.get(name.lower())

    def _search(self, name: str) -> str | None:
        """Searches the blob, which takes half the time of parsing it."""
        blob, head = self._blob, _head(name)
        at = 0 if blob.startswith(head) else blob.find(b"\0" + head) + 1 or -1
        if at < 0:
            return None
        if not head or blob.count(0, 0, at) % 2:  # found in a value, not in a name
            return self._parse().get(name.lower())
        at += len(head)
        return blob[at : blob.find(0, at)].decode("utf-8", "surrogateescape")

    def _parse(self) -> dict[str, str]:
        flat = self._flat = self._blob.decode("utf-8", "surrogateescape").split("\0")
        parts = iter(flat)  # with a "" after the last NUL, which pairs with nothing
        first = dict(zip(parts, parts, strict=False))
        if 2 * len(first) + 1 != len(flat):  # some names occur more than once
            first = {}
            for name, value in zip(flat[:-1:2], flat[1::2], strict=True):
                first.setdefault(name, value)
        self._first = first
        return first


@lru_cache(4096)
def _head(name: str) -> bytes:
    """The bytes with which a line of that name begins; b"" if the blob cannot be searched for the name."""
    return name.lower().encode() + b"\0" if name.isascii() and "\0" not in name else b""
