"""Spans wait in a bounded queue and are sent in batches; dropped spans are counted."""

import logging

import pytest
from gatewright_executor.running.span_export import BATCH_BYTES, LOG_SECONDS, SPAN_BYTES, WAITING_BYTES, SpanExport
from gatewright_executor.testing import eventually
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
from opentelemetry.sdk.util.instrumentation import InstrumentationScope


class Sink:
    """takes: how many batches it takes before it refuses them."""

    def __init__(self, takes: int = 1_000_000) -> None:
        self.takes = takes
        self.batches: list[bytes] = []
        self.flushed = 0

    def put_spans(self, spans: bytes) -> bool:
        if len(self.batches) < self.takes:
            self.batches.append(spans)
            return True
        return False

    def flush(self) -> None:
        self.flushed = len(self.batches)

    @property
    def names(self) -> list[str]:
        """The names of all its spans, in order."""
        scopes = [scope for batch in self.batches for scope in ResourceSpans.FromString(batch).scope_spans]
        return [span.name for scope in scopes for span in scope.spans]


def span(number: int, size: int = 0) -> bytes:
    """A serialized span of at least this size."""
    name = f"{number} ".ljust(size, "x").encode()
    length = len(name)
    return b"\x2a" + bytes([length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + name


def export_to(sink: Sink) -> SpanExport:
    return SpanExport(b"", lambda: sink)


def numbers(sink: Sink) -> list[int]:
    return [int(name.split()[0]) for name in sink.names]


def test_what_ends_at_about_the_same_time_leaves_together_by_scope() -> None:
    sink, scope = Sink(), InstrumentationScope("mine", "1.0", "https://schema")
    export = export_to(sink)
    export.put(scope, span(1))
    export.put(None, span(2))
    export.put(scope, span(3))
    export.start()
    assert eventually(lambda: sink.flushed == 1)
    export.stop()
    batch = ResourceSpans.FromString(sink.batches[0])
    assert [(s.scope.name, s.schema_url, len(s.spans)) for s in batch.scope_spans] == [
        ("mine", "https://schema", 2),
        ("", "", 1),
    ]


def test_batches_are_small_enough_for_a_frame_and_keep_the_order() -> None:
    sink = Sink()
    export = export_to(sink)
    for number in range(60):
        export.put(None, span(number, 10_000))
    export.flush()
    assert numbers(sink) == list(range(60))
    assert len(sink.batches) == 10
    assert all(len(batch) < BATCH_BYTES + 1000 for batch in sink.batches)


def test_more_than_may_wait_is_dropped_and_counted() -> None:
    sink = Sink(takes=0)
    export = export_to(sink)
    size = 10_000
    for number in range(200):
        export.put(None, span(number, size))
    fit = WAITING_BYTES // len(span(0, size))
    assert export.dropped == 200 - fit
    export.flush()
    sink.takes = 1_000
    export.flush()
    assert numbers(sink) == list(range(fit)), "what was refused is kept, in its order"
    export.put(None, span(777, size))
    export.flush()
    assert numbers(sink)[-1] == 777, "there is room again"
    assert export.dropped == 200 - fit


def test_a_span_that_is_too_large_is_dropped_and_no_other_one_with_it() -> None:
    sink = Sink()
    export = export_to(sink)
    for number, size in enumerate((10, SPAN_BYTES, 10)):
        export.put(None, span(number, size))
    export.flush()
    assert (numbers(sink), export.dropped) == ([0, 2], 1)


def test_what_a_sink_has_refused_is_offered_again() -> None:
    sink = Sink(takes=0)
    export = export_to(sink)
    export.put(None, span(1))
    export.start()
    sink.takes = 1
    assert eventually(lambda: sink.flushed == 1)
    export.stop()


def test_how_many_were_dropped_is_logged_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    export = export_to(Sink())

    def logged(now: float) -> list[str]:
        export.log_dropped(now)
        return [record.getMessage().partition(":")[0] for record in caplog.records]

    with caplog.at_level(logging.WARNING):
        assert logged(1000.0) == []
        export.put(None, span(1, SPAN_BYTES))
        export.drop()
        assert logged(1000.0) == ["2 spans of policies were dropped"]
        export.drop()
        assert len(logged(1000.0 + LOG_SECONDS / 2)) == 1
        assert logged(1000.0 + LOG_SECONDS)[1:] == ["1 spans of policies were dropped"]
        assert len(logged(1000.0 + 3 * LOG_SECONDS)) == 2
