"""Executions into contexts, and what a policy returned into Actions: proto ↔ SDK.

What a policy returns is checked here; anything but an action that its contract allows is a PolicyError.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from sdk.metadata import checked_json
from sdk.policy import (
    FailureClass,
    HeaderValue,
    ImmediateResponse,
    Metadata,
    RequestContext,
    ResponseContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
)

from gatewright_executor import wire
from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.failure import Failure, PolicyError
from gatewright_executor.instance import Instance

MAX_BODY_BYTES = 60 << 20  # what a message of 64 MiB holds, with room for the rest of the action

_ACTION = wire.keys(pb.Action)
_IMMEDIATE = wire.keys(pb.ImmediateResponse)
_CLASSES = {
    FailureClass.TIMEOUT: pb.FAILURE_CLASS_TIMEOUT,
    FailureClass.OVERLOADED: pb.FAILURE_CLASS_OVERLOADED,
    FailureClass.UNAVAILABLE: pb.FAILURE_CLASS_UNAVAILABLE,
    FailureClass.CRASHED: pb.FAILURE_CLASS_CRASHED,
    FailureClass.EXCEPTION: pb.FAILURE_CLASS_EXCEPTION,
    FailureClass.BAD_ACTION: pb.FAILURE_CLASS_BAD_ACTION,
    FailureClass.BODY_TOO_LARGE: pb.FAILURE_CLASS_BODY_TOO_LARGE,
}


# ------------------------------------------------------------------ what a policy is given


def request_context(execution: pb.Execution, instance: Instance, deadline: float) -> RequestContext:
    """The context of on_request. It reads the execution's bytes when it is asked."""
    body = execution.request_body if execution.HasField("request_body") else None
    metadata = Metadata(execution.metadata, instance.key)
    return RequestContext(execution, body, metadata, instance.about, instance.prepared, deadline)


def response_context(execution: pb.Execution, instance: Instance, deadline: float) -> ResponseContext:
    """The context of on_response, with the request as it went upstream."""
    body = execution.response_body if execution.HasField("response_body") else None
    return ResponseContext(execution, body, request_context(execution, instance, deadline))


# ------------------------------------------------------------------ what a policy returned


def encode_action(number: int, phase: int, returned: object, metadata: Metadata) -> bytes:
    """An Action, serialized. PolicyError where `returned` is none that the phase allows."""
    out = [_ACTION["id"], wire.varint(number)]
    if returned is not None:
        _encode_returned(out, phase, returned)
    if metadata.changed:
        _encode_metadata(out, metadata)
    return b"".join(out)


def encode_failure(number: int, failure: Failure) -> bytes:
    """An Action that says why there is none."""
    return pb.Action(id=number, failure=failure_message(failure)).SerializeToString()


def failure_message(failure: Failure) -> pb.Failure:
    """A policy may raise any text: what is not Unicode is escaped, for this field is a proto3 string."""
    return pb.Failure(
        failure_class=_CLASSES[failure.failure_class],
        message=failure.message.encode("utf-8", "backslashreplace").decode(),
        policy=failure.policy,
        hook=failure.hook,
    )


def _encode_returned(out: list[bytes], phase: int, returned: object) -> None:
    if isinstance(returned, UpstreamRequestModifications) and phase == pb.PHASE_REQUEST:
        _encode_modifications(out, returned)
        _encode_target(out, returned)
    elif isinstance(returned, UpstreamResponseModifications) and phase == pb.PHASE_RESPONSE:
        _encode_modifications(out, returned)
        if returned.status_code is not None:
            out += _ACTION["status_code"], wire.varint(_status(returned.status_code))
    elif isinstance(returned, ImmediateResponse):
        _encode_immediate(out, returned)
    else:
        _refuse_returned(phase, returned)


def _encode_modifications(
    out: list[bytes], action: UpstreamRequestModifications | UpstreamResponseModifications
) -> None:
    if action.remove_headers != []:
        out.append(wire.delimited(_ACTION["remove_headers"], _names(action.remove_headers)))
    if action.set_headers != {}:
        out.append(wire.delimited(_ACTION["set_headers"], _blob("set_headers", action.set_headers)))
    if action.append_headers != {}:
        out.append(wire.delimited(_ACTION["append_headers"], _blob("append_headers", action.append_headers)))
    if action.body is not None:
        out.append(wire.delimited(_ACTION["body"], _body(action.body)))
    if action.analytics_metadata != {}:
        _encode_analytics(out, action.analytics_metadata)


def _encode_target(out: list[bytes], action: UpstreamRequestModifications) -> None:
    for name, pattern, expected in _TARGETS:
        value = getattr(action, name)
        if value is not None:
            out.append(wire.delimited(_ACTION[name], _target(name, pattern, expected, value)))


def _encode_immediate(out: list[bytes], answer: ImmediateResponse) -> None:
    fields = [_IMMEDIATE["status_code"], wire.varint(_status(answer.status_code))]
    if answer.headers != {}:
        fields.append(wire.delimited(_IMMEDIATE["headers"], _blob("headers", answer.headers)))
    if answer.body != b"":
        fields.append(wire.delimited(_IMMEDIATE["body"], _body(answer.body)))
    out.append(wire.delimited(_ACTION["immediate_response"], b"".join(fields)))
    if answer.analytics_metadata != {}:
        _encode_analytics(out, answer.analytics_metadata)


