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

    As a mapping it has each name's first value, since user agents send the most specific cookie first; `get_all`
    returns all values. Values are as the client sent them: nothing is decoded, and quotes are kept. Names are
    case-sensitive.

    `replaced` and `without` return other Cookies, whose `headers` replace those of the request, if any cookie is left:

        left = ctx.cookies.without("session")
        UpstreamRequestModifications(remove_headers=["cookie"], append_headers=left.headers)

    `lines` are the values of the request's Cookie headers.
    """

    __slots__ = ("_pairs",)

    def __init__(self, lines: Iterable[str] = ()) -> None:
        parts = (part.strip(" \t") for line in lines for part in line.split(";"))
        self._pairs = [_read(part) for part in parts if part]

    def __getitem__(self, name: str) -> str:
        for known_name, value in self._pairs:
            if known_name == name:
                return value
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._pairs))

    def __len__(self) -> int:
        return len(dict(self._pairs))

    def __repr__(self) -> str:
        return f"Cookies({', '.join(self)})"  # without values, which must not get into logs

    def __str__(self) -> str:
        return "; ".join(f"{name}={value}" if name else value for name, value in self._pairs)

    def get_all(self, name: str) -> list[str]:
        """All values of `name`, in order; [] if there is none."""
        return [value for known_name, value in self._pairs if known_name == name]

    @property
    def headers(self) -> dict[str, str]:
        """One Cookie header; {} if no cookie is left."""
        return {"cookie": str(self)} if self._pairs else {}

    def replaced(self, values: Mapping[str, str] | None = None, /, **more: str) -> Cookies:
        """The cookies with these values instead of all values of their names: at the place of the first, else at the
        end.

        ValueError for a name or a value that RFC 6265 does not allow.
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
        """The cookies without these names."""
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

    max_age: seconds; None: until the browser closes; 0: the cookie is removed. domain: "" is the host alone.
    ValueError: RFC 6265 does not allow the name or a value.
    """
    parts = [f"{name}={_checked(name, value)}"]
    if max_age is not None:
        parts.append(f"Max-Age={int(max_age)}")
    for attribute, text in (("Path", path), ("Domain", domain)):
        if not _ATTRIBUTE.fullmatch(text):
            raise ValueError(
                f"cookie {name!r}: expected {attribute} of visible ASCII without semicolons, got {text!r:.60}"
            )
        parts += [f"{attribute}={text}"] * bool(text)
    parts += ["Secure"] * secure + ["HttpOnly"] * http_only + [f"SameSite={same_site}"]
    return "; ".join(parts)


def _of(pairs: list[tuple[str, str]]) -> Cookies:
    cookies = Cookies()
    cookies._pairs = pairs
    return cookies


def _read(part: str) -> tuple[str, str]:
    """Name and value of a cookie. One without "=" has no name (RFC 6265bis, 5.6)."""
    name, equals, value = part.partition("=")
    return (name.rstrip(" \t"), value.lstrip(" \t")) if equals else ("", name)


def _checked(name: str, value: str) -> str:
    """Returns the value if name and value are valid. No error quotes the value."""
    if not TOKEN.fullmatch(name):
        raise ValueError(f"cookie {name!r:.60}: expected a name of letters, digits and !#$%&'*+-.^_`|~")
    if not _VALUE.fullmatch(value):
        expected = "a value of visible ASCII without spaces, quotes, commas, semicolons and backslashes"
        raise ValueError(
            f"cookie {name!r:.60}: expected {expected}; encode it, for instance by base64.urlsafe_b64encode"
        )
    return value
