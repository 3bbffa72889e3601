"""What an action may hold, checked as the gateway does when a policy has returned it.

`gatewright.testing` checks by it too.
Each check answers the value as bytes of the gateway's own, or raises ActionError: expected, got, the cure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

from gatewright.metadata import checked_json
from gatewright.policy import (
    HeaderValue,
    ImmediateResponse,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

MAX_BODY_BYTES = 60 << 20  # what a message of 64 MiB holds, with room for the rest of the action
MAX_TARGET_BYTES = 32 << 10  # of path, query and authority, each
MAX_HEADER_LINES, MAX_HEADER_BYTES = 200, 128 << 10  # of a message that policies have changed or made


class ActionError(ValueError):
    """The gateway would not take it: the failure class badAction."""


def check(hook: str, returned: object) -> None:
    """Raises ActionError where the gateway would refuse what on_request or on_response has returned.

    Two things it does not see: a path must stay under the API's context, which is the API's to say; and a message may
    have MAX_HEADER_LINES and MAX_HEADER_BYTES of headers, those that it came with included.
    """
    if isinstance(returned, ImmediateResponse):
        _check_immediate(returned)
    elif isinstance(returned, UpstreamRequestModifications) and hook == "on_request":
        _check_request(returned)
    elif isinstance(returned, UpstreamResponseModifications) and hook == "on_response":
        _check_modifications(returned)
        if returned.status_code is not None:
            status(returned.status_code)
    elif returned is not None:
        refuse_returned(hook, returned)


def _check_request(action: UpstreamRequestModifications) -> None:
    _check_modifications(action)
    for name in (*action.remove_headers, *action.set_headers, *action.append_headers):
        if name.lower().startswith("x-envoy-"):
            _refuse("headers", "a header that policies can change", name, "x-envoy-* steers the proxy")
    for name in TARGETS:
        if getattr(action, name) is not None:
            target(name, getattr(action, name))


def _check_modifications(action: UpstreamRequestModifications | UpstreamResponseModifications) -> None:
    header_names(action.remove_headers)
    _check_size(header_blob("set_headers", action.set_headers) + header_blob("append_headers", action.append_headers))
    if action.body is not None:
        body(action.body)
    analytics(action.analytics_metadata)


def _check_immediate(answer: ImmediateResponse) -> None:
    status(answer.status_code)
    _check_size(header_blob("headers", answer.headers))
    body(answer.body)
    analytics(answer.analytics_metadata)


# ------------------------------------------------------------------ headers

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # RFC 9110, 5.5; Envoy fails the exchange, and says nothing
_CONNECTIONS = "it belongs to one connection (RFC 9110, 7.6.1)"
_REFUSED_NAMES = {  # the engine has the same list, for Go policies
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"), _CONNECTIONS
    ),
    "upgrade": _CONNECTIONS,
    "content-length": "the gateway computes it from the body",
    "host": "use authority",
}
_KNOWN_NAMES: dict[str, bytes] = {}  # checked ones, lower-cased and with their NUL: policies use few names, many times
_MAX_KNOWN_NAMES = 4096


def header_blob(where: str, headers: object) -> bytes:
    """Headers as gatewright.headers reads them: each name and each value with a NUL behind it."""
    if type(headers) is not dict and not isinstance(headers, Mapping):  # to ask for a Mapping takes longer
        _refuse(where, "a dict of header names and values", headers)
    out: list[bytes] = []
    for name, value in headers.items():
        key = _KNOWN_NAMES.get(name) or _name(where, name)
        if type(value) is str and value.isascii() and value.isprintable():  # as most are: no control in it
            out += key, value.encode(), b"\0"
            continue
        for one in _values(where, name, value):
            out += key, _value(where, name, one), b"\0"
    return b"".join(out)


def _check_size(blob: bytes) -> None:
    """Of all headers of an action: each name and each value has a NUL behind it."""
    nuls = blob.count(b"\0")
    if nuls > 2 * MAX_HEADER_LINES:
        raise ActionError(f"headers: expected at most {MAX_HEADER_LINES} header lines, got {nuls // 2}")
    if len(blob) - nuls > MAX_HEADER_BYTES:
        raise ActionError(f"headers: expected at most {MAX_HEADER_BYTES} bytes of headers, got {len(blob) - nuls}")


def header_names(names: object) -> bytes:
    """Names for remove_headers, each with a NUL behind it."""
    if type(names) is not list and not isinstance(names, list | tuple | set | frozenset):  # a union takes time to make
        _refuse("remove_headers", "a list of header names", names)
    known = _KNOWN_NAMES
    return b"".join(
        [(known.get(name) if type(name) is str else None) or _name("remove_headers", name) for name in names]
    )


def _name(where: str, name: object) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        cure = "a path, a method and the like have fields of their own" if str(name).startswith(":") else ""
        _refuse(where, "a header name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~)", name, cure)
    lower = name.lower()
    if lower.startswith("x-gatewright-"):
        _refuse(where, "a header that policies can change", name, "x-gatewright-* is the gateway's own")
    if lower in _REFUSED_NAMES:
        _refuse(where, "a header that policies can change", name, _REFUSED_NAMES[lower])
    if len(_KNOWN_NAMES) >= _MAX_KNOWN_NAMES:
        _KNOWN_NAMES.clear()
    raw = _KNOWN_NAMES[name] = lower.encode() + b"\0"
    return raw


def _values(where: str, name: str, value: HeaderValue) -> list[object] | tuple[object, ...]:
    if isinstance(value, str | bytes):
        return (value,)
    if not isinstance(value, list | tuple) or not value:
        cure = "to take a header away, name it in remove_headers" if value in (None, [], ()) else ""
        _refuse(f"{where}[{name!r}]", "str, bytes or a list of them", value, cure)
    return value


def _value(where: str, name: str, value: object) -> bytes:
    if isinstance(value, str):
        raw = value.encode() if value.isascii() else _encode(f"{where}[{name!r}]", value)
    elif isinstance(value, bytes):
        raw = value
    else:
        _refuse(f"{where}[{name!r}]", "str or bytes as value", value)
    if _CONTROL.search(raw):
        _refuse(f"{where}[{name!r}]", "a value without control characters, but tabs", value)
    return raw


# ------------------------------------------------------------------ the rest of an action

_ENCODED = r"%(?!00)[0-9A-Fa-f]{2}"
_SEGMENT = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]]|{_ENCODED})+"  # RFC 3986, 3.3, and brackets, which Envoy lets in
_SLASH = r"(?:/|%2[fF]|%5[cC])"
_BLANK = r"(?:%[01][0-9A-Fa-f]|%20|%7[fF])*"  # which some upstreams take away
_DOT_SEGMENT = re.compile(rf"{_SLASH}{_BLANK}(?:\.|%2[eE]){{1,2}}{_BLANK}(?:;|%3[bB]|{_SLASH}|$)")
TARGETS = {
    "path": (re.compile(rf"/|(?:/{_SEGMENT})+/?"), 'a path like "/a/b%20c": no query, all but pchar percent-encoded'),
    "query": (re.compile(r"[!\"$-~]*"), 'a query like "a=b%20c", of ASCII without fragment, spaces and controls'),
    "method": (re.compile(rf"(?!CONNECT$)(?:{_TOKEN.pattern})", re.IGNORECASE), 'a method like "GET", but CONNECT'),
    "authority": (re.compile(r"[!$%&'()*+\-.0-:=A-Z\[\]_a-z~]+"), 'a host like "api.example.com:8080"'),
}
"""The fields of UpstreamRequestModifications that say where a request goes: what each has to look like."""


def target(name: str, value: object) -> bytes:
    """One of TARGETS."""
    pattern, expected = TARGETS[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _refuse(name, expected, value)
    if name == "path" and _DOT_SEGMENT.search(value):
        _refuse(name, "no dot segments", value)
    if len(value) > MAX_TARGET_BYTES and name != "method":
        raise ActionError(f"{name}: expected at most {MAX_TARGET_BYTES} bytes, got {len(value)}")
    return value.encode()


def status(code: object) -> int:
    """An HTTP status code."""
    if not isinstance(code, int) or isinstance(code, bool) or not 200 <= code <= 599:
        _refuse("status_code", "an int from 200 to 599", code)
    return int(code)


def body(content: object) -> bytes:
    """A body; str goes out as UTF-8."""
    if isinstance(content, str):
        content = _encode("body", content)
    if not isinstance(content, bytes):
        _refuse("body", "bytes or str", content)
    if len(content) > MAX_BODY_BYTES:
        raise ActionError(f"body: expected at most {MAX_BODY_BYTES} bytes, got {len(content)}")
    return content


def analytics(values: object) -> dict[str, Any]:
    """A read-only copy of JSON values by their names."""
    if not isinstance(values, Mapping):
        _refuse("analytics_metadata", "a dict of JSON values", values)
    try:
        copy: dict[str, Any] = checked_json(dict(values), "analytics_metadata")
    except (TypeError, ValueError) as error:
        raise ActionError(str(error)) from None
    return copy


def _encode(where: str, value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        _refuse(where, "text that UTF-8 can carry", value)


def _refuse(where: str, expected: str, got: object, cure: str = "") -> NoReturn:
    raise ActionError(f"{where}: expected {expected}, got {_got(got)}" + (f"; {cure}" if cure else ""))


def _got(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.80}"


_EXPECTED = {
    "on_request": "on_request to return UpstreamRequestModifications, ImmediateResponse or None",
    "on_response": "on_response to return UpstreamResponseModifications, ImmediateResponse or None",
}


def refuse_returned(hook: str, returned: object) -> NoReturn:
    """Raises ActionError: not an action, or not one of this hook's."""
    got, cure = _got(returned), ""
    if hasattr(returned, "__await__"):
        got, cure = f"a {type(returned).__name__}", "; write `async def`, or await it"
        if hasattr(returned, "close"):
            returned.close()  # or Python warns that it was never awaited
    raise ActionError(f"expected {_EXPECTED[hook]}, got {got}{cure}")
