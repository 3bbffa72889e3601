"""The trailers of a message, as a policy that streams its body reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, overload

from gatewright.header_rules import check_size, header_blob, header_name, refuse
from gatewright.headers import Headers, HeaderValue

T = TypeVar("T")

_NOT_IN_TRAILERS = {  # RFC 9110, 6.5.1, besides those that header_name refuses anyway
    *("authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "cookie", "set-cookie"),
    *("if-match", "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "range", "expect"),
    *(
        "age",
        "cache-control",
        "date",
        "expires",
        "location",
        "max-forwards",
        "pragma",
        "retry-after",
        "vary",
        "warning",
    ),
    *("content-encoding", "content-range", "content-type"),
}


class Trailers:
    """The lines behind a body: read like Headers, and changed.

        async for chunk in chunks:
            yield chunk
        ctx.trailers["x-checksum"] = digest.hexdigest()

    They come when the body has ended: reading them before raises RuntimeError. They can be written at any time until
    the function ends, and are read with these changes. A message that came without trailers goes on without: changes
    are dropped.

    `trailers[name] = value` replaces all lines of that name, and a list makes several lines; `del trailers[name]`
    removes them, if there are any. Both raise ActionError for names and values that the gateway refuses in headers too,
    and for names that RFC 9110, 6.5.1, forbids in trailers.

    blob: the trailers that came, in the form of Headers; None: the body has not ended yet.
    """

    __slots__ = ("_came", "_read", "_removed", "_set")

    def __init__(self, blob: bytes | None = None) -> None:
        self._came = blob
        self._removed: dict[bytes, None] = {}  # names, each with its NUL
        self._set: dict[bytes, bytes] = {}  # by such a name: the lines
        self._read: Headers | None = None

    def __getitem__(self, name: str) -> str:
        return self._headers[name]

    @overload
    def get(self, name: str, default: None = None, /) -> str | None: ...

    @overload
    def get(self, name: str, default: str | T, /) -> str | T: ...

    def get(self, name: str, default: str | T | None = None, /) -> str | T | None:
        """The first value of `name`, or `default`."""
        return self._headers.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._headers

    def __iter__(self) -> Iterator[str]:
        return iter(self._headers)

    def __len__(self) -> int:
        return len(self._headers)

    def __repr__(self) -> str:
        return "Trailers()" if self._came is None else f"Trailers({self._headers.multi_items()!r})"

    def get_all(self, name: str) -> list[str]:
        """Every value of `name`, in order; [] if there is none."""
        return self._headers.get_all(name)

    def multi_items(self) -> list[tuple[str, str]]:
        """Every line as (name, value), in order."""
        return self._headers.multi_items()

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """Every line as (name, value) in its original bytes, in order."""
        return self._headers.raw

    def __setitem__(self, name: str, value: HeaderValue) -> None:
        key = _checked(name)
        if value is None or value in ([], ()):
            refuse(f"trailers[{name!r}]", "str, bytes or a list of them", value, "to take one away, del trailers[name]")
        lines = header_blob("trailers", {name: value})
        check_size(b"".join(self._set.values()) + lines)
        self._removed.pop(key, None)
        self._set[key] = lines
        self._read = None

    def __delitem__(self, name: str) -> None:
        key = _checked(name)
        self._set.pop(key, None)
        self._removed[key] = None
        self._read = None

    def arrived(self, blob: bytes | None) -> None:
        """Called by the code that runs the policy when the body has ended. blob: the trailers; None: there are none."""
        self._came = blob or b""
        self._read = None

    def changes(self) -> tuple[bytes, bytes]:
        """For the code that runs the policy: names to remove and lines to set, in the form of Action."""
        return b"".join(self._removed), b"".join(self._set.values())

    @property
    def _headers(self) -> Headers:
        if self._read is None:
            self._read = Headers(self._merged())
        return self._read

    def _merged(self) -> bytes:
        if self._came is None:
            raise RuntimeError(
                "trailers: expected to be read after the last chunk, got a read before; end the loop first"
            )
        if not self._removed and not self._set:
            return self._came
        flat = self._came.split(b"\0")
        lines = zip(flat[:-1:2], flat[1::2], strict=True)
        gone = {*self._removed, *self._set}
        kept = [b"%b\0%b\0" % line for line in lines if line[0] + b"\0" not in gone]
        return b"".join([*kept, *self._set.values()])


def _checked(name: str) -> bytes:
    """The name in the form of `changes`, if trailers may have it."""
    key = header_name("trailers", name)
    if key[:-1].decode() in _NOT_IN_TRAILERS:
        refuse("trailers", "a header that trailers can have", name, "RFC 9110, 6.5.1: set it as a header")
    return key
