"""Sends the actions of workers that have further executions to run.

Sending costs more than most policies, so a worker that has another execution leaves sending to this thread. The thread
gets the GIL when an execution waits, or after a switch interval (main.SWITCH_SECONDS). It sends all actions that were
delivered until then in one frame, and no action waits for a later execution.
"""

from __future__ import annotations

from gatewright_executor.critical_thread import WokenThread
from gatewright_executor.running.instance import ResultSink


class Flusher(WokenThread):
    """Flushes sinks in its own thread. `flush_soon` is for any thread. It flushes all sinks before it stops."""

    def __init__(self) -> None:
        self._sinks: set[ResultSink] = set()  # with something to send
        super().__init__("flusher")

    def flush_soon(self, sink: ResultSink) -> None:
        """Lets the thread flush the sink."""
        self._sinks.add(sink)
        self.wake()

    def _run(self) -> None:
        while self._awake.wait():
            self._awake.clear()  # before the sinks are read
            while self._sinks:
                self._sinks.pop().flush()
            if self._stopped:
                return
