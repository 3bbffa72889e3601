"""Sends ended spans to the engine, after a short delay, so that many of them leave in one frame."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from gatewright_executor.convert.span_encoding import encode_resource_spans
from gatewright_executor.critical_thread import WokenThread

if TYPE_CHECKING:
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

SPAN_BYTES = 32 << 10  # the most of one span
BATCH_BYTES = 64 << 10  # of spans that leave together: the engine accepts 256 KiB with a frame
WAITING_BYTES = 1 << 20  # the most of all waiting spans
DELAY_SECONDS = 0.1
LOG_SECONDS = 10.0  # between two log lines about dropped spans
log = logging.getLogger(__name__)


class SpanSink(Protocol):
    """Receives spans, from any thread: the engine's present stream."""

    def put_spans(self, spans: bytes) -> bool:
        """Takes a serialized ResourceSpans for the next `flush`. False: too many wait already."""

    def flush(self) -> None:
        """Sends the waiting spans."""


class SpanExport(WokenThread):
    """Queues spans for the sink; drops and counts those that do not fit. resource: of all spans, encoded. sink: returns
    the present sink, or None."""

    def __init__(self, resource: bytes, sink: Callable[[], SpanSink | None]) -> None:
        super().__init__("spans")
        self._sink = sink
        self.dropped = 0  # since the start
        self._resource = resource
        self._waiting: deque[tuple[InstrumentationScope | None, bytes]] = deque()
        self._bytes = 0
        self._changing = threading.Lock()
        self._flushing = threading.Lock()
        self._logged = 0  # dropped spans that were logged
        self._log_due = 0.0  # time.monotonic()

    def put(self, scope: InstrumentationScope | None, span: bytes) -> None:
        """Queues an encoded span that has ended. From any thread."""
        with self._changing:
            if len(span) > SPAN_BYTES or self._bytes + len(span) > WAITING_BYTES:
                self.dropped += 1
            else:
                self._waiting.append((scope, span))
                self._bytes += len(span)
        self.wake()

    def drop(self) -> None:
        """Counts a span that could not be encoded."""
        with self._changing:
            self.dropped += 1
        self.wake()

    def flush(self) -> None:
        """Gives the waiting spans to the sink, as far as it accepts them."""
        sink = self._sink()
        with self._flushing:
            while sink is not None and (batch := self._next_batch()):
                if not sink.put_spans(encode_resource_spans(self._resource, batch)):
                    self._put_back(batch)
                    break

    def _run(self) -> None:
        while self._awake.wait():
            if self._stopped:
                return
            time.sleep(DELAY_SECONDS)  # so that spans which end meanwhile leave in the same frame
            self._awake.clear()
            self.flush()
            if (sink := self._sink()) is not None:
                sink.flush()
            self.log_dropped(time.monotonic())
            if self._waiting:
                self.wake()

    def _next_batch(self) -> list[tuple[InstrumentationScope | None, bytes]]:
        batch, size = [], 0
        with self._changing:
            while self._waiting and size + len(self._waiting[0][1]) <= BATCH_BYTES:
                batch.append(self._waiting.popleft())
                size += len(batch[-1][1])
            self._bytes -= size
        return batch

    def _put_back(self, batch: list[tuple[InstrumentationScope | None, bytes]]) -> None:
        with self._changing:
            self._waiting.extendleft(reversed(batch))
            self._bytes += sum(len(span) for _, span in batch)

    def log_dropped(self, now: float) -> None:
        """Logs how many spans were dropped since the last such line. now: time.monotonic()."""
        dropped = self.dropped
        if dropped > self._logged and now >= self._log_due:
            more, self._logged, self._log_due = dropped - self._logged, dropped, now + LOG_SECONDS
            limits = f"{SPAN_BYTES >> 10} KiB each, {WAITING_BYTES >> 10} KiB that wait for the engine"
            log.warning(
                "%d spans of policies were dropped: expected at most %s; record fewer or smaller spans", more, limits
            )
