"""Messages of MCP's clients: requests, notifications and answers of JSON-RPC, alone or in a batch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gatewright.mcp.strict_json import AmbiguousJsonError, parse_strictly

Json: TypeAlias = dict[str, Any]
Kind = Literal["request", "notification", "response"]
TargetKind = Literal["tool", "prompt", "resource"]
RequestId: TypeAlias = int | str

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
RESOURCE_NOT_FOUND = -32002
HEADER_MISMATCH = -32020
UNSUPPORTED_PROTOCOL_VERSION = -32022

METHODS = frozenset(
    {
        *("initialize", "ping", "server/discover", "subscriptions/listen", "logging/setLevel", "completion/complete"),
        *("tools/list", "tools/call", "prompts/list", "prompts/get"),
        *("resources/list", "resources/templates/list", "resources/read"),
        *("resources/subscribe", "resources/unsubscribe"),
        *("tasks/get", "tasks/list", "tasks/result", "tasks/cancel"),
        *("notifications/initialized", "notifications/cancelled", "notifications/progress"),
        *("notifications/roots/list_changed", "notifications/tasks/status"),
    }
)
"""What clients send, by the revisions 2024-11-05 to 2026-07-28."""
LISTS: Mapping[str, str] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
}
"""The methods that list something, each with the member of its result that has the items."""
_TARGETS: Mapping[str, tuple[TargetKind, str]] = {
    "tools/call": ("tool", "name"),
    "prompts/get": ("prompt", "name"),
    "resources/read": ("resource", "uri"),
    "resources/subscribe": ("resource", "uri"),
    "resources/unsubscribe": ("resource", "uri"),
}
_REFERENCES: Mapping[str, tuple[TargetKind, str]] = {
    "ref/prompt": ("prompt", "name"),
    "ref/resource": ("resource", "uri"),
}
_MEMBERS = {"jsonrpc", "id", "method", "params", "result", "error"}
_PARAMS = {"name", "uri", "ref", "arguments", "cursor", "notifications", "_meta"}
_REF = {"type", "name", "uri"}
_LISTEN = {"resourceSubscriptions"}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_NAME = 1024
"""The most characters of a name, a URI, a method or an id."""
MAX_ID = 1 << 53
"""The largest integer that all parsers of JSON read exactly."""
MAX_BATCH = 100


@dataclass(frozen=True, slots=True)
class Target:
    """What a message is about: a tool, a prompt, or a resource by its URI."""

    kind: TargetKind
    name: str


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a client's."""

    kind: Kind
    method: str
    """"" for an answer to a request of the server's."""
    id: RequestId | None
    """None for a notification."""
    params: Mapping[str, Any]
    targets: tuple[Target, ...]
    """The tool that it calls, the prompt or the resource that it reads; `subscriptions/listen` may name several."""

    @property
    def lists(self) -> str:
        """The member of its result that has what it lists: `tools`; "" if it lists nothing."""
        return LISTS.get(self.method, "")


@dataclass(frozen=True, slots=True)
class Messages:
    """What one POST has."""

    messages: tuple[Message, ...]
    is_batch: bool

    @property
    def requests(self) -> tuple[Message, ...]:
        """Those that the server answers."""
        return tuple(message for message in self.messages if message.kind == "request")


@dataclass(frozen=True, slots=True)
class Malformed:
    """A body that is no message of MCP, or one that parsers may read differently."""

    code: int
    """Of JSON-RPC: PARSE_ERROR, INVALID_REQUEST or INVALID_PARAMS."""
    detail: str
    status: int = 400
    """Of HTTP."""


class _MalformedError(Exception):
    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def read_messages(body: bytes, content_type: str | Sequence[str]) -> Messages | Malformed:
    """The messages of a POST's body, or why they are none. It raises nothing for what a client sends.

    content_type: the header's value, or all its lines: `ctx.headers.get_all("content-type")`.
    """
    lines = [content_type] if isinstance(content_type, str) else list(content_type)
    if len(lines) != 1 or not _is_json(lines[0]):
        shown = ", ".join(lines)[:100] or "none"
        return Malformed(INVALID_REQUEST, f"expected the content type application/json, got {shown}", 415)
    try:
        document = parse_strictly(body)
    except AmbiguousJsonError as error:
        return Malformed(PARSE_ERROR, str(error))
    try:
        if not isinstance(document, list):
            return Messages((_message(document),), is_batch=False)
        if not 1 <= len(document) <= MAX_BATCH:
            raise _MalformedError(INVALID_REQUEST, f"expected 1 to {MAX_BATCH} messages, got {len(document)}")
        messages = tuple(map(_message, document))
        ids = [message.id for message in messages if message.kind == "request"]
        if len(set(ids)) != len(ids):
            raise _MalformedError(INVALID_REQUEST, "expected an id of its own for each request of a batch")
        return Messages(messages, is_batch=True)
    except _MalformedError as error:
        return Malformed(error.code, str(error))


