"""Traced executions: spans that their policies make by OpenTelemetry become children of the executions' spans.

OpenTelemetry is installed only if a policy of the group requires it, and imported here only after a policy has imported
it. An execution that is not traced pays only for the check.
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

RELEASES = "OpenTelemetry 1.30 or newer"
log = logging.getLogger(__name__)


class Tracing:
    """Tracing of the process, like OpenTelemetry's own state."""

    def __init__(self) -> None:
        self.sink: SpanSink | None = None  # the stream that began last
        self._context: OpenTelemetryContext | None = None
        self._is_unusable = False
        self._lock = threading.Lock()

    def set_up(self) -> None:
        """Prepares tracing if a policy has imported OpenTelemetry by now."""
        if self._context is None and not self._is_unusable and "opentelemetry.trace" in sys.modules:
            with self._lock:
                if self._context is None:
                    self._import()

    def enter(self, execution: Execution) -> None:
        """Makes the span of a traced execution the current span of the present context. Never raises."""
        self.set_up()
        if self._context is not None:
            try:
                self._context.enter(execution)
            except Exception:
                log.exception("an execution could not be made the parent of its policy's spans")

    def flush(self) -> bool:
        """Gives all ended spans to their sink. Returns True."""
        if self._context is not None:
            self._context.flush()
        return True

    def _import(self) -> None:
        name = f"{__package__}.opentelemetry_context"
        try:
            context: OpenTelemetryContext = importlib.import_module(name).OpenTelemetryContext(lambda: self.sink)
        except Exception as error:  # the release is too old, or incomplete
            self._is_unusable = True
            got = f"{type(error).__name__}: {error}"
            log.warning("spans of policies are not recorded: expected %s, got %s", RELEASES, got)
        else:
            self._context = context


tracing = Tracing()