def _encode_analytics(out: list[bytes], values: object) -> None:
    if not isinstance(values, Mapping):
        _refuse("analytics_metadata", "a dict of JSON values", values)
    try:
        checked = checked_json(dict(values), "analytics_metadata")
    except (TypeError, ValueError) as error:
        raise PolicyError(str(error)) from None
    out.append(wire.delimited(_ACTION["analytics_metadata"], _json(checked)))


def _encode_metadata(out: list[bytes], metadata: Metadata) -> None:
    written, removed = metadata.changes()
    if written:
        out.append(wire.delimited(_ACTION["metadata_set"], _json(written)))
    out += (wire.delimited(_ACTION["metadata_removed"], key.encode()) for key in removed)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


# ------------------------------------------------------------------ headers

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONNECTIONS = "it belongs to one connection (RFC 9110, 7.6.1)"
_REFUSED_NAMES = {  # as in the engine, which checks Go policies by the same list
    **dict.fromkeys(
        ("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"), _CONNECTIONS
    ),
    "upgrade": _CONNECTIONS,
    "content-length": "the gateway computes it from the body",
    "host": "use authority",
}
_KNOWN_NAMES: dict[str, bytes] = {}  # checked ones, lower-cased and with their NUL: policies use few names, many times
_MAX_KNOWN_NAMES = 4096


def _blob(where: str, headers: object) -> bytes:
    if not isinstance(headers, Mapping):
        _refuse(where, "a dict of header names and values", headers)
    out: list[bytes] = []
    for name, value in headers.items():
        key = _KNOWN_NAMES.get(name) or _name(where, name)
        for one in _values(where, name, value):
            out += key, _value(where, name, one), b"\0"
    return b"".join(out)


def _names(names: object) -> bytes:
    if not isinstance(names, list | tuple | set | frozenset):
        _refuse("remove_headers", "a list of header names", names)
    return b"".join(_known(name) or _name("remove_headers", name) for name in names)


def _known(name: object) -> bytes | None:
    return _KNOWN_NAMES.get(name) if isinstance(name, str) else None


def _name(where: str, name: object) -> bytes:
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        cure = "a path, a method and the like have fields of their own" if str(name).startswith(":") else ""
        _refuse(where, "a header name (RFC 9110: letters, digits and !#$%&'*+-.^_`|~)", name, cure)
    lower = name.lower()
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
        raw = _encode(f"{where}[{name!r}]", value)
    elif isinstance(value, bytes):
        raw = value
    else:
        _refuse(f"{where}[{name!r}]", "str or bytes as value", value)
    if b"\r" in raw or b"\n" in raw or b"\0" in raw:
        _refuse(f"{where}[{name!r}]", "a value without CR, LF and NUL", value)
    return raw


# ------------------------------------------------------------------ the rest of an action

_TARGETS = (
    ("path", re.compile(r"/[^?#\s\x00-\x20\x7f]*"), 'a path like "/a/b", without query, fragment, spaces and controls'),
    ("query", re.compile(r"[^#\s\x00-\x20\x7f]*"), 'a query like "a=b", without fragment, spaces and controls'),
    ("method", _TOKEN, 'a method like "GET"'),
    ("authority", re.compile(r"[^/?#@\s\x00-\x20\x7f]+"), 'a host like "api.example.com:8080"'),
)


def _target(name: str, pattern: re.Pattern[str], expected: str, value: object) -> bytes:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        _refuse(name, expected, value)
    return _encode(name, value)


def _status(status: object) -> int:
    if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
        _refuse("status_code", "an int from 200 to 599", status)
    return int(status)


def _body(body: object) -> bytes:
    if isinstance(body, str):
        body = _encode("body", body)
    if not isinstance(body, bytes):
        _refuse("body", "bytes or str", body)
    if len(body) > MAX_BODY_BYTES:
        raise PolicyError(f"body: expected at most {MAX_BODY_BYTES} bytes, got {len(body)}")
    return body


def _encode(where: str, value: str) -> bytes:
    try:
        return value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        _refuse(where, "text that UTF-8 can carry", value)


def _refuse(where: str, expected: str, got: object, cure: str = "") -> NoReturn:
    raise PolicyError(f"{where}: expected {expected}, got {_got(got)}" + (f"; {cure}" if cure else ""))


def _got(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} {value!r:.80}"


_EXPECTED: dict[int, str] = {
    pb.PHASE_REQUEST: "on_request to return UpstreamRequestModifications, ImmediateResponse or None",
    pb.PHASE_RESPONSE: "on_response to return UpstreamResponseModifications, ImmediateResponse or None",
}


def _refuse_returned(phase: int, returned: object) -> NoReturn:
    got, cure = _got(returned), ""
    if hasattr(returned, "__await__"):
        got, cure = f"a {type(returned).__name__}", "; write `async def`, or await it"
        if hasattr(returned, "close"):
            returned.close()  # or Python warns that it was never awaited
    raise PolicyError(f"expected {_EXPECTED[phase]}, got {got}{cure}")