def _is_json(content_type: str) -> bool:
    media_type, _, rest = content_type.partition(";")
    charset = rest.strip().lower().replace('"', "")
    return media_type.strip().lower() == "application/json" and charset in ("", "charset=utf-8", "charset=utf8")


def _message(document: Any) -> Message:
    if not isinstance(document, dict) or document.get("jsonrpc") != "2.0":
        raise _MalformedError(INVALID_REQUEST, "expected an object with jsonrpc 2.0")
    _check_names(document, _MEMBERS, "the message")
    if "method" not in document:
        return _response(document)
    if "result" in document or "error" in document:
        raise _MalformedError(INVALID_REQUEST, "expected a request or an answer, got a message that is both")
    method = _text(document["method"], "method")
    params = document.get("params", {})
    if not isinstance(params, dict):
        raise _MalformedError(INVALID_PARAMS, "params: expected an object")
    _check_names(params, _PARAMS, "params")
    number = _id(document["id"]) if "id" in document else None
    kind: Kind = "notification" if number is None else "request"
    return Message(kind, method, number, params, tuple(_targets(method, params)))


def _response(document: Json) -> Message:
    if ("result" in document) == ("error" in document) or "id" not in document:
        raise _MalformedError(INVALID_REQUEST, "expected a method, or an id with one of result and error")
    return Message("response", "", _id(document["id"]), {}, ())


def _targets(method: str, params: Json) -> Iterator[Target]:
    if method in _TARGETS:
        kind, member = _TARGETS[method]
        yield Target(kind, _text(params.get(member), f"params.{member}"))
    elif method == "completion/complete":
        ref = params.get("ref")
        reference = ref.get("type") if isinstance(ref, dict) else None
        if not isinstance(ref, dict) or not isinstance(reference, str) or reference not in _REFERENCES:
            raise _MalformedError(INVALID_PARAMS, "params.ref: expected a type of ref/prompt or ref/resource")
        _check_names(ref, _REF, "params.ref")
        kind, member = _REFERENCES[reference]
        yield Target(kind, _text(ref.get(member), f"params.ref.{member}"))
    elif method == "subscriptions/listen":
        wanted = params.get("notifications", {})
        if not isinstance(wanted, dict):
            raise _MalformedError(INVALID_PARAMS, "params.notifications: expected an object")
        _check_names(wanted, _LISTEN, "params.notifications")
        uris = wanted.get("resourceSubscriptions") or []
        if not isinstance(uris, list):
            raise _MalformedError(INVALID_PARAMS, "params.notifications.resourceSubscriptions: expected an array")
        for uri in uris:
            yield Target("resource", _text(uri, "params.notifications.resourceSubscriptions"))


def _check_names(holder: Json, known: set[str], where: str) -> None:
    """Refuses another spelling of a known name: some servers read names without regard to case."""
    folded = {name.casefold() for name in known}
    for name in holder:
        if name not in known and name.casefold() in folded:
            raise _MalformedError(INVALID_REQUEST, f"{where}: expected {name.casefold()[:100]} in its own spelling")


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME or _CONTROL.search(value):
        raise _MalformedError(INVALID_PARAMS, f"{where}: expected 1 to {MAX_NAME} characters, none of control")
    return value


def _id(value: Any) -> RequestId:
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID
    if is_number or (isinstance(value, str) and len(value) <= MAX_NAME):
        return value  # type: ignore[no-any-return]
    raise _MalformedError(INVALID_REQUEST, f"id: expected an integer up to 2^53, or at most {MAX_NAME} characters")


def error_message(number: RequestId | None, code: int, text: str, data: Json | None = None) -> Json:
    """An error of JSON-RPC, for the request of this id; None: for none. data: for programs."""
    error = {"code": code, "message": text}
    return {"jsonrpc": "2.0", "id": number, "error": error if data is None else error | {"data": data}}
