"""Checks of the actions that policies return. The gateway uses them, and so does `gatewright.testing`.

Each check returns the value as the bytes that the gateway sends, or raises ActionError: expected, got, the cure.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NoReturn

from gatewright.header_rules import (
    MAX_HEADER_BYTES,
    MAX_HEADER_LINES,
    TOKEN,
    ActionError,
    check_size,
    encode,
    header_blob,
    header_names,
    refuse,
    shown,
)
from gatewright.metadata import checked_json
from gatewright.policy import (
    Attempt,
    ImmediateResponse,
    Reject,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

__all__ = [
    "ASKED_TWICE",
    "ITERATED_AGAIN",
    "MAX_BODY_BYTES",
    "MAX_HEADER_BYTES",
    "MAX_HEADER_LINES",
    "MAX_TARGET_BYTES",
    "TARGETS",
    "ActionError",
    "analytics",
    "attempt",
    "attempts",
    "body",
    "check",
    "chunk",
    "header_blob",
    "header_names",
    "refuse_returned",
    "rejection",
    "status",
    "stream",
    "target",
]

ITERATED_AGAIN = "expected chunks to be iterated once, got a loop after its end; keep what is needed again in a list"
ASKED_TWICE = "expected one task to ask for the next chunk, got a second one while the first waits"
"""The texts of the RuntimeErrors that a stream's `chunks` raise."""
MAX_BODY_BYTES = 60 << 20  # what a message of 64 MiB holds, with room for the rest of the action
MAX_TARGET_BYTES = 32 << 10  # of path, query and authority, each


