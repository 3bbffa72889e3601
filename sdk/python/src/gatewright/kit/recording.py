"""A recorded exchange, and its state before each execution of a policy.

docs/reference/recordings.md describes its members; `gatewright.kit.replay` reads such files.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["MARK", "VERSION", "IncompleteRecordingError", "Message", "Moment", "Recording", "RecordingError"]

VERSION = 1
MARK = "[redacted]"
"""The marker in place of a value that was taken out."""
REQUEST, RESPONSE = "request", "response"
TEXTS = ("method", "path", "query", "authority", "upstream")
CAME = ("request", "upstreamResponse")
LEFT = {REQUEST: "forwarded", RESPONSE: "response"}
JsonObject: TypeAlias = dict[str, Any]


class RecordingError(ValueError):
    """The value is no recorded exchange, or one of another version; the text says what was expected."""


class IncompleteRecordingError(ValueError):
    """The recording lacks something that the policy needs; the text names the member."""


@dataclass
class Message:
    """A request or a response between two policies, as the engine holds it.

    texts: for a request, those of TEXTS that are not "". body: in the form of a recording; None if there is none.
    """

    texts: dict[str, str] = field(default_factory=dict)
    status: int = 0
    headers: list[tuple[str, str]] = field(default_factory=list)
    trailers: list[tuple[str, str]] | None = None
    body: JsonObject | None = None

    @classmethod
    def of(cls, recorded: Mapping[str, Any]) -> Message:
        """Makes a message of one in a recording."""
        texts = {name: recorded[name] for name in TEXTS if recorded.get(name)}
        trailers = recorded.get("trailers")
        return cls(
            texts,
            recorded.get("status", 0),
            _lines(recorded.get("headers")),
            None if trailers is None else _lines(trailers),
            copy.deepcopy(recorded.get("body")),
        )

    def values(self, name: str) -> list[str]:
        """All values of a header, in order."""
        return [value for line_name, value in self.headers if line_name == name]

    def set_header(self, name: str, values: list[str] | None) -> None:
        """Sets a header like the engine: lines that remain keep their place, new ones go to the end."""
        self.headers = changed_lines(self.headers, name, values or [])

    @property
    def coding(self) -> str:
        """The content encoding of the body; "" without a body or an encoding."""
        names = [name.strip() for line in self.values("content-encoding") for name in line.split(",")]
        codings = [name for name in names if name and name.lower() != "identity"]
        return ", ".join(codings) if self.body is not None else ""


@dataclass
class Moment:
    """The state of an exchange between two executions. response: None until there is one."""

    request: Message
    response: Message | None = None
    metadata: JsonObject = field(default_factory=dict)
    analytics: JsonObject = field(default_factory=dict)

    def message(self, direction: str) -> Message:
        """The message that policies of that direction are called with."""
        if direction == REQUEST:
            return self.request
        assert self.response is not None
        return self.response

    def apply(self, change: Mapping[str, Any], direction: str, side: str = "after") -> None:
        """Sets the value that a change has for its side, `before` or `after`."""
        what, name, value = change["what"], change.get("name", ""), change.get(side)
        if what == "answer":
            if side == "after":
                self.response = Message.of(value or {})
            return
        if what in ("metadata", "analytics"):
            values = self.metadata if what == "metadata" else self.analytics
            if side in change:
                values[name] = copy.deepcopy(value)
            else:
                values.pop(name, None)
            return
        _apply(self.message(direction), what, name, value)


def _apply(message: Message, what: str, name: str, value: Any) -> None:
    if what == "header":
        message.set_header(name, value)
    elif what == "trailer":
        if message.trailers is not None:
            message.trailers = changed_lines(message.trailers, name, value or [])
    elif what == "body":
        message.body = copy.deepcopy(value)
    elif what == "status":
        message.status = int(value)
    elif value:
        message.texts[what] = value
    else:
        message.texts.pop(what, None)


def changed_lines(lines: list[tuple[str, str]], name: str, values: list[str]) -> list[tuple[str, str]]:
    """The header lines with these values for a name."""
    before = [value for line_name, value in lines if line_name == name]
    if values[: len(before)] == before:
        return [*lines, *((name, value) for value in values[len(before) :])]
    return [line for line in lines if line[0] != name] + [(name, value) for value in values]


def _lines(recorded: Any) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in recorded or []]


def direction_of(execution: Mapping[str, Any]) -> str:
    """The direction of a recorded execution: `request` or `response`."""
    phase: str = execution.get("phase", "")
    return phase.partition("_")[0]


def is_stream(execution: Mapping[str, Any]) -> bool:
    """Whether a recorded execution is a stream's."""
    return str(execution.get("phase", "")).endswith("_stream")


