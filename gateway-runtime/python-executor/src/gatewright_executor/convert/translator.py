"""Translates executions into contexts, and a policy's return values into Actions: proto ↔ SDK.

gatewright.action checks return values; anything but an action that the contract allows is a PolicyError.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from gatewright import action as checked
from gatewright.action import ActionError
from gatewright.policy import (
    FailureClass,
    ImmediateResponse,
    Metadata,
    PolicyMetadata,
    Reject,
    RequestContext,
    RequestStreamContext,
    ResponseContext,
    ResponseStreamContext,
    UpstreamRequestModifications,
    UpstreamResponseModifications,
    touched_analytics,
    touched_metadata,
)
from gatewright.trailers import Trailers

from gatewright_executor._gen import python_executor_pb2 as pb
from gatewright_executor.convert import wire
from gatewright_executor.policies.failure import Failure, PolicyError, place

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
    FailureClass.BAD_BODY: pb.FAILURE_CLASS_BAD_BODY,
}


# ------------------------------------------------------------------ what a policy is given


def request_context(
    execution: pb.Execution, policy: PolicyMetadata, prepared: Any, deadline: float, shared: Any = None
) -> RequestContext:
    """The context of on_request. It reads the execution's fields lazily. deadline: time.monotonic()."""
    body = execution.request_body if execution.HasField("request_body") else None
    return RequestContext(execution, body, policy, prepared, deadline, shared)


def response_context(
    execution: pb.Execution, policy: PolicyMetadata, prepared: Any, deadline: float, shared: Any = None
) -> ResponseContext:
    """The context of on_response, with the request as it went upstream; the engine sends its body only on demand."""
    body = execution.response_body if execution.HasField("response_body") else None
    return ResponseContext(execution, body, request_context(execution, policy, prepared, deadline, shared))


class Clock(Protocol):
    """The clock of a stream: its present own work may take `limit` seconds, until `deadline` by `clock`."""

    deadline: float
    limit: float
    clock: Callable[[], float]


class _RequestStream(RequestStreamContext):
    __slots__ = ("_clock",)
    _clock: Clock

    def time_remaining(self) -> float:
        """Seconds that the stream's present own work may still take, never below 0."""
        return _remaining(self._clock)


class _RequestOfStream(RequestContext):
    __slots__ = ("_clock",)
    _clock: Clock

    def time_remaining(self) -> float:
        """Seconds that the stream's present own work may still take, never below 0."""
        return _remaining(self._clock)


def _remaining(clock: Clock) -> float:
    return max(0.0, min(clock.deadline - clock.clock(), clock.limit))


def stream_context(
    execution: pb.Execution, policy: PolicyMetadata, prepared: Any, clock: Clock, shared: Any = None
) -> RequestStreamContext | ResponseStreamContext:
    """The context of on_request_stream or on_response_stream."""
    if execution.phase == pb.PHASE_REQUEST_STREAM:
        stream = _RequestStream(execution, policy, prepared, clock.deadline, Trailers(), shared)
        stream._clock = clock
        return stream
    request = _RequestOfStream(execution, None, policy, prepared, clock.deadline, shared)
    request._clock = clock
    return ResponseStreamContext(execution, request, Trailers())


# ------------------------------------------------------------------ what a policy returned


def encode_action(number: int, phase: int, returned: object, metadata: Metadata | None) -> bytes:
    """An Action, serialized. PolicyError if the phase does not allow `returned`. metadata: None if it was not used."""
    out = [_ACTION["id"], wire.varint(number)]
    if returned is not None:
        try:
            _encode_returned(out, phase, returned)
        except ActionError as error:
            raise PolicyError(str(error), action=returned) from None
    _encode_touched(out, metadata)
    return b"".join(out)


def encode_end(number: int, context: RequestStreamContext | ResponseStreamContext) -> bytes:
    """The Action of a stream that has ended. PolicyError if its analytics are not JSON values."""
    out = [_ACTION["id"], wire.varint(number)]
    removed, lines = context.trailers.changes()
    if removed:
        wire.append_field(out, _ACTION["remove_trailers"], removed)
    if lines:
        wire.append_field(out, _ACTION["set_trailers"], lines)
    left = touched_analytics(context)
    if left:
        try:
            values = checked.stream_analytics(left)
        except ActionError as error:
            raise PolicyError(str(error)) from None
        out.append(wire.delimited(_ACTION["analytics_metadata"], _json(values)))
    _encode_touched(out, touched_metadata(context))
    return b"".join(out)


def encode_rejection(number: int, reject: Reject, context: RequestStreamContext | ResponseStreamContext) -> bytes:
    """The Action of a stream that answers the client. PolicyError if the answer is not valid."""
    out = [_ACTION["id"], wire.varint(number)]
    try:
        _encode_immediate(out, checked.rejection(reject), *place(reject))
    except ActionError as error:
        raise PolicyError(str(error), action=reject.response) from None
    _encode_touched(out, touched_metadata(context))
    return b"".join(out)


