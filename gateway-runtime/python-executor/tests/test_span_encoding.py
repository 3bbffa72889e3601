"""Spans are encoded as OpenTelemetry's own exporter encodes them."""

from typing import Any

import pytest
from gatewright_executor.convert.span_encoding import encode_resource, encode_resource_spans, encode_span
from google.protobuf.json_format import MessageToDict
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    TraceState,
    set_span_in_context,
)

RESOURCE = Resource({"service.name": "orders", "process.pid": 7}, "https://resource")
REMOTE = SpanContext(0xABC, 0xDEF, True, TraceFlags(1), TraceState.from_header(["vendor=1,other=2"]))


ANY = st.one_of(
    st.text(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.booleans(),
    st.lists(st.text()), st.lists(st.integers(0, 9)),
)  # fmt: skip


def ours(*spans: ReadableSpan) -> ResourceSpans:
    pairs = [(span.instrumentation_scope, encode_span(span)) for span in spans]
    return ResourceSpans.FromString(encode_resource_spans(encode_resource(RESOURCE), pairs))


def theirs(*spans: ReadableSpan) -> ResourceSpans:
    (all_spans,) = encode_spans(spans).resource_spans
    all_spans.schema_url = ""  # ours has one resource, which has none
    return all_spans


def recorded(name: str = "span", attributes: dict[str, Any] | None = None, **more: Any) -> ReadableSpan:
    exporter, provider = InMemorySpanExporter(), TracerProvider(resource=RESOURCE, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("mine", "1.2", "https://scope", {"of": "the scope"})
    parent = set_span_in_context(NonRecordingSpan(REMOTE))
    span = tracer.start_span(name, parent, attributes=attributes, **more)
    span.add_event("event", {"a": 1, "b": [True, False]}, 123)
    span.set_status(Status(StatusCode.ERROR, "it failed"))
    child = tracer.start_span("child", set_span_in_context(span))
    child.end()
    span.end()
    return exporter.get_finished_spans()[1]


VALUES: list[Any] = [
    "text", "", "größer", True, False, 0, 1, -1, 2**62, -(2**63), 1.5, -0.0, b"bytes", b"", ["a", ""], [1, -2], [1.0],
    [True, False], [], ("a", "b"), [None, "a"],
]  # fmt: skip


def test_all_that_a_span_may_have() -> None:
    attributes = {f"key {number}": value for number, value in enumerate(VALUES)}
    link = Link(SpanContext(1, 2, True, TraceFlags(1)), {"of": "the link"})
    span = recorded(attributes=attributes, kind=SpanKind.CLIENT, links=[link])
    assert MessageToDict(ours(span)) == MessageToDict(theirs(span))
    assert ours(span) == theirs(span)


def test_a_link_has_the_state_of_its_trace_which_the_exporter_leaves_out() -> None:
    (sent,) = ours(recorded(links=[Link(REMOTE)])).scope_spans[0].spans
    assert (sent.trace_state, sent.links[0].trace_state) == ("vendor=1,other=2", "vendor=1,other=2")


@pytest.mark.parametrize("kind", SpanKind)
def test_kinds_and_scopes(kind: SpanKind) -> None:
    first, second = recorded(kind=kind), recorded("two")
    assert ours(first, second) == theirs(first, second)
    assert len(ours(first, second).scope_spans) == 1


@given(st.dictionaries(st.text(min_size=1), ANY))
@settings(max_examples=50)
def test_any_attributes(attributes: dict[str, Any]) -> None:
    span = recorded(attributes=attributes)
    assert ours(span) == theirs(span)


def test_what_no_field_can_hold_is_sent_as_text() -> None:
    span = recorded("\ud800", {"large": 2**70})
    (sent,) = ours(span).scope_spans[0].spans
    assert sent.name == "\\ud800"
    assert [(pair.key, pair.value.string_value) for pair in sent.attributes] == [("large", str(2**70))]