class Recording:
    """One recorded exchange. `exchange` is its JSON object; messages about it begin with `name`."""

    def __init__(self, exchange: JsonObject, name: str) -> None:
        self.exchange, self.name = exchange, name

    @classmethod
    def read(cls, source: str | Path | Mapping[str, Any]) -> Recording:
        """Reads a file of `gatewright record`, or copies its JSON object. Raises RecordingError, OSError."""
        if isinstance(source, Mapping):
            return cls._checked(copy.deepcopy(dict(source)), str(source.get("id", "exchange")))
        try:
            read = json.loads(Path(source).read_bytes())
        except ValueError as error:
            raise RecordingError(f"{source}: expected a recorded exchange as JSON: {error}") from None
        return cls._checked(read, str(source))

    @classmethod
    def _checked(cls, exchange: Any, name: str) -> Recording:
        if not isinstance(exchange, dict) or "version" not in exchange:
            raise RecordingError(f"{name}: expected a recorded exchange, a JSON object with `version`")
        if exchange["version"] != VERSION:
            cure = "use the SDK of the gateway that recorded it"
            raise RecordingError(
                f"{name}: expected a recording of version {VERSION}, got {exchange['version']}; {cure}"
            )
        if not isinstance(exchange.get("request"), dict):
            raise RecordingError(f"{name}: request: expected a message, got none: no policy was asked; record another")
        exchange["executions"] = [dict(execution) for execution in exchange.get("executions") or []]
        return cls(exchange, name)

    @property
    def executions(self) -> list[JsonObject]:
        """The recorded executions."""
        executions: list[JsonObject] = self.exchange["executions"]
        return executions

    def incomplete(self, member: str, expected: str, cure: str) -> IncompleteRecordingError:
        """The error for a member that lacks something."""
        return IncompleteRecordingError(f"{self.name}: {member}: expected {expected}; {cure}")

    # -------------------------------------------------------------- states

    def moment(self, direction: str, position: int) -> Moment:
        """The state of the exchange before the execution at `position`; with the number of executions, at the end.

        Its body is the recorded one; `body` checks that this is the body at that position.
        """
        now = Moment(Message.of(self.exchange["request"]))
        began = self._began(position)
        for number, execution in enumerate(self.executions[:position]):
            own = direction_of(execution)
            if own == RESPONSE and now.response is None:
                now = self._add_response(now, number)
            if execution.get("shadow") or (is_stream(execution) and _ended(execution) > began):
                continue
            for change in execution.get("changes", []):
                if change["what"] != "answer" and own == RESPONSE and now.response is None:
                    continue  # the change is to a response that is not in the recording
                now.apply(change, own)
            if execution.get("outcome") == "failed":
                now.response = self._unwind(number + 1)
        if direction == RESPONSE and now.response is None:
            now = self._add_response(now, position)
        return now

    def _began(self, position: int) -> float:
        if position < len(self.executions):
            return float(self.executions[position].get("startedMs", 0.0))
        return float("inf")

    def _add_response(self, now: Moment, position: int) -> Moment:
        """The state with the response that came, and the request as it went upstream."""
        forwarded, response = self.exchange.get("forwarded"), self.exchange.get("upstreamResponse")
        if response is None or self.exchange.get("answeredBy") == "gateway":
            now.response = self._unwind(position)
        else:
            now.response = Message.of(response)
        if forwarded is not None:
            body = now.request.body
            now.request, now.analytics = Message.of(forwarded), {}
            now.request.body = body
        return now

    def _unwind(self, position: int) -> Message | None:
        """The response before the executions from `position` on: the final one with their changes undone."""
        response = self.exchange.get("response")
        if response is None:
            return None
        now = Moment(Message(), Message.of(response))
        for execution in reversed(self.executions[position:]):
            if direction_of(execution) == RESPONSE and not execution.get("shadow"):
                for change in reversed(execution.get("changes", [])):
                    if change["what"] not in ("metadata", "analytics"):
                        now.apply(change, RESPONSE, "before")
        return now.response

    # -------------------------------------------------------------- bodies

    def body(self, direction: str, position: int, now: Moment) -> tuple[str, JsonObject | None]:
        """The member that has the body which the execution at `position` gets, and that body.

        Raises IncompleteRecordingError if a policy before streams the body, and no later member shows its result.
        """
        before = list(self._of(direction, 0, position))
        streamed = [number for number, execution in before if is_stream(execution)]
        if not streamed:
            return self._body_member(direction, before), now.message(direction).body
        for number, execution in self._of(direction, position, len(self.executions)):
            for change in execution.get("changes", []):
                if change["what"] == "body":
                    return f"executions[{number}].changes", change.get("before")
            if is_stream(execution):
                break
        else:
            if (final := self.exchange.get(LEFT[direction])) is not None:
                return f"{LEFT[direction]}.body", final.get("body")
        member = f"executions[{streamed[-1]}].stream"
        policy = self.executions[streamed[-1]].get("policy")
        cure = "record it with a chain in which no policy before this one streams the body"
        raise self.incomplete(member, f"the body that {policy} has passed on, which no recording has", cure)

    def streamed(self, direction: str, position: int) -> JsonObject | None:
        """The body that the stream at `position` has yielded; None unless it is the body that left the gateway."""
        for _, execution in self._of(direction, position + 1, len(self.executions)):
            if is_stream(execution) or any(change["what"] == "body" for change in execution.get("changes", [])):
                return None
        final = self.exchange.get(LEFT[direction]) or {}
        body: JsonObject | None = final.get("body")
        return body if self.exchange.get("outcome") == "completed" else None

    def _of(self, direction: str, first: int, last: int) -> Iterator[tuple[int, JsonObject]]:
        for number, execution in enumerate(self.executions[first:last], first):
            if direction_of(execution) == direction and not execution.get("shadow"):
                yield number, execution

    def _body_member(self, direction: str, before: list[tuple[int, JsonObject]]) -> str:
        """The member that has the body which a policy of the direction sees."""
        changed = [number for number, execution in before
                   if any(change["what"] in ("body", "answer") for change in execution.get("changes", []))]  # fmt: skip
        if changed:
            return f"executions[{changed[-1]}].changes"
        if direction == REQUEST:
            return "request.body"
        return "upstreamResponse.body" if self.exchange.get("upstreamResponse") else "response.body"

    # -------------------------------------------------------------- values that a user supplies

    def supply(self, values: Supplied) -> None:
        """Puts the values at all places from which they were taken out."""
        for name, value in values.headers.items():
            self._supply_header(name.lower(), value, REQUEST)
        for name, value in values.response_headers.items():
            self._supply_header(name.lower(), value, RESPONSE)
        if values.query is not None:
            self._supply("query", self.exchange["request"].get("query"), values.query, REQUEST)
        if values.body is not None:
            self._supply("body", self.exchange["request"].get("body"), body_of(values.body), REQUEST)
        if values.response_body is not None:
            response = self.exchange.get("upstreamResponse") or self.exchange.get("response") or {}
            self._supply("body", response.get("body"), body_of(values.response_body), RESPONSE)
        for name, value in values.metadata.items():
            for change, _ in self._changes("metadata", name):
                _replace_marked(change, value)

    def _supply_header(self, name: str, value: str, direction: str) -> None:
        for member, message in self._messages(direction):
            lines = message["headers"]
            is_marked_here = any(line[0] == name and MARK in line[1] for line in lines)
            if member in CAME and not is_marked_here:
                lines = [*(line for line in lines if line[0] != name), [name, value]]
            message["headers"] = [[name, value] if line[0] == name and MARK in line[1] else line for line in lines]
        for change, own in self._changes("header", name):
            for side in ("before", "after") if own == direction else ():
                if side in change:
                    change[side] = [value if MARK in line else line for line in change[side]]

    def _supply(self, what: str, recorded: Any, value: Any, direction: str) -> None:
        for member, message in self._messages(direction):
            if member in CAME or (message.get(what) == recorded and recorded is not None):
                message[what] = copy.deepcopy(value)
        for change, own in self._changes(what, ""):
            for side in ("before", "after"):
                if own == direction and recorded is not None and change.get(side) == recorded:
                    change[side] = copy.deepcopy(value)

    def _messages(self, direction: str) -> Iterator[tuple[str, JsonObject]]:
        for member in ("request", "forwarded") if direction == REQUEST else ("upstreamResponse", "response"):
            if (message := self.exchange.get(member)) is not None:
                message["headers"] = [list(line) for line in message.get("headers") or []]
                yield member, message

    def _changes(self, what: str, name: str) -> Iterator[tuple[JsonObject, str]]:
        for execution in self.executions:
            for change in execution.get("changes", []):
                if change["what"] == what and change.get("name", "") == name:
                    yield change, direction_of(execution)


