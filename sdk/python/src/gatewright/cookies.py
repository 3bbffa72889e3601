"""The cookies of a request, and the Set-Cookie of a response (RFC 6265)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from gatewright.header_rules import TOKEN

_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")  # cookie-octet, RFC 6265, 4.1.1
_ATTRIBUTE = re.compile(r"[ -:<-~]*")


class Cookies(Mapping[str, str]):
    """Read-only, in order: `ctx.cookies`.

    As a mapping it gives each name's first value, as user agents send the most specific one first; `get_all` gives them
    all. Values are as they stand there: nothing is decoded, quotes around one are kept. Names are told apart by case.

    `replaced` and `without` make another one. Its `headers` take the place of those of the request, if any are left:

        left = ctx.cookies.without("session")
        UpstreamRequestModifications(remove_headers=["cookie"], append_headers=left.headers)

    `lines` are the values of the request's Cookie headers.
    """

    __slots__ = ("_pairs",)

    def __init__(self, lines: Iterable[str] = ()) -> None:
        parts = (part.strip(" \t") for line in lines for part in line.split(";"))
        self._pairs = [_read(part) for part in parts if part]

    def __getitem__(self, name: str) -> str:
        for each, value in self._pairs:
            if each == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(dict(self._pairs))

    def __repr__(self) -> str:
        return f"Cookies({', '.join(self)})"  # names alone: values are what logs must not have

    def __str__(self) -> str:
        return "; ".join(f"{name}={value}" if name else value for name, value in self._pairs)

    def get_all(self, name: str) -> list[str]:
        """All values of `name`, in order; [] where there is none."""
        return [value for each, value in self._pairs if each == name]

    @property
    def headers(self) -> dict[str, str]:
        """One Cookie header, or none where no cookie is left."""
        return {"cookie": str(self)} if self._pairs else {}

    def replaced(self, values: Mapping[str, str] | None = None, /, **more: str) -> Cookies:
        """With these values in the place of all that the names have: where the first stood, else at the end.

        ValueError for a name or a value that RFC 6265 does not let in.
        """
        new = {name: _checked(name, value) for name, value in {**(values or {}), **more}.items()}
        pairs: list[tuple[str, str]] = []
        placed: set[str] = set()
        for name, value in self._pairs:
            if name not in placed:
                pairs.append((name, new.get(name, value)))
                placed |= {name} & new.keys()
        return _of([*pairs, *((name, value) for name, value in new.items() if name not in placed)])

    def without(self, *names: str) -> Cookies:
        """All but these names."""
        return _of([(name, value) for name, value in self._pairs if name not in names])


def set_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    path: str = "/",
    domain: str = "",
    secure: bool = True,
    http_only: bool = True,
    same_site: Literal["Strict", "Lax", "None"] = "Lax",
) -> str:
    """The value of a Set-Cookie header, for `append_headers={"set-cookie": …}` of a response.

    max_age: seconds; None: until the browser closes; 0: it is removed. domain: "" is the host alone. ValueError for
    what RFC 6265 does not let in.
    """
    parts = [f"{name}={_checked(name, value)}"]
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    for attribute, given in (("Path", path), ("Domain", domain)):
        if not _ATTRIBUTE.fullmatch(given):
            raise ValueError(
                f"cookie {name!r}: expected {attribute} of visible ASCII without semicolons, got {given!r:.60}"
            )
        parts += [f"{attribute}={given}"] * bool(given)
    parts += ["Secure"] * secure + ["HttpOnly"] * http_only + [f"SameSite={same_site}"]
    return "; ".join(parts)


def _of(pairs: list[tuple[str, str]]) -> Cookies:
    made = Cookies()
    made._pairs = pairs
    return made


def _read(part: str) -> tuple[str, str]:
    """One without "=" has no name (RFC 6265bis, 5.6)."""
    name, equals, value = part.partition("=")
    return (name.rstrip(" \t"), value.lstrip(" \t")) if equals else ("", name)


def _checked(name: str, value: str) -> str:
    """The value, which no message shows."""
    if not TOKEN.fullmatch(name):
        raise ValueError(f"cookie {name!r:.60}: expected a name of letters, digits and !#$%&'*+-.^_`|~")
    if not _VALUE.fullmatch(value):
        expected = "a value of visible ASCII without spaces, quotes, commas, semicolons and backslashes"
        raise ValueError(
            f"cookie {name!r:.60}: expected {expected}; encode it, for instance by base64.urlsafe_b64encode"
        )
    return value
