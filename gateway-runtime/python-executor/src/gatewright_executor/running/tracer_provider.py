"""The TracerProvider of policies that set none: spans that they record in traced executions go to the engine."""

from __future__ import annotations

import logging
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
from gatewright_executor.running.tracing import RELEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from opentelemetry.context import Context
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

ATTRIBUTE_CHARACTERS = 4096  # of one value; the rest is cut
POLICY = "gatewright.policy"  # an attribute of each span: name:version
log = logging.getLogger(__name__)


def record_spans(sink: Callable[[], SpanSink | None]) -> SpanExport:
    """Installs the TracerProvider, which OpenTelemetry's calls use from now on."""
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
    """Records spans with a recorded parent, and nothing in executions that are not traced: there, a parent comes from
    the client's headers, not from the gateway."""

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
    """Exports spans as they end. A span that cannot be encoded never fails its policy."""

    def __init__(self, export: SpanExport) -> None:
        self._export = export
        self._has_failed = False

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002
        if (origin := logs.current.get()) is not None:
            span.set_attribute(POLICY, origin.policy)

    def on_end(self, span: ReadableSpan) -> None:
        try:
            encoded = encode_span(span)
        except Exception as error:
            self._export.drop()
            if not self._has_failed:
                self._has_failed = True
                log.warning("a span could not be encoded: expected a span of %s, got %s", RELEASES, error)
        else:
            self._export.put(span.instrumentation_scope, encoded)

    def force_flush(self, timeout_millis: int = 30000) -> bool:  # noqa: ARG002
        self._export.flush()
        return True
