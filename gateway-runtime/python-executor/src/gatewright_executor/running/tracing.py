"""Executions that are traced: the OpenTelemetry calls of their policies become children of their spans.

OpenTelemetry is there only where a policy of the group asks for it, and is looked for only once a policy has imported
it: without that, nothing of it is. An execution that is not traced pays for the look whether it is.
"""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from typing import TYPE_CHECKING

from gatewright_executor.running.instance import Execution

if TYPE_CHECKING:
    from gatewright_executor.running.opentelemetry_context import OpenTelemetryContext
    from gatewright_executor.running.span_export import SpanSink

log = logging.getLogger(__name__)


class Tracing:
    """Of the process, as OpenTelemetry's own state is."""

    def __init__(self) -> None:
        self.sink: SpanSink | None = None  # the stream that began last
        self._context: OpenTelemetryContext | None = None
        self._is_unusable = False
        self._lock = threading.Lock()

    def set_up(self) -> None:
        """Prepares for what policies have imported by now."""
        if self._context is None and not self._is_unusable and "opentelemetry.trace" in sys.modules:
            with self._lock:
                if self._context is None:
                    self._import()

    def enter(self, execution: Execution) -> None:
        """Makes the span of a traced execution the current one, in the present context. Never raises."""
        self.set_up()
        if self._context is not None:
            try:
                self._context.enter(execution)
            except Exception:
                log.exception("an execution could not be made the parent of its policy's spans")

    def flush(self) -> bool:
        """Hands all spans that have ended to their sink; True."""
        if self._context is not None:
            self._context.flush()
        return True

    def _import(self) -> None:
        name = f"{__package__}.opentelemetry_context"
        try:
            made: OpenTelemetryContext = importlib.import_module(name).OpenTelemetryContext(lambda: self.sink)
        except Exception as error:  # of a release that is too old, or only half there
            self._is_unusable = True
            expected = "expected opentelemetry-api and opentelemetry-sdk as requirements/dev.txt names them, or newer"
            log.warning("spans of policies are not recorded: %s: %s", expected, error)
        else:
            self._context = made


tracing = Tracing()