def check(hook: str, returned: object) -> None:
    """Raises ActionError where the gateway would refuse what on_request or on_response has returned.

    Three rules are not checked here, since they need the API or the whole message: the path stays under the API's
    context, the upstream is one of the API's, and a message has at most MAX_HEADER_LINES and MAX_HEADER_BYTES of
    headers, including those that it came with.
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
            refuse("headers", "a header that policies can change", name, "x-envoy-* steers the proxy")
    for name in TARGETS:
        if getattr(action, name) is not None:
            target(name, getattr(action, name))
    for tried in attempts(action):
        attempt(tried)


def _check_modifications(action: UpstreamRequestModifications | UpstreamResponseModifications) -> None:
    header_names(action.remove_headers)
    check_size(header_blob("set_headers", action.set_headers) + header_blob("append_headers", action.append_headers))
    if action.body is not None:
        body(action.body)
    analytics(action.analytics_metadata)


def _check_immediate(answer: ImmediateResponse) -> None:
    status(answer.status_code)
    check_size(header_blob("headers", answer.headers))
    body(answer.body)
    analytics(answer.analytics_metadata)


# ------------------------------------------------------------------ the rest of an action

_ENCODED = r"%(?!00)[0-9A-Fa-f]{2}"
_SEGMENT = rf"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@\[\]]|{_ENCODED})+"  # RFC 3986, 3.3, and brackets, which Envoy lets in
_SLASH = r"(?:/|%2[fF]|%5[cC])"
_BLANK = r"(?:%[01][0-9A-Fa-f]|%20|%7[fF])*"  # some upstreams remove these
_DOT_SEGMENT = re.compile(rf"{_SLASH}{_BLANK}(?:\.|%2[eE]){{1,2}}{_BLANK}(?:;|%3[bB]|{_SLASH}|$)")
TARGETS = {
    "path": (re.compile(rf"/|(?:/{_SEGMENT})+/?"), 'a path like "/a/b%20c": no query, all but pchar percent-encoded'),
    "query": (re.compile(r"[!\"$-~]*"), 'a query like "a=b%20c", of ASCII without fragment, spaces and controls'),
    "method": (re.compile(rf"(?!CONNECT$)(?:{TOKEN.pattern})", re.IGNORECASE), 'a method like "GET", but CONNECT'),
    "authority": (re.compile(r"[!$%&'()*+\-.0-:=A-Z\[\]_a-z~]+"), 'a host like "api.example.com:8080"'),
    "upstream": (
        re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"),
        'the name of an upstream of the API, like "canary"',
    ),
}
"""The fields of UpstreamRequestModifications that say where a request goes, each with its pattern and its form."""


def target(name: str, value: object) -> bytes:
    """The value of a field of TARGETS, as bytes."""
    pattern, expected = TARGETS[name]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        refuse(name, expected, value)
    if name == "path" and _DOT_SEGMENT.search(value):
        refuse(name, "no dot segments", value)
    if len(value) > MAX_TARGET_BYTES and name != "method":
        raise ActionError(f"{name}: expected at most {MAX_TARGET_BYTES} bytes, got {len(value)}")
    return value.encode()


MAX_ATTEMPTS = 8


def attempts(action: UpstreamRequestModifications) -> Sequence[Attempt]:
    """The attempts of an action, each an Attempt and at another upstream."""
    listed: object = action.attempts
    if not isinstance(listed, list | tuple) or not all(isinstance(tried, Attempt) for tried in listed):
        refuse("attempts", "a list of Attempt", listed)
    if listed and action.upstream is not None:
        raise ActionError("attempts: expected either upstream or attempts, got both")
    if len(listed) > MAX_ATTEMPTS:
        raise ActionError(f"attempts: expected at most {MAX_ATTEMPTS}, got {len(listed)}")
    names = [tried.upstream for tried in listed]
    for name in names:
        if names.count(name) > 1:
            refuse("attempts", "each upstream once", name)
    return listed


def attempt(tried: Attempt) -> tuple[bytes, bytes, bytes | None, bytes | None]:
    """Upstream, headers, path and body of an attempt, as bytes."""
    for name in tried.set_headers:
        if name.lower().startswith("x-envoy-"):
            refuse("attempts.set_headers", "a header that policies can change", name, "x-envoy-* steers the proxy")
    headers = header_blob("attempts.set_headers", tried.set_headers)
    check_size(headers)
    content = None if tried.body is None else body(tried.body)
    for name, octets in (("set_headers", headers), ("body", content or b"")):
        try:
            octets.decode()
        except UnicodeDecodeError:
            raise ActionError(f"attempts.{name}: expected UTF-8, got other bytes") from None
    path = None if tried.path is None else target("path", tried.path)
    return target("upstream", tried.upstream), headers, path, content


def status(code: object) -> int:
    """An HTTP status code."""
    if not isinstance(code, int) or isinstance(code, bool) or not 200 <= code <= 599:
        refuse("status_code", "an int from 200 to 599", code)
    return int(code)


def body(content: object) -> bytes:
    """A body as bytes; str is encoded as UTF-8."""
    if isinstance(content, str):
        content = encode("body", content)
    if not isinstance(content, bytes):
        refuse("body", "bytes or str", content)
    if len(content) > MAX_BODY_BYTES:
        raise ActionError(f"body: expected at most {MAX_BODY_BYTES} bytes, got {len(content)}")
    return content


def chunk(yielded: object) -> bytes:
    """A chunk that a stream has yielded, as bytes; str is encoded as UTF-8."""
    if type(yielded) is bytes:
        return yielded
    if isinstance(yielded, str):
        return encode("chunk", yielded)
    if not isinstance(yielded, bytes | bytearray | memoryview):
        refuse("chunk", "on_request_stream or on_response_stream to yield bytes or str", yielded)
    return bytes(yielded)


def analytics(values: object, name: str = "analytics_metadata") -> dict[str, Any]:
    """A read-only copy of JSON values by their names. name: of the values, in errors."""
    if not isinstance(values, Mapping):
        refuse(name, "a dict of JSON values", values)
    try:
        copy: dict[str, Any] = checked_json(dict(values), name)
    except (TypeError, ValueError) as error:
        raise ActionError(str(error)) from None
    return copy


def stream_analytics(values: Mapping[str, object] | None) -> dict[str, Any]:
    """A read-only copy of what a stream leaves for the access log. values: its `ctx.analytics`, None if it has none."""
    return analytics(values, "ctx.analytics") if values else {}


def stream(hook: str, returned: object) -> AsyncGenerator[object, None]:
    """Checks that on_request_stream or on_response_stream returned an async generator, and returns that."""
    if not isinstance(returned, AsyncGenerator):
        refuse_returned(hook, returned)
    return returned


def rejection(error: Reject) -> ImmediateResponse:
    """The checked response of a stream's Reject."""
    answer: object = error.response
    if not isinstance(answer, ImmediateResponse):
        refuse("Reject", "an ImmediateResponse", answer)
    _check_immediate(answer)
    return answer


_STREAM = "to be an async generator: `async def` with a `yield`"
_EXPECTED = {
    "on_request_stream": f"on_request_stream {_STREAM}",
    "on_response_stream": f"on_response_stream {_STREAM}",
    "on_request": "on_request to return UpstreamRequestModifications, ImmediateResponse or None",
    "on_response": "on_response to return UpstreamResponseModifications, ImmediateResponse or None",
}


def refuse_returned(hook: str, returned: object) -> NoReturn:
    """Raises ActionError: not an action, or not one of this hook's."""
    got, cure = shown(returned), ""
    if hasattr(returned, "__await__"):
        got, cure = (
            f"a {type(returned).__name__}",
            "; write a `yield` in it" if hook.endswith("_stream") else "; write `async def`, or await it",
        )
        if hasattr(returned, "close"):
            returned.close()  # or Python warns that it was never awaited
    raise ActionError(f"expected {_EXPECTED[hook]}, got {got}{cure}")
