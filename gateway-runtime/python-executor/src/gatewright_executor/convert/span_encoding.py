"""Encodes spans of policies as OTLP: ResourceSpans of OpenTelemetry's trace.proto, serialized.

Written by hand, like Actions (wire.py): generated code would register these messages' names in the process, and a
policy that imports OpenTelemetry's own code for them would fail. The field numbers never change.
https://github.com/open-telemetry/opentelemetry-proto/blob/v1.9.0/opentelemetry/proto/trace/v1/trace.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatewright_executor.convert import wire

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Link, SpanContext, Status

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_NANOSECONDS, _DOUBLE, _FLAGS = struct.Struct("<Q"), struct.Struct("<d"), struct.Struct("<I")
_HAS_IS_REMOTE, _IS_REMOTE = 0x100, 0x200  # SpanFlags
_INT64 = range(-(1 << 63), 1 << 63)


def encode_resource_spans(resource: bytes, spans: Iterable[tuple[InstrumentationScope | None, bytes]]) -> bytes:
    """A ResourceSpans. resource: from encode_resource; spans: each with its scope, from encode_span."""
    by_scope: dict[InstrumentationScope | None, list[bytes]] = {}
    for scope, span in spans:
        by_scope.setdefault(scope, []).append(_field(2, span))
    scopes = (_field(2, _scope(scope) + b"".join(fields)) for scope, fields in by_scope.items())
    return _field(1, resource) + b"".join(scopes)


def encode_resource(resource: Resource) -> bytes:
    """A Resource."""
    return _attributes(1, resource.attributes)


def encode_span(span: ReadableSpan) -> bytes:
    """A Span that has ended."""
    context = span.get_span_context()
    assert context is not None
    return b"".join(
        (
            _ids(context),
            _text(3, context.trace_state.to_header()),
            _field(4, _span_id(span.parent)) if span.parent is not None else b"",
            _text(5, span.name),
            _number(6, span.kind.value + 1),
            _time(7, span.start_time),
            _time(8, span.end_time),
            _attributes(9, span.attributes),
            _number(10, span.dropped_attributes),
            *(_field(11, _event(event)) for event in span.events),
            _number(12, span.dropped_events),
            *(_field(13, _link(link)) for link in span.links),
            _number(14, span.dropped_links),
            _field(15, _status(span.status)),
            _flags(16, span.parent),
        )
    )


def _scope(scope: InstrumentationScope | None) -> bytes:
    """The fields of ScopeSpans without its spans."""
    if scope is None:
        return _field(1, b"")
    named = _text(1, scope.name) + _text(2, scope.version or "") + _attributes(3, scope.attributes)
    return _field(1, named) + _text(3, scope.schema_url or "")


def _event(event: Event) -> bytes:
    dropped = _number(4, event.dropped_attributes)
    return _time(1, event.timestamp) + _text(2, event.name) + _attributes(3, event.attributes) + dropped


def _link(link: Link) -> bytes:
    dropped = _number(5, link.dropped_attributes)
    state = _text(3, link.context.trace_state.to_header())
    return _ids(link.context) + state + _attributes(4, link.attributes) + dropped + _flags(6, link.context)


def _status(status: Status) -> bytes:
    return _text(2, status.description or "") + _number(3, status.status_code.value)


def _ids(context: SpanContext) -> bytes:
    return _field(1, context.trace_id.to_bytes(16, "big")) + _field(2, _span_id(context))


def _span_id(context: SpanContext) -> bytes:
    return context.span_id.to_bytes(8, "big")


# ------------------------------------------------------------------ attributes


def _attributes(number: int, attributes: Mapping[str, Any] | None) -> bytes:
    return b"".join(_field(number, _pair(key, value)) for key, value in (attributes or {}).items())


def _pair(key: str, value: Any) -> bytes:
    return _text(1, key) + _field(2, _value(value))


def _value(value: Any) -> bytes:
    """An AnyValue. The field that is present says the type, so false and 0 are written too."""
    match value:
        case None:
            return b""
        case bool():
            return _key(2, _VARINT) + wire.varint(value)
        case int() if value in _INT64:
            return _key(3, _VARINT) + wire.varint(value & (1 << 64) - 1)
        case float():
            return _key(4, _FIXED64) + _DOUBLE.pack(value)
        case bytes():
            return _field(7, value)
        case Mapping():
            return _field(6, b"".join(_field(1, _pair(str(key), item)) for key, item in value.items()))
        case Sequence() if not isinstance(value, str):
            return _field(5, b"".join(_field(1, _value(item)) for item in value))
        case _:
            return _field(1, _utf8(value))


# ------------------------------------------------------------------ fields


def _key(number: int, kind: int) -> bytes:
    return wire.varint(number << 3 | kind)


def _field(number: int, data: bytes) -> bytes:
    return wire.delimited(_key(number, _BYTES), data)


def _text(number: int, text: object) -> bytes:
    return _field(number, _utf8(text)) if text else b""


def _utf8(text: object) -> bytes:
    """Text of a policy as UTF-8. It may be no valid Unicode, which a text field must be."""
    return str(text).encode("utf-8", "backslashreplace")


def _number(number: int, value: int) -> bytes:
    return _key(number, _VARINT) + wire.varint(value) if value else b""


def _time(number: int, nanoseconds: int | None) -> bytes:
    return _key(number, _FIXED64) + _NANOSECONDS.pack(nanoseconds or 0)


def _flags(number: int, context: SpanContext | None) -> bytes:
    remote = _IS_REMOTE if context is not None and context.is_remote else 0
    return _key(number, _FIXED32) + _FLAGS.pack(_HAS_IS_REMOTE | remote)