_WORK = tuple(_ACTION["work_us"] + wire.varint(micros or 1) for micros in range(4096))


def with_work(action: bytes, seconds: float) -> bytes:
    """The serialized Action with the seconds that the policy has worked, appended as its last field."""
    micros = int(seconds * 1e6)
    if micros < 4096:
        return action + _WORK[micros]
    return action + _ACTION["work_us"] + wire.varint(min(micros, 0xFFFFFFFF))


def encode_failure(number: int, failure: Failure) -> bytes:
    """An Action that carries a failure."""
    return pb.Action(id=number, failure=failure_message(failure)).SerializeToString()


def failure_message(failure: Failure) -> pb.Failure:
    """The failure as a message. Text that is not valid Unicode is escaped, since the field is a proto3 string."""
    return pb.Failure(
        failure_class=_CLASSES[failure.failure_class],
        message=failure.message.encode("utf-8", "backslashreplace").decode(),
        policy=failure.policy,
        hook=failure.hook,
        logged=failure.logged,
        file=failure.file.encode("utf-8", "backslashreplace").decode(),
        line=failure.line,
    )


def _encode_returned(out: list[bytes], phase: int, returned: object) -> None:
    if isinstance(returned, UpstreamRequestModifications) and phase == pb.PHASE_REQUEST:
        _encode_modifications(out, returned)
        if not returned.path is returned.query is returned.method is returned.authority is returned.upstream is None:
            _encode_target(out, returned)
        if returned.attempts != []:
            _encode_attempts(out, returned)
    elif isinstance(returned, UpstreamResponseModifications) and phase == pb.PHASE_RESPONSE:
        _encode_modifications(out, returned)
        if returned.status_code is not None:
            out += _ACTION["status_code"], wire.varint(checked.status(returned.status_code))
    elif isinstance(returned, ImmediateResponse):
        _encode_immediate(out, returned)
    else:
        checked.refuse_returned("on_request" if phase == pb.PHASE_REQUEST else "on_response", returned)


def _encode_modifications(
    out: list[bytes], action: UpstreamRequestModifications | UpstreamResponseModifications
) -> None:
    if action.remove_headers != []:
        wire.append_field(out, _ACTION["remove_headers"], checked.header_names(action.remove_headers))
    if action.set_headers != {}:
        wire.append_field(out, _ACTION["set_headers"], checked.header_blob("set_headers", action.set_headers))
    if action.append_headers != {}:
        wire.append_field(out, _ACTION["append_headers"], checked.header_blob("append_headers", action.append_headers))
    if action.body is not None:
        wire.append_field(out, _ACTION["body"], checked.body(action.body))
    if action.analytics_metadata != {}:
        _encode_analytics(out, action.analytics_metadata)


def _encode_target(out: list[bytes], action: UpstreamRequestModifications) -> None:
    for name in checked.TARGETS:
        value = getattr(action, name)
        if value is not None:
            wire.append_field(out, _ACTION[name], checked.target(name, value))


def _encode_attempts(out: list[bytes], action: UpstreamRequestModifications) -> None:
    for tried in checked.attempts(action):
        upstream, headers, path, body = checked.attempt(tried)
        message = pb.Attempt(upstream=upstream, set_headers=headers)
        if path is not None:
            message.path = path
        if body is not None:
            message.body = body
        wire.append_field(out, _ACTION["attempts"], message.SerializeToString())


def _encode_immediate(out: list[bytes], answer: ImmediateResponse, file: str = "", line: int = 0) -> None:
    fields = [_IMMEDIATE["status_code"], wire.varint(checked.status(answer.status_code))]
    if answer.headers != {}:
        fields.append(wire.delimited(_IMMEDIATE["headers"], checked.header_blob("headers", answer.headers)))
    if answer.body != b"":
        fields.append(wire.delimited(_IMMEDIATE["body"], checked.body(answer.body)))
    if file:
        fields.append(wire.delimited(_IMMEDIATE["file"], file.encode("utf-8", "backslashreplace")))
        fields += [_IMMEDIATE["line"], wire.varint(line)]
    out.append(wire.delimited(_ACTION["immediate_response"], b"".join(fields)))
    if answer.analytics_metadata != {}:
        _encode_analytics(out, answer.analytics_metadata)


def _encode_analytics(out: list[bytes], values: object) -> None:
    out.append(wire.delimited(_ACTION["analytics_metadata"], _json(checked.analytics(values))))


def _encode_touched(out: list[bytes], metadata: Metadata | None) -> None:
    if metadata is not None and metadata.changed:
        _encode_metadata(out, metadata)


def _encode_metadata(out: list[bytes], metadata: Metadata) -> None:
    written, removed = metadata.changes()
    if written:
        out.append(wire.delimited(_ACTION["metadata_set"], _json(written)))
    out += (wire.delimited(_ACTION["metadata_removed"], key.encode()) for key in removed)


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
