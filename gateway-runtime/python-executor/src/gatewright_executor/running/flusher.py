"""Sends what a worker has delivered while more executions wait for it.

To send costs more than most policies. So a worker that has the next execution at hand leaves sending to this thread.
That gets the GIL when an execution waits, or else after a switch interval (main.SWITCH_SECONDS): what was delivered
until then leaves in one frame, and no answer waits for an execution.
"""

from __future__ import annotations

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.instance import ResultSink


class Flusher(WokenThread):
    """`flush_soon` is for any thread. It stops after it has flushed what is there."""

    def __init__(self) -> None:
        self._sinks: set[ResultSink] = set()  # that have something to send
        super().__init__("flusher")

    def flush_soon(self, sink: ResultSink) -> None:
        """Flushes it in its own thread."""
        self._sinks.add(sink)
        self.wake()

    def _run(self) -> None:
        while self._awake.wait():
            self._awake.clear()  # before it is seen what there is
            while self._sinks:
                self._sinks.pop().flush()
            if self._stopped:
                return
