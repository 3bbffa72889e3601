"""Puts the span of an execution into OpenTelemetry's context. Imported only if a policy has imported OpenTelemetry.

Each execution has a context of its own (contextvars), so nothing has to be removed again.
"""

from __future__ import annotations

import importlib
import importlib.util
import threading
from collections.abc import Callable

from gatewright.headers import Headers
from gatewright.trace import parse_trace
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from gatewright_executor.running.instance import Execution
from gatewright_executor.running.span_export import SpanExport, SpanSink


class OpenTelemetryContext:
    """Sets the current span. Spans are recorded and sent if OpenTelemetry's SDK is installed and no policy has set a
    TracerProvider of its own."""

    def __init__(self, sink: Callable[[], SpanSink | None]) -> None:
        self._sink = sink
        self._deciding = threading.Lock()
        self._export: SpanExport | None = None
        self._undecided = importlib.util.find_spec("opentelemetry.sdk") is not None
        if self._undecided:
            importlib.import_module(f"{__package__}.tracer_provider")  # now, since the import takes long

    def enter(self, execution: Execution) -> None:
        """Makes the span of a traced execution the current one, in the present context."""
        parent = _span_of(execution)
        if parent is None:
            return
        if self._undecided:
            self._decide()
        context.attach(trace.set_span_in_context(NonRecordingSpan(parent)))

    def flush(self) -> None:
        """Hands all spans that have ended to their sink."""
        if self._export is not None:
            self._export.flush()

    def _decide(self) -> None:
        """Decides at the first execution whether to record spans: policies set their provider, if they have one, when
        they are prepared, which has happened by then."""
        with self._deciding:
            if self._undecided and isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
                module = importlib.import_module(f"{__package__}.tracer_provider")
                self._export = module.record_spans(self._sink)
            self._undecided = False


def _span_of(execution: Execution) -> SpanContext | None:
    """The span of an execution. Its trace state is the request's, if that belongs to the same trace."""
    here = parse_trace(execution.message.traceparent.decode("ascii", "replace"))
    if here is None:
        return None
    headers = Headers(execution.message.request_headers)
    request = parse_trace(headers.get("traceparent", ""))
    states = headers.get_all("tracestate") if request is not None and request.trace_id == here.trace_id else []
    return SpanContext(
        int(here.trace_id, 16),
        int(here.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(here.sampled),
        trace_state=TraceState.from_header(list(states)),
    )