def _replace_marked(change: JsonObject, value: Any) -> None:
    for side in ("before", "after"):
        if is_marked(change.get(side)):
            change[side] = copy.deepcopy(value)


def _ended(execution: Mapping[str, Any]) -> float:
    return float(execution.get("startedMs", 0.0)) + float(execution.get("durationMs", 0.0))


@dataclass(frozen=True)
class Supplied:
    """Values from the user for those that were taken out of the recording, and for bodies that were cut."""

    headers: Mapping[str, str] = field(default_factory=dict)
    query: str | None = None
    body: bytes | str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    response_headers: Mapping[str, str] = field(default_factory=dict)
    response_body: bytes | str | None = None


# ------------------------------------------------------------------ values


def is_marked(value: Any) -> bool:
    """Whether a value was taken out of a JSON value, at any depth."""
    if isinstance(value, str):
        return MARK in value
    if isinstance(value, Mapping):
        return any(map(is_marked, value.values()))
    return isinstance(value, list | tuple) and any(map(is_marked, value))


def body_of(content: bytes | str) -> JsonObject:
    """A whole body in the form of a recording."""
    raw = content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content
    try:
        return {"size": len(raw), "text": raw.decode()}
    except UnicodeDecodeError:
        return {"size": len(raw), "base64": base64.b64encode(raw).decode()}


def content_of(body: Mapping[str, Any], missing: Callable[[str], Exception]) -> bytes:
    """All bytes of a recorded body, without its content encoding. Raises the exception that `missing` returns for a
    description of the bytes that are there."""
    size = body.get("size", 0)
    content = beginning_of(body)
    if content is None:
        raise missing(f"nothing of {size} bytes" + (f" in {body['decoded']}" if body.get("decoded") else ""))
    if body.get("truncated"):
        raise missing(f"the first {len(content)} of {size} bytes" if size > len(content) else f"{len(content)} bytes")
    return content


def beginning_of(body: Mapping[str, Any]) -> bytes | None:
    """The recorded beginning of a body; None if nothing of it was recorded."""
    if body.get("text") is not None:
        return str(body["text"]).encode("utf-8", "surrogateescape")
    if body.get("base64") is not None:
        return base64.b64decode(body["base64"])
    return None if body.get("size") or body.get("truncated") else b""
