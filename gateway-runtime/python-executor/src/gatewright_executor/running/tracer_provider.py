"""The TracerProvider of policies that set none: what they record in traced executions goes to the engine."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanLimits, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Decision, ParentBased, SamplingResult

from gatewright_executor import logs
from gatewright_executor.convert.span_encoding import encode_resource, encode_span
from gatewright_executor.running.instance import Execution
from gatewright_executor.running.span_export import SpanExport, SpanSink

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

ATTRIBUTE_CHARACTERS = 4096  # of one value; the rest is cut
POLICY = "gatewright.policy"  # attribute of each span: name:version


def record_spans(sink: Callable[[], SpanSink | None]) -> SpanExport:
    """Makes one, and OpenTelemetry's calls use it from now on."""
    resource = Resource({**_SDK, "process.pid": os.getpid()})
    export = SpanExport(encode_resource(resource), sink)
    export.start()
    limits = SpanLimits(max_attribute_length=ATTRIBUTE_CHARACTERS)
    provider = TracerProvider(TracedExecutions(), resource, shutdown_on_exit=False, span_limits=limits)
    provider.add_span_processor(ToEngine(export))
    trace.set_tracer_provider(provider)
    return export


_SDK = {"telemetry.sdk.language": "python", "telemetry.sdk.name": "opentelemetry"}


class TracedExecutions(ParentBased):
    """Records what has a parent that is recorded, and nothing of an execution that is not traced: the parent that its
    policy finds in the client's headers is none of ours."""

    def __init__(self) -> None:
        super().__init__(root=ALWAYS_OFF)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        origin = logs.current.get()
        if isinstance(origin, Execution) and not origin.message.traceparent:
            return SamplingResult(Decision.DROP)
        return super().should_sample(parent_context, trace_id, name, kind, attributes, links, trace_state)


class ToEngine(SpanProcessor):
    """Hands spans on as they end. What is wrong with one of them is never its policy's to bear."""

    def __init__(self, export: SpanExport) -> None:
        self._export = export

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        if (origin := logs.current.get()) is not None:
            span.set_attribute(POLICY, origin.policy)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            encoded = encode_span(span)
        except Exception:
            self._export.drop()
        else:
            self._export.put(span.instrumentation_scope, encoded)

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        self._export.flush()
        return True
